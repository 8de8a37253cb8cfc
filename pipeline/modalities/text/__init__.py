"""Text: settings of cleaning and tokenizing."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, field_validator

from pipeline.errors import ConfigError
from pipeline.modalities.base import ModalityConfig, Section, Verify

if TYPE_CHECKING:
    from torch import nn

    from pipeline.modalities.text.codec import TextCodec


class TextAugmentConfig(Section):
    """Small random changes to texts while training; 0 switches one off."""

    drop_probability: float = Field(
        default=0.1, ge=0, lt=1, description="of dropping a token; a text never loses all of them"
    )


class TextConfig(ModalityConfig):
    """Texts are cleaned and become at most ``max_tokens`` tokens of a byte-level BPE vocabulary."""

    LIMITS: ClassVar[tuple[str, ...]] = ("max_bytes",)

    fields: tuple[str, ...] = ("txt",)
    max_tokens: int = Field(default=64, ge=4, le=8192)
    vocab_size: int = Field(default=2048, ge=260, le=200_000)
    max_bytes: int = Field(default=1 << 20, gt=0)
    encoding: str = Field(default="utf-8", description="of the texts, by Python's name")
    augment: TextAugmentConfig = TextAugmentConfig()

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, name: str) -> str:
        """The name that Python knows the encoding by; all names of UTF-8 are one."""
        try:
            known = codecs.lookup(name).name
            if b"".decode(known) or "".encode(known).decode(known):
                raise LookupError
        except (LookupError, ValueError) as error:  # UnicodeError is a ValueError
            raise ValueError(
                f"{name!r} is no text encoding; utf-8, latin-1, gb18030 are"
            ) from error
        return "utf-8" if known == "utf-8-sig" else known

    def codec(self, tokenizer: str | None, *, verify: Verify = "full") -> TextCodec:
        from pipeline.modalities.text.codec import TextCodec

        if tokenizer is None:
            raise ConfigError(
                "texts need a tokenizer",
                where="modalities.text",
                fix="give a run that has tokenizer.json, or input.train to train one from",
            )
        return TextCodec(
            tokenizer=tokenizer,
            max_tokens=self.max_tokens,
            max_bytes=self.max_bytes,
            encoding=self.encoding,
        )

    def encoder(self, width: int) -> nn.Module:
        from pipeline.modalities.text.nets import TextEncoder

        return TextEncoder(vocab_size=self.vocab_size, max_tokens=self.max_tokens, width=width)

    def augmentation(self) -> Any:
        from pipeline.modalities.text.augment import TextAugmentation

        return TextAugmentation(**self.augment.model_dump())

"""Text: settings of cleaning and tokenizing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from pipeline.errors import ConfigError
from pipeline.modalities.base import ModalityConfig, Verify

if TYPE_CHECKING:
    from torch import nn

    from pipeline.modalities.text.codec import TextCodec


class TextConfig(ModalityConfig):
    """Texts are cleaned and become at most ``max_tokens`` tokens of a byte-level BPE vocabulary."""

    fields: tuple[str, ...] = ("txt",)
    max_tokens: int = Field(default=64, ge=4, le=8192)
    vocab_size: int = Field(default=2048, ge=260, le=200_000)
    max_bytes: int = Field(default=1 << 20, gt=0)

    def codec(self, tokenizer: str | None, *, verify: Verify = "full") -> TextCodec:
        from pipeline.modalities.text.codec import TextCodec

        if tokenizer is None:
            raise ConfigError(
                "texts need a tokenizer",
                where="modalities.text",
                fix="give a run that has tokenizer.json, or input.train to train one from",
            )
        return TextCodec(tokenizer=tokenizer, max_tokens=self.max_tokens, max_bytes=self.max_bytes)

    def encoder(self, width: int) -> nn.Module:
        from pipeline.modalities.text.nets import TextEncoder

        return TextEncoder(vocab_size=self.vocab_size, max_tokens=self.max_tokens, width=width)

    def augmentation(self) -> Any:
        from pipeline.modalities.text.augment import TextAugmentation

        return TextAugmentation()

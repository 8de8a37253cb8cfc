"""Text: settings of cleaning and tokenizing."""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, field_validator

from pipeline.errors import ConfigError
from pipeline.modalities.base import Codec, FilterConfig, ModalityConfig, Verify
from pipeline.modalities.facets import (
    CheapFeatures,
    Corruption,
    Facts,
    Likeness,
    ProbeRules,
    Tokenizing,
)
from pipeline.modalities.inputs import CharacterInput, TokenInput
from pipeline.modalities.section import Section
from pipeline.modalities.shown import MarkedText, Medium
from pipeline.modalities.text.encoders import (
    TextEncoderConfig,
    TextNgramsConfig,
    TextPretrainedConfig,
    TextTransformerConfig,
)

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from pipeline.metrics.columns import ColumnMeasure
    from pipeline.modalities.content import Content
    from pipeline.modalities.text.decoders import TextRendering
    from pipeline.modalities.text.ids import IdCodec


# First words of the names that Unicode gives letters, but Han for Chinese characters.
Script = Literal[
    "Latin", "Greek", "Cyrillic", "Armenian", "Georgian", "Hebrew", "Arabic", "Syriac", "Thaana", "Ethiopic",
    "Devanagari", "Bengali", "Gurmukhi", "Gujarati", "Oriya", "Tamil", "Telugu", "Kannada", "Malayalam", "Sinhala",
    "Thai", "Lao", "Tibetan", "Myanmar", "Khmer", "Mongolian", "Han", "Hiragana", "Katakana", "Hangul", "Bopomofo",
    "Cherokee", "Yi",
]  # fmt: skip


class TextAugmentConfig(Section):
    """Small random changes to texts while training; 0 switches one off."""

    drop_probability: float = Field(
        default=0.1, ge=0, lt=1, description="of dropping a token; a text never loses all of them"
    )


class TextFilterConfig(FilterConfig):
    """Which texts are left out; the text as it was cleaned counts, before it is cut."""

    min_characters: int | None = Field(default=None, ge=0, description="shorter texts are left out")
    max_characters: int | None = Field(default=None, ge=1, description="longer texts are left out")
    max_repetition: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="share of the text in its most frequent phrase of 2 to 4 words; 0.2 is usual",
    )
    scripts: tuple[Script, ...] | None = Field(
        default=None,
        min_length=1,
        description="that half of the letters must be of: [Latin], or [Han, Hiragana, Katakana]",
    )


class TextConfig(ModalityConfig):
    """Texts are cleaned and become at most ``max_tokens`` tokens of a byte-level BPE vocabulary."""

    LIMITS: ClassVar[tuple[str, ...]] = ("max_bytes",)
    FORMATS: ClassVar[tuple[str, ...]] = ("text",)
    MEDIUM: ClassVar[Medium] = "text"
    IS_CELL_VALUE: ClassVar[bool] = True
    FOR_FEW: ClassVar[Mapping[str, object]] = {"encoder": TextNgramsConfig(dropout=0.8)}

    kind: Literal["text"] = "text"
    fields: tuple[str, ...] = Field(
        default=("txt",), description="extensions of texts; the first that a sample has is decoded"
    )
    max_tokens: int = Field(
        default=64, ge=4, le=8192, description="longer texts are cut to so many tokens"
    )
    vocab_size: int = Field(
        default=2048, ge=260, le=200_000, description="tokens that the tokenizer learns"
    )
    max_bytes: int = Field(default=1 << 20, gt=0, description="larger texts are quarantined")
    encoding: str = Field(default="utf-8", description="of the texts, by Python's name")
    encoder: TextEncoderConfig = Field(
        default=TextTransformerConfig(),
        description="network of this modality in a model that is trained",
    )
    augment: TextAugmentConfig = TextAugmentConfig()
    filter: TextFilterConfig = TextFilterConfig()

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, name: str) -> str:
        """The name that Python knows the encoding by; all names of UTF-8 are one."""
        try:
            codec = codecs.lookup(name).name
            if b"".decode(codec) or "".encode(codec).decode(codec):
                raise LookupError
        except (LookupError, ValueError) as error:  # UnicodeError is a ValueError
            raise ValueError(
                f"{name!r} is no text encoding; utf-8, latin-1, gb18030 are"
            ) from error
        return "utf-8" if codec == "utf-8-sig" else codec

    def codec(self, tokenizer: str | None, *, verify: Verify = "full") -> Codec:
        from pipeline.modalities.text.codec import TextCodec

        if isinstance(self.encoder.inputs, CharacterInput):
            return self.encoder.inputs.codec(self, verify=verify)
        if tokenizer is None:
            raise ConfigError(
                "texts need a tokenizer",
                where="modalities.text",
                fix="give a run that has tokenizer.json, or input.train to train one from",
            )
        if isinstance(self.encoder.inputs, TokenInput):
            return self._id_codec(tokenizer, self.encoder.inputs)
        return TextCodec(
            tokenizer=tokenizer,
            max_tokens=self.max_tokens,
            max_bytes=self.max_bytes,
            encoding=self.encoding,
            limits=self.filter if self.filter.active else None,
        )

    def _id_codec(self, tokenizer: str, inputs: TokenInput) -> IdCodec:
        from pipeline.modalities.text.ids import IdCodec

        if self.max_tokens > inputs.max_tokens:
            raise ConfigError(
                f"the pretrained encoder takes {inputs.max_tokens} tokens, and texts have {self.max_tokens}",
                where="modalities.text.max_tokens",
                fix=f"set it to {inputs.max_tokens} or less",
            )
        return IdCodec(
            tokenizer,
            self.max_tokens,
            self.max_bytes,
            self.encoding,
            self.filter if self.filter.active else None,
            prompt=inputs.prompt,
            lower=inputs.lower,
        )

    def check_content(self, data: memoryview, field: str) -> None:
        from pipeline.modalities.text.codec import read_member

        read_member(data, field, self.max_bytes, self.encoding)

    def tokenizing(self) -> Tokenizing | None:
        from pipeline.modalities.text.codec import read_training_text, train_tokenizer

        if isinstance(self.encoder, TextNgramsConfig):
            return None
        pretrained = self.encoder if isinstance(self.encoder, TextPretrainedConfig) else None
        # Of a bundle, the tokenizer is the bundle's or the run's.
        has_files = pretrained is not None and pretrained.description is None
        return Tokenizing(
            asks=f"encoder.name={pretrained.name}"
            if pretrained
            else f"vocab_size={self.vocab_size}",
            read=lambda data, field: read_training_text(data, field, self),
            train=lambda texts: train_tokenizer(texts, self.vocab_size),
            ready=pretrained.tokenizer if pretrained and has_files else None,
        )

    def probe(self, content: Content, field: str, found: str, rules: ProbeRules) -> Facts:
        from pipeline.modalities.text.survey import survey

        return survey(content, field, self, rules)

    def remarks(self) -> Mapping[str, str]:
        return {"empty": "texts are empty"}

    def show_augmented(
        self, codec: Codec, original: np.ndarray, augmented: np.ndarray
    ) -> MarkedText:
        from pipeline.modalities.text.codec import TextCodec

        assert isinstance(codec, TextCodec)
        return MarkedText(codec.marked(original, augmented))

    def text_encoding(self) -> str:
        return self.encoding

    def likeness(self) -> Likeness:
        from pipeline.modalities.text.likeness import TextLikeness

        return TextLikeness()

    def cheap_features(self) -> CheapFeatures:
        from pipeline.modalities.text.cheap import ngrams, whole_texts
        from pipeline.modalities.text.plain import PlainTextCodec

        limits = self.filter if self.filter.active else None
        codec = PlainTextCodec(self.max_bytes, self.encoding, limits)
        return CheapFeatures("character n-grams", codec, whole_texts, ngrams, inverse_penalty=10.0)

    def corruptions(self, codec: Codec) -> Mapping[str, Corruption]:
        from pipeline.modalities.text.codec import TextCodec
        from pipeline.modalities.text.corrupt import corruptions

        assert isinstance(codec, TextCodec)
        return corruptions(codec)

    def rendering(self, tokenizer: str | None) -> TextRendering | None:
        from pipeline.modalities.text.codec import NUM_BYTES, SPECIAL_TOKENS, TextCodec
        from pipeline.modalities.text.decoders import TextRendering

        if self.encoder.inputs is not None:
            return None
        codec = None if tokenizer is None else self.codec(tokenizer)
        assert codec is None or isinstance(codec, TextCodec)
        symbols = max(self.vocab_size, NUM_BYTES + len(SPECIAL_TOKENS))
        return TextRendering(self.max_tokens, symbols, self.encoding, codec)

    def measure(self) -> ColumnMeasure:
        from pipeline.metrics.columns import LengthMeasure

        return LengthMeasure()

    def build_encoder(self, width: int) -> nn.Module:
        return self.encoder.build(self, width)

    def augmentation(self) -> Any:
        from pipeline.modalities.text.augment import TextAugmentation

        # Of a network from elsewhere they say where a text begins and ends, and one may be what all of it is read from.
        spares_ends = isinstance(self.encoder, TextPretrainedConfig)
        return TextAugmentation(**self.augment.model_dump(), spares_ends=spares_ends)

"""Encoders of texts: the configuration of each, and their union.

To add one: write ``NAME.py`` beside this file, its configuration here, and list it in the union.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

from pydantic import Field

from pipeline.modalities.base import EncoderConfig
from pipeline.modalities.inputs import CharacterInput
from pipeline.modalities.pretrained import tokenizer_of
from pipeline.modalities.pretrained.section import PretrainedConfig

if TYPE_CHECKING:
    from torch import nn

    from pipeline.modalities.facets import TrainingStatistics
    from pipeline.modalities.recurrent import Cell
    from pipeline.modalities.text import TextConfig


Layers = Annotated[int, Field(ge=1, le=24)]
Dropout = Annotated[float, Field(ge=0, lt=1)]


class TextTransformerConfig(EncoderConfig):
    """A small transformer over the tokens."""

    kind: Literal["transformer"] = "transformer"
    layers: Annotated[Layers, Field(description="transformer layers")] = 1
    dropout: Annotated[Dropout, Field(description="inside the layers, and before them")] = 0.1

    def build(self, modality: TextConfig, width: int) -> nn.Module:
        """Builds the network: int64 (B, L) -> Features of ``width`` channels."""
        from pipeline.modalities.text.encoders.transformer import TextEncoder

        return TextEncoder(
            modality.vocab_size, modality.max_tokens, width, self.layers, self.dropout
        )


class TextRecurrentConfig(EncoderConfig):
    """A recurrent network over the tokens, in both directions."""

    layers: Annotated[Layers, Field(description="recurrent layers")] = 1
    dropout: Annotated[Dropout, Field(description="between the layers, and before them")] = 0.1

    def build(self, modality: TextConfig, width: int) -> nn.Module:
        """Builds the network: int64 (B, L) -> Features of ``width`` channels."""
        from pipeline.modalities.text.encoders.recurrent import TextRecurrent

        cell = cast("Cell", self.kind)
        return TextRecurrent(modality.vocab_size, width, cell, self.layers, self.dropout)


class TextLstmConfig(TextRecurrentConfig):
    """A bidirectional LSTM over the tokens."""

    kind: Literal["lstm"] = "lstm"


class TextGruConfig(TextRecurrentConfig):
    """A bidirectional GRU over the tokens, with three quarters of the weights of an LSTM."""

    kind: Literal["gru"] = "gru"


class TextNgramsConfig(EncoderConfig):
    """Hashed runs of characters, without a tokenizer: strong where there are few texts, in any script."""

    kind: Literal["ngrams"] = "ngrams"
    max_length: Annotated[int, Field(ge=1, le=16, description="characters of the longest runs")] = 5
    max_characters: Annotated[
        int, Field(ge=4, le=65536, description="longer texts are cut; max_tokens does not count")
    ] = 512
    lower: Annotated[bool, Field(description="puts texts in lower case")] = True
    runs: Annotated[
        int,
        Field(ge=16, le=1 << 18, description="that are looked at: those that most texts have"),
    ] = 1 << 13
    within: Annotated[
        Literal["text", "words"],
        Field(description="what runs do not leave; words: a space is at a run's ends alone"),
    ] = "text"
    hidden: Annotated[
        int, Field(ge=0, le=65536, description="width of the hidden layer; 0 for none")
    ] = 0
    dropout: Annotated[Dropout, Field(description="of runs, and of channels")] = 0.3

    @property
    def inputs(self) -> CharacterInput:
        return CharacterInput(self.max_characters, lower=self.lower)

    def decoding(self) -> dict[str, Any]:
        return {"inputs": asdict(self.inputs)}

    def training_statistics(self, modality: TextConfig) -> TrainingStatistics:  # type: ignore[override]
        from pipeline.modalities.text.ngrams import NgramStatistics

        return NgramStatistics(self.max_length, self.runs, self.within)

    def build(self, modality: TextConfig, width: int) -> nn.Module:
        """Builds the network: int64 (B, L) code points -> Features of ``width`` channels."""
        from pipeline.modalities.text.encoders.ngrams import TextNgrams

        return TextNgrams(width, self.max_length, self.runs, self.hidden, self.dropout, self.within)


class TextPretrainedConfig(PretrainedConfig):
    """An encoder of texts from elsewhere; its tokenizer becomes that of the run."""

    MODALITY = "text"

    def tokenizer(self) -> str:
        """The tokenizer that lies with the network, JSON.

        Raises:
            ModelError: There is none that runs without Python code of its own.
        """
        return tokenizer_of(self.name, self.weights, self.MODALITY)


TextEncoderConfig = Annotated[
    TextTransformerConfig
    | TextLstmConfig
    | TextGruConfig
    | TextNgramsConfig
    | TextPretrainedConfig,
    Field(discriminator="kind"),
]

"""Encoders of texts: the configuration of each, and their union.

To add one: write ``NAME.py`` beside this file, its configuration here, and list it in the union.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from pipeline.modalities.base import EncoderConfig
from pipeline.modalities.pretrained import tokenizer_of
from pipeline.modalities.pretrained.section import PretrainedConfig

if TYPE_CHECKING:
    from torch import nn

    from pipeline.modalities.text import TextConfig


class TextTransformerConfig(EncoderConfig):
    """A small transformer over the tokens."""

    kind: Literal["transformer"] = "transformer"

    def build(self, modality: TextConfig, width: int) -> nn.Module:
        """Builds the network: int64 (B, L) -> Features of ``width`` channels."""
        from pipeline.modalities.text.encoders.transformer import TextEncoder

        return TextEncoder(
            vocab_size=modality.vocab_size, max_tokens=modality.max_tokens, width=width
        )


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
    TextTransformerConfig | TextPretrainedConfig, Field(discriminator="kind")
]

"""Encoders of texts: the configuration of each, and their union.

To add one: write ``NAME.py`` beside this file, its configuration here, and list it in the union.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pipeline.modalities.base import EncoderConfig

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


# With a second encoder: Annotated[TextTransformerConfig | OtherConfig, Field(discriminator="kind")].
TextEncoderConfig = TextTransformerConfig

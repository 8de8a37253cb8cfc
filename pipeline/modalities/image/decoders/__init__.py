"""Images that networks make. Imports no torch until a network is built."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pyarrow as pa

from pipeline.modalities.rendering.base import LikelihoodName
from pipeline.modalities.shown import Shown

if TYPE_CHECKING:
    from pipeline.modalities.image.decoders.maps import ImageRenderer


@dataclass(frozen=True)
class ImageRendering:
    """RGB pictures of one size; see :class:`pipeline.modalities.rendering.base.Rendering`.

    Attributes:
        size: Height and width, pixels.
    """

    size: int
    bounded: ClassVar[bool] = True
    symbols: ClassVar[None] = None
    likelihood: ClassVar[LikelihoodName] = "bernoulli"
    type: ClassVar[pa.DataType] = pa.binary()

    @property
    def shape(self) -> tuple[int, int, int]:
        """(3, H, W), from 0, black, to 1."""
        return (3, self.size, self.size)

    def build(self, width: int) -> ImageRenderer:
        from pipeline.modalities.image.decoders.maps import ImageRenderer

        return ImageRenderer(self.size, width)

    def encode(self, values: np.ndarray) -> pa.Array:
        """PNG of each, for float32 (B, H, W, 3) from 0 to 255."""
        return pa.array([_png(image) for image in values], self.type)

    def member(self, cell: bytes) -> tuple[bytes, str]:
        return cell, "png"

    def show(self, cell: bytes) -> Shown:
        return Shown("picture", cell)


def _png(values: np.ndarray) -> bytes:
    from PIL import Image

    data = io.BytesIO()
    Image.fromarray(values.round().clip(0, 255).astype(np.uint8)).save(data, "PNG")
    return data.getvalue()

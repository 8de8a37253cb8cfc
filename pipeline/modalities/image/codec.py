"""Image bytes -> uint8 RGB of one size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from pipeline.modalities.base import Decoded, Dense, Item
from pipeline.modalities.codecs import decode_each, dense_column, fixed_size_column
from pipeline.modalities.decoding.foreign import Refusing
from pipeline.modalities.image.filters import check_picture
from pipeline.modalities.image.formats.jpeg import MAX_SCANS, decode_jpeg, is_jpeg
from pipeline.modalities.image.formats.pillow import (
    FORMATS,
    PLUGIN_MODULES,
    decode_with_pillow,
    shown,
)
from pipeline.modalities.image.resize import CHANNELS, Picture, resize_and_crop

if TYPE_CHECKING:
    from pipeline.modalities.image import ImageFilterConfig

__all__ = ["FORMATS", "MAX_SCANS", "ImageCodec"]


class ImageCodec:
    """Decodes an image to (size, size, 3) uint8 RGB.

    EXIF orientation is applied; transparency is laid over white; grey, palette, CMYK and 16-bit images become RGB. The
    short side is resized to ``size`` with an antialiasing bicubic filter, then the centre is kept.

    Args:
        size: Side of the result, in pixels.
        max_pixels: Images whose header declares more pixels are refused before decoding.
        max_scans: JPEGs that come in more scans are refused before decoding.
        whole: Unpacks a PNG again where Pillow leaves in doubt whether all rows were there.
        limits: Which good images are left out; None leaves out none.
    """

    def __init__(
        self,
        size: int,
        max_pixels: int,
        *,
        max_scans: int = MAX_SCANS,
        whole: bool = True,
        limits: ImageFilterConfig | None = None,
    ) -> None:
        self.size = self.wanted = size
        self.max_pixels = max_pixels
        self.max_scans = max_scans
        self.whole = whole
        self.limits = limits

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C)."""
        return (self.size, self.size, CHANNELS)

    @property
    def column(self) -> pa.Field:
        """``image``: fixed_size_list<uint8>[H * W * C]."""
        kind = pa.list_(pa.uint8(), self.size * self.size * CHANNELS)
        return pa.field("image", kind, metadata={"shape": ",".join(map(str, self.shape))})

    def empty(self, count: int) -> np.ndarray:
        """(count, H, W, C) uint8, not initialised."""
        return np.empty((count, *self.shape), dtype=np.uint8)

    def modules(self, fields: Sequence[str]) -> Sequence[str]:
        """See :class:`pipeline.modalities.base.Codec`."""
        return PLUGIN_MODULES

    def decode(self, data: memoryview, field: str) -> np.ndarray:
        """Decodes one image to (H, W, 3) uint8.

        Raises:
            SampleError: Not an image, damaged, ending early, or over the limit of pixels.
        """
        with Refusing("bad_image", field, "the image"):
            picture = self._picture(data, field)
        return resize_and_crop(picture, self.size)

    def _picture(self, data: memoryview, field: str) -> Picture:
        picture = None
        if is_jpeg(data):
            picture = decode_jpeg(data, field, self.wanted, self.max_pixels, self.max_scans)
        if picture is None:
            picture = decode_with_pillow(
                data, field, self.wanted, self.max_pixels, whole=self.whole
            )
        if self.limits is not None:
            check_picture(picture, self.limits, field)
        return picture

    def decode_batch(
        self, items: Sequence[Item], out: Sequence[np.ndarray] | None = None
    ) -> list[Decoded]:
        """Decodes images to (H, W, 3) uint8, in ``out`` where it is given."""
        return decode_each(self, items, out)

    def show(self, data: memoryview, field: str) -> bytes:
        """The image as PNG, whole, at most 320 pixels wide and high.

        Raises:
            SampleError: As :meth:`decode`.
        """
        self.decode(data, field)
        with Refusing("bad_image", field, "the image"):
            return shown(data)

    def to_arrow(self, values: Sequence[np.ndarray | None]) -> pa.Array:
        """(H, W, 3) uint8 arrays -> a column, null where None."""
        return fixed_size_column(values, self.column, np.uint8)

    def collate(self, column: pa.Array) -> Dense:
        """A column -> (B, H, W, 3) uint8 and its presence."""
        return dense_column(column, self.shape)

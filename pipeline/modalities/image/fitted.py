"""Image bytes -> uint8 RGB, resized and cropped as a network from elsewhere was trained with."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from pipeline.modalities.decoding.foreign import Refusing
from pipeline.modalities.image.codec import MAX_SCANS, ImageCodec
from pipeline.modalities.image.resize import Box, cut

if TYPE_CHECKING:
    from pipeline.modalities.image import ImageFilterConfig


class Fit(NamedTuple):
    """How an image becomes a square; see :class:`pipeline.modalities.inputs.ImageInput`."""

    resize: int
    size: int
    filter: str = "bicubic"
    squash: bool = False
    floor: bool = False

    def box(self, width: int, height: int) -> Box:
        """The part of an image that ends up in the square: left, top, width, height in its pixels.

        Sides and offsets are rounded as torchvision does, which timm and open_clip use; transformers differs in one.

        Source: ``_compute_resized_output_size`` and ``center_crop`` in torchvision/transforms/functional.py, and
        ``center_crop`` in transformers/image_processing_backends.py.
        """
        short = min(width, height)
        columns, rows = (
            (self.resize, self.resize)
            if self.squash
            else (int(self.resize * width / short), int(self.resize * height / short))
        )
        rounded = math.floor if self.floor else round
        x, y = rounded((columns - self.size) / 2), rounded((rows - self.size) / 2)
        across, down = width / columns, height / rows
        return x * across, y * down, self.size * across, self.size * down


class FittedImageCodec(ImageCodec):
    """Decodes an image to (size, size, 3) uint8 RGB, as :class:`ImageCodec` does but for how it is made square.

    Args:
        fit: How.
        max_pixels: Images whose header declares more pixels are refused before decoding.
        max_scans: JPEGs that come in more scans are refused before decoding.
        whole: Unpacks a PNG again where Pillow leaves in doubt whether all rows were there.
        limits: Which good images are left out; None leaves out none.
    """

    def __init__(
        self,
        fit: Fit,
        max_pixels: int,
        *,
        max_scans: int = MAX_SCANS,
        whole: bool = True,
        limits: ImageFilterConfig | None = None,
    ) -> None:
        super().__init__(fit.size, max_pixels, max_scans=max_scans, whole=whole, limits=limits)
        self.fit = fit
        self.wanted = fit.resize  # pixels of the short side

    def decode(self, data: memoryview, field: str) -> np.ndarray:
        """Decodes one image to (H, W, 3) uint8.

        Raises:
            SampleError: Not an image, damaged, ending early, or over the limit of pixels.
        """
        with Refusing("bad_image", field, "the image"):
            picture = self._picture(data, field)
        return cut(picture, self.fit.box, self.size, self.fit.filter)

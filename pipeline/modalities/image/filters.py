"""Which images are left out, where a setting asks for that."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import SampleError
from pipeline.limits import beyond, rounded_down, rounded_up

if TYPE_CHECKING:
    from pipeline.modalities.image import ImageFilterConfig
    from pipeline.modalities.image.resize import Picture

GRID = 256  # pixels looked at for the contrast, each way, at most
# Weights of red, green and blue in the brightness. Source: ITU-R BT.601-7, 2.5.1.
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def check_picture(picture: Picture, limits: ImageFilterConfig, field: str) -> None:
    """Refuses an image that the settings leave out.

    Raises:
        SampleError: It is too small, too long or nearly blank; the reason is one of ``FILTERS``.
    """
    short, long = sorted((picture.width, picture.height))
    if limits.min_side is not None and short < limits.min_side:
        what = f"the short side has {short} pixels"
        raise _left_out(what, "size", "min_side", limits.min_side, short, field)
    if limits.max_aspect is not None and long > limits.max_aspect * short:
        what = f"the image has {picture.width} x {picture.height} pixels"
        ratio = rounded_up(long / max(1, short))
        raise _left_out(what, "aspect", "max_aspect", limits.max_aspect, ratio, field)
    if (
        limits.min_contrast is not None
        and (measured := contrast(picture.pixels)) < limits.min_contrast
    ):
        what, lower = "the image is nearly blank", rounded_down(measured)
        raise _left_out(what, "blank", "min_contrast", limits.min_contrast, lower, field)


def _left_out(
    what: str, reason: str, setting: str, limit: float, needed: float, field: str
) -> SampleError:
    setting, reason = f"modalities.image.filter.{setting}", f"filtered_{reason}"
    return beyond(what, setting=setting, limit=limit, needed=needed, reason=reason, field=field)


def contrast(pixels: np.ndarray) -> float:
    """Standard deviation of the brightness as a share of its range: 0 for one colour, 0.5 for half black, half white.

    Args:
        pixels: (H, W, 3) uint8, of which a grid of at most 256 by 256 is looked at.
    """
    steps = [-(-size // GRID) for size in pixels.shape[:2]]
    return float((pixels[:: steps[0], :: steps[1]] @ LUMA).std()) / 255

"""What lint tells of an image by its header."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.errors import SampleError
from pipeline.modalities.content import Content
from pipeline.modalities.facets import Facts
from pipeline.modalities.image.formats.jpeg import too_many_pixels
from pipeline.modalities.image.probe import probe_image

if TYPE_CHECKING:
    from pipeline.modalities.image import ImageConfig


def survey(content: Content, field: str, found: str, config: ImageConfig) -> Facts:
    """Width and height, held against ``size`` and ``max_megapixels``; see :meth:`ModalityConfig.probe`."""
    header = probe_image(content, found)
    if header is None:
        what = f"no image of a known format: its content is {found}"
        return Facts(fault=SampleError(what, reason="bad_image", field=field))
    max_pixels = int(config.max_megapixels * 1e6)
    is_enlarged = not config.encoder.has_own_inputs and min(header) < config.size
    is_too_large = header.width * header.height > max_pixels
    return Facts(
        ranges={"width": header.width, "height": header.height},
        notes=("enlarged",) if is_enlarged else (),
        fault=too_many_pixels(*header, max_pixels, field) if is_too_large else None,
    )

"""Images of every kind but plain JPEG -> pixels, by Pillow."""

from __future__ import annotations

import importlib
import io
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from pipeline.modalities.content import SNIFFED_BYTES, sniff
from pipeline.modalities.decoding.foreign import RAISED, Refusing
from pipeline.modalities.image.formats.containers import (
    check_avif,
    check_gif,
    check_tiff,
    check_webp,
    tiff_kind,
)
from pipeline.modalities.image.formats.jpeg import OVERSAMPLING, check_pixels, orientation
from pipeline.modalities.image.formats.png import Outline, check_rows, read_outline
from pipeline.modalities.image.formats.png_values import clear_to_white, has_clear_colour
from pipeline.modalities.image.formats.tiff import read_samples
from pipeline.modalities.image.formats.tiff import to_rgb as tiff_to_rgb
from pipeline.modalities.image.resize import Picture

Image.MAX_IMAGE_PIXELS = None  # the limit is ours, checked before any pixel is decoded

_PREFIXES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF8": "GIF",
    **dict.fromkeys((b"II*\0", b"MM\0*", b"MM*\0", b"II\0*", b"II+\0", b"MM\0+"), "TIFF"),
    b"BM": "BMP",
}
_PLUGINS = {
    "JPEG": "Jpeg",
    "PNG": "Png",
    "WEBP": "WebP",
    "GIF": "Gif",
    "TIFF": "Tiff",
    "BMP": "Bmp",
    "AVIF": "Avif",
}
FORMATS = tuple(_PLUGINS)
# Ppm is imported by Jpeg.
PLUGIN_MODULES = tuple(f"PIL.{name}ImagePlugin" for name in (*_PLUGINS.values(), "Ppm"))
SHOWN_PIXELS = 320
REDUCING_GAP = (
    3  # times the pixels that are wanted, each way, that reducing by whole blocks leaves at least
)


def decode_with_pillow(
    data: memoryview, field: str, size: int, max_pixels: int, *, whole: bool = True
) -> Picture:
    """Decodes an image of any of ``FORMATS``; of an animation, the first frame.

    Args:
        data: The image.
        field: Its extension.
        size: Side that is wanted, in pixels.
        max_pixels: Images whose header declares more are refused before decoding.
        whole: Unpacks a PNG again where Pillow leaves in doubt whether all rows were there.

    Raises:
        SampleError: Not an image, damaged, ending early, or over the limit of pixels.
    """
    with Refusing("bad_image", field, "the image"):
        return _decode(data, field, size, max_pixels, whole=whole)


def shown(data: memoryview) -> bytes:
    """An image that can be decoded as PNG, upright and whole, at most ``SHOWN_PIXELS`` wide and high."""
    form = _format(data)
    with _warnings(form), _open(data, form) as image:
        outline = read_outline(data) if form == "PNG" else None
        upright = _upright_rgb(data, image, form, outline)
    upright.thumbnail((SHOWN_PIXELS, SHOWN_PIXELS))
    written = io.BytesIO()
    upright.save(written, "PNG")
    return written.getvalue()


def to_rgb(image: Image.Image) -> Image.Image:
    """Converts an image of 8 bits a sample, or grey of 16, to 8-bit RGB; transparency is laid over white.

    Raises:
        ValueError: The mode does not tell which values the samples may have.
    """
    if image.mode in ("I;16", "I;16B", "I;16L", "I;16N"):
        grey = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((grey + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise ValueError("it is not known which values of its samples are black and white")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layer).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _decode(data: memoryview, field: str, size: int, max_pixels: int, *, whole: bool) -> Picture:
    form = _format(data)
    with _warnings(form), _open(data, form) as image:
        width, height = image.size
        check_pixels(width, height, max_pixels, field)
        outline = read_outline(data) if form == "PNG" else None
        _check_container(data, form, max_pixels)
        turn = 1
        if form == "JPEG":
            # Scales while decoding by 1/2, 1/4 or 1/8, where that leaves enough.
            side = math.ceil(OVERSAMPLING * size)
            image.draft(None, (side, side))
            turn = orientation(data)
        factor = round(width / image.width)
        if form == "JPEG":
            image.load()
            upright = to_rgb(image)
        else:
            upright = _upright_rgb(data, image, form, outline, whole=whole)
            width, height = upright.size
        # A large image is not copied whole: means of blocks still have more than the filter's resolution.
        blocks = min(upright.size) // (REDUCING_GAP * size)
        if blocks > 1:
            upright = upright.reduce(blocks)
        return Picture(np.asarray(upright), width, height, factor * max(1, blocks), turn)


def _upright_rgb(
    data: memoryview,
    image: Image.Image,
    form: str,
    outline: Outline | None = None,
    *,
    whole: bool = False,
) -> Image.Image:
    """Loads an image and converts it, by what its file says of its samples where its mode does not tell all of it."""
    tags: Any = getattr(image, "tag_v2", None)  # of a TIFF
    samples = read_samples(tags) if form == "TIFF" else None
    image.load()
    if outline is not None and whole and _may_lack_rows(image, outline):
        check_rows(data, outline)
    warnings.simplefilter("ignore")  # of what follows: notes on odd metadata; the pixels are there
    if outline is not None and has_clear_colour(outline):
        image = clear_to_white(image, outline, to_rgb, lambda: _open(data, form))
    with suppress(*RAISED):
        ImageOps.exif_transpose(image, in_place=True)
    return to_rgb(image) if samples is None else tiff_to_rgb(image, samples, to_rgb)


@contextmanager
def _warnings(form: str) -> Iterator[None]:
    """Makes errors of Pillow's warnings that a TIFF is cut; others are of metadata."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if form == "TIFF":
            warnings.simplefilter("error", UserWarning)
            warnings.filterwarnings("ignore", "Metadata Warning")
        yield


def _format(data: memoryview) -> str:
    """Which of ``FORMATS`` a file is, by its first bytes.

    Raises:
        ValueError: None of them.
    """
    head = bytes(data[:16])
    name = next((name for prefix, name in _PREFIXES.items() if head.startswith(prefix)), None)
    if name is None and head[4:12] in (b"ftypavif", b"ftypavis", b"ftypmif1", b"ftypmsf1"):
        name = "AVIF"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        name = "WEBP"
    if name is None:
        raise ValueError(
            f"not an image of a known format, but {sniff(bytes(data[:SNIFFED_BYTES]))}"
        )
    return name


def _open(data: memoryview, form: str) -> ImageFile.ImageFile:
    # Pillow would import the readers of all formats to find the one.
    importlib.import_module(f"PIL.{_PLUGINS[form]}ImagePlugin")
    try:
        return Image.open(io.BytesIO(data), formats=(form,))
    except UnidentifiedImageError:  # its message names an object in memory
        kind = tiff_kind(data) if form == "TIFF" else None
        if kind is not None:
            raise ValueError(f"no reader here knows TIFFs with {kind}") from None
        raise ValueError(f"the header of the {form} is damaged") from None


def _check_container(data: memoryview, form: str, max_pixels: int) -> None:
    """Looks at what Pillow passes over.

    Raises:
        ValueError: The file is damaged, or ends early.
    """
    if form == "WEBP":
        check_webp(data)
    elif form == "GIF":
        check_gif(data)
    elif form == "TIFF":
        check_tiff(data, max_pixels)
    elif form == "AVIF":
        check_avif(data)


def _may_lack_rows(image: Image.Image, outline: Outline) -> bool:
    """Whether rows of a PNG may not have been there, or the checksum of all of them not looked at.

    Pillow leaves rows black that it did not find. So it does with rows that are black, which are counted for nothing.
    """
    if outline.interlaced or outline.end_is_apart:
        return True
    return not np.asarray(image.crop((0, image.height - 1, *image.size))).any()

"""Images of every kind but plain JPEG -> pixels, by Pillow."""

from __future__ import annotations

import importlib
import io
import math
import warnings

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from pipeline.errors import SampleError
from pipeline.modalities.image.jpeg import OVERSAMPLING, check_pixels, orientation
from pipeline.modalities.image.resize import Picture

Image.MAX_IMAGE_PIXELS = None  # the limit is ours, checked before any pixel is decoded

_PREFIXES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"RIFF": "WEBP",
    b"GIF8": "GIF",
    b"II": "TIFF",
    b"MM": "TIFF",
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
SHOWN_PIXELS = 320
REDUCING_GAP = (
    3  # times the pixels that are wanted, each way, that reducing by whole blocks leaves at least
)


def decode_with_pillow(data: memoryview, field: str, size: int, max_pixels: int) -> Picture:
    """Decodes an image of any of ``FORMATS``; of an animation, the first frame.

    Raises:
        SampleError: Not an image, damaged, ending early, or over the limit of pixels.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's notes on odd metadata; the pixels decide
            return _decode(data, field, size, max_pixels)
    except UnidentifiedImageError:
        what = "not an image of a known format"
        raise SampleError(what, reason="bad_image", field=field) from None
    except (OSError, ValueError, SyntaxError, KeyError, IndexError, TypeError, EOFError) as error:
        # What Pillow's readers raise on damaged input; all of them mean the same here.
        what = f"the image cannot be decoded: {str(error) or type(error).__name__}"
        raise SampleError(what[:200], reason="bad_image", field=field) from None


def shown(data: memoryview) -> bytes:
    """An image that can be decoded as PNG, upright and whole, at most ``SHOWN_PIXELS`` wide and high."""
    with _open(data) as image:
        upright = to_rgb(ImageOps.exif_transpose(image))
    upright.thumbnail((SHOWN_PIXELS, SHOWN_PIXELS))
    written = io.BytesIO()
    upright.save(written, "PNG")
    return written.getvalue()


def to_rgb(image: Image.Image) -> Image.Image:
    """Converts any mode to 8-bit RGB; transparency is laid over white, 16-bit grey is scaled, not clipped."""
    if image.mode in ("I;16", "I;16B", "I;16L", "I;16N"):
        grey = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((grey + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.mode == "I":  # 16-bit PNG in some Pillow versions, 32-bit TIFF
        deep = np.clip(np.asarray(image, dtype=np.int64), 0, 65535)
        return Image.fromarray(((deep + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        real = np.nan_to_num(np.asarray(image, dtype=np.float64))
        scale = 255.0 if real.size and real.max() <= 1.0 else 1.0
        return Image.fromarray(np.clip(real * scale, 0, 255).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layer).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _decode(data: memoryview, field: str, size: int, max_pixels: int) -> Picture:
    with _open(data) as image:
        width, height = image.size
        check_pixels(width, height, max_pixels, field)
        turn = 1
        if image.format == "JPEG":
            # Scales while decoding by 1/2, 1/4 or 1/8, where that leaves enough.
            side = math.ceil(OVERSAMPLING * size)
            image.draft(None, (side, side))
            turn = orientation(data)
        factor = round(width / image.width)
        image.load()
        if image.format != "JPEG":
            ImageOps.exif_transpose(image, in_place=True)
            width, height = image.size
        upright = to_rgb(image)
        # A large image is not copied whole: means of blocks still have more than the filter's resolution.
        blocks = min(upright.size) // (REDUCING_GAP * size)
        if blocks > 1:
            upright = upright.reduce(blocks)
        return Picture(np.asarray(upright), width, height, factor * max(1, blocks), turn)


def _open(data: memoryview) -> Image.Image:
    head = bytes(data[:8])
    name = next((name for prefix, name in _PREFIXES.items() if head.startswith(prefix)), None)
    if name is None and head.endswith(b"ftyp"):
        name = "AVIF"
    if name is None:
        raise UnidentifiedImageError
    # Pillow would import the readers of all formats to find the one.
    importlib.import_module(f"PIL.{_PLUGINS[name]}ImagePlugin")
    return Image.open(io.BytesIO(data), formats=(name,))

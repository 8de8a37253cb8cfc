"""Image bytes -> uint8 RGB of one size."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pyarrow as pa
from PIL import Image, ImageOps, UnidentifiedImageError

from pipeline.errors import SampleError
from pipeline.modalities.base import Dense, dense_column, fixed_size_column

Image.MAX_IMAGE_PIXELS = None  # the limit below is ours, checked before any pixel is decoded
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP")
CHANNELS = 3
SHOWN_PIXELS = 320


class ImageCodec:
    """Decodes an image to (size, size, 3) uint8 RGB.

    EXIF orientation is applied; transparency is laid over white; grey, palette, CMYK and 16-bit images become RGB. The
    short side is resized to ``size`` with an antialiasing bicubic filter, then the centre is kept.

    Args:
        size: Side of the result, in pixels.
        max_pixels: Images whose header declares more pixels are refused before decoding.
    """

    def __init__(self, size: int, max_pixels: int) -> None:
        self.size = size
        self.max_pixels = max_pixels

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C)."""
        return (self.size, self.size, CHANNELS)

    @property
    def column(self) -> pa.Field:
        """``image``: fixed_size_list<uint8>[H * W * C]."""
        kind = pa.list_(pa.uint8(), self.size * self.size * CHANNELS)
        return pa.field("image", kind, metadata={"shape": ",".join(map(str, self.shape))})

    def decode(self, data: memoryview, field: str) -> np.ndarray:
        """Decodes one image to (H, W, 3) uint8.

        Raises:
            SampleError: Not an image, damaged, ending early, or over the limit of pixels.
        """
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Pillow's notes on odd metadata; the pixels decide
                return self._decode(data, field)
        except SampleError:
            raise
        except UnidentifiedImageError:
            raise SampleError(
                "not an image of a known format", reason="bad_image", field=field
            ) from None
        except (
            OSError,
            ValueError,
            SyntaxError,
            KeyError,
            IndexError,
            TypeError,
            EOFError,
        ) as error:
            # What Pillow's readers raise on damaged input; all of them mean the same here.
            what = f"the image cannot be decoded: {str(error) or type(error).__name__}"
            raise SampleError(what[:200], reason="bad_image", field=field) from None

    def show(self, data: memoryview, field: str) -> bytes:
        """The image as PNG, whole, at most ``SHOWN_PIXELS`` wide and high.

        Raises:
            SampleError: As :meth:`decode`.
        """
        self.decode(data, field)
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            upright = to_rgb(ImageOps.exif_transpose(image))
        upright.thumbnail((SHOWN_PIXELS, SHOWN_PIXELS))
        shown = io.BytesIO()
        upright.save(shown, "PNG")
        return shown.getvalue()

    def _decode(self, data: memoryview, field: str) -> np.ndarray:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
            if width * height > self.max_pixels:
                raise SampleError(
                    f"the image declares {width} x {height} pixels, over the limit of {self.max_pixels}",
                    reason="too_large",
                    field=field,
                )
            if image.format == "JPEG":
                # Scales while decoding by 1/2, 1/4 or 1/8, never below twice the size that is wanted.
                image.draft(None, (2 * self.size, 2 * self.size))
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
            return np.asarray(resize_and_crop(to_rgb(image), self.size))

    def to_arrow(self, values: list[np.ndarray | None]) -> pa.Array:
        """(H, W, 3) uint8 arrays -> a column, null where None."""
        return fixed_size_column(values, self.column, np.uint8)

    def collate(self, column: pa.Array) -> Dense:
        """A column -> (B, H, W, 3) uint8 and its presence."""
        return dense_column(column, self.shape)


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


def resize_and_crop(image: Image.Image, size: int) -> Image.Image:
    """Resizes the short side to ``size`` with antialiasing, then keeps the centre ``size`` x ``size``."""
    width, height = image.size
    scale = size / min(width, height)
    target = (max(size, round(width * scale)), max(size, round(height * scale)))
    if target != image.size:
        image = image.resize(target, Image.Resampling.BICUBIC)
    left, top = (target[0] - size) // 2, (target[1] - size) // 2
    return image.crop((left, top, left + size, top + size))

"""Real photos, and what Pillow makes of an image when it decodes every pixel."""

from __future__ import annotations

import io
import math
import tarfile
from functools import cache
from pathlib import Path

import numpy as np
import sklearn.datasets
from PIL import Image, ImageOps

PERF = Path("../shared/data/perf")
MAX_PHOTOS = 60


@cache
def real_photos() -> tuple[bytes, ...]:
    """JPEGs of cameras: two that scikit-learn carries, and some of the throughput set where it is there."""
    shipped = Path(sklearn.datasets.__file__).parent / "images"
    photos = [(shipped / name).read_bytes() for name in ("china.jpg", "flower.jpg")]
    for path in sorted(PERF.glob("*.tar")):
        with tarfile.open(path) as tar:
            members = [member for member in tar if member.name.endswith(".jpg")]
            largest = sorted(members, key=lambda member: -member.size)[: MAX_PHOTOS // 3]
            photos += [tar.extractfile(member).read() for member in largest]  # type: ignore[union-attr]
    return tuple(photos)


def encoded(image: Image.Image, form: str = "PNG", **options: object) -> memoryview:
    data = io.BytesIO()
    image.save(data, form, **options)
    return memoryview(data.getvalue())


def reference(data: bytes | memoryview, size: int) -> np.ndarray:
    """Every pixel decoded, turned upright, the short side resized, the centre cut out: (size, size, 3) uint8."""
    with Image.open(io.BytesIO(data)) as image:
        return resized_and_cropped(ImageOps.exif_transpose(image).convert("RGB"), size)


def resized_and_cropped(image: Image.Image, size: int) -> np.ndarray:
    scale = size / min(image.size)
    width, height = (max(size, round(side * scale)) for side in image.size)
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (width - size) // 2, (height - size) // 2
    return np.asarray(image.crop((left, top, left + size, top + size)))


def psnr_db(a: np.ndarray, b: np.ndarray) -> float:
    error = np.mean((a.astype(float) - b.astype(float)) ** 2)
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)

"""Handwritten digits as ink on paper: scikit-learn's 1,797 real 8x8 scans, drawn larger."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

SIZE = 32  # height and width in pixels


def load_scans() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Loads the scans.

    Returns:
        Ink from 0 (none) to 1, (1797, 8, 8), and the digits, (1797,).

    Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine
        Learning Repository, 1998; the test part, as scikit-learn carries it.
    """
    from sklearn.datasets import load_digits  # takes seconds; a second demo run needs none of it

    digits = load_digits()
    return digits.images / 16.0, digits.target.astype(np.int64)


def draw(scan: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draws a scan as coloured ink on paper, a little turned and shifted.

    Args:
        scan: Ink from 0 to 1, (8, 8).
        rng: Source of the variation.

    Returns:
        RGB image, (32, 32, 3).
    """
    framed = np.pad(scan, 1)  # strokes reach the scan's edge, and would end there in a straight cut
    ink = np.clip(ndimage.zoom(framed, SIZE / framed.shape[0], order=3), 0.0, 1.0)
    angle = np.deg2rad(rng.normal(0.0, 5.0))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turn /= rng.uniform(0.95, 1.15)
    middle = np.full(2, (SIZE - 1) / 2)
    offset = middle - turn @ middle + rng.normal(0.0, 0.8, 2)
    ink = np.clip(ndimage.affine_transform(ink, turn, offset, order=1), 0.0, 1.0)[..., None]
    paper = rng.uniform(195, 250) + rng.normal(0.0, 8.0, 3)
    pen = rng.uniform(10, 70) + rng.normal(0.0, 22.0, 3)
    shade = np.linspace(-1.0, 1.0, SIZE)[:, None, None] * rng.normal(0.0, 8.0)
    image = paper * (1.0 - ink) + pen * ink + shade + rng.normal(0.0, 6.0, (SIZE, SIZE, 3))
    return _to_uint8(image)


def occlude(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Covers the digit with a card and adds noise, so that only some strokes' ends are seen.

    Args:
        image: RGB image, (32, 32, 3).
        rng: Source of the card's place and colour, and of the noise.

    Returns:
        RGB image, (32, 32, 3).
    """
    covered = image.astype(np.float64)
    height, width = rng.integers(22, 29, 2)
    top = int(np.clip((SIZE - height) / 2 + rng.normal(0.0, 1.5), 0, SIZE - height))
    margin = int(np.clip((SIZE - width) / 2 + rng.normal(0.0, 1.5), 0, SIZE - width))
    card = rng.uniform(40, 210, 3) + rng.normal(0.0, 10.0, (height, width, 3))
    covered[top : top + height, margin : margin + width] = card
    return _to_uint8(covered + rng.normal(0.0, 35.0, image.shape))


def to_png(image: NDArray[np.uint8]) -> bytes:
    """Encodes an RGB image, (H, W, 3), as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG", compress_level=3)
    return buffer.getvalue()


def _to_uint8(image: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)

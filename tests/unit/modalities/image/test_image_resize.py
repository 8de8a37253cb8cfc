"""Resizing a box between pixels is resizing the whole image and cropping it."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from support.pictures import psnr_db, resized_and_cropped

from pipeline.modalities.image import resize
from pipeline.modalities.image.resize import Picture, resize_and_crop


def texture(width: int, height: int, seed: int = 0) -> np.ndarray:
    """Colours that no overshoot of the filter takes to 0 or 255, where rows and columns would no longer commute."""
    coarse = np.random.default_rng(seed).integers(64, 192, (9, 11, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


ROUNDING = (
    4  # rows first or columns first: what is rounded between the two is sharpened by the second
)
SIDES = st.integers(1, 150)


@settings(max_examples=80)
@given(width=SIDES, height=SIDES, size=st.integers(1, 60))
def test_as_resizing_then_cropping(width: int, height: int, size: int) -> None:
    pixels = texture(width, height)
    ours = resize_and_crop(Picture(pixels, width, height), size)
    assert ours.shape == (size, size, 3)
    expected = resized_and_cropped(Image.fromarray(pixels), size).astype(int)
    assert np.abs(ours - expected).max() <= ROUNDING


@given(width=SIDES, height=SIDES)
def test_nothing_is_touched_where_nothing_is_resized(width: int, height: int) -> None:
    pixels, size = texture(width, height), min(width, height)
    left, top = (width - size) // 2, (height - size) // 2
    ours = resize_and_crop(Picture(pixels, width, height), size)
    np.testing.assert_array_equal(ours, pixels[top : top + size, left : left + size])


@pytest.mark.parametrize("size", [3, 28, 224])
def test_a_few_pixels_become_many(size: int) -> None:
    """The vector kernel has crashed on these; a crash ends the whole test run."""
    for width, height in [(1, 1), (4, 1), (1, 4), (7, 4), (2, 9), (13, 5)]:
        for orientation in range(1, 9):
            pixels = texture(width, height)
            square = resize_and_crop(Picture(pixels, width, height, 1, orientation), size)
            assert square.shape == (size, size, 3)


@settings(max_examples=40)
@given(width=SIDES, height=SIDES, size=st.integers(1, 60), orientation=st.integers(0, 9))
@example(width=21, height=21, size=19, orientation=2)  # a box that rounding puts outside
def test_orientation_as_pillow_turns_images(
    width: int, height: int, size: int, orientation: int
) -> None:
    pixels = texture(width, height)
    image = Image.fromarray(pixels)
    image.getexif()[0x0112] = orientation
    upright = ImageOps.exif_transpose(image)
    ours = resize_and_crop(Picture(pixels, width, height, 1, orientation), size)
    assert np.abs(ours - resized_and_cropped(upright, size).astype(int)).max() <= ROUNDING


@pytest.mark.parametrize("factor", [2, 4, 8])
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_scaled_pixels_keep_their_places(factor: int, orientation: int) -> None:
    """The last column of a scaled image may stand for fewer pixels: the grid is the whole image's."""
    width, height = 8 * 20 + 3, 8 * 25 + 1
    y, x = np.mgrid[0:height, 0:width]
    ramp = np.stack([x, y, (x + y) / 2], -1) * (255 / height)
    padded = np.pad(ramp, ((0, -height % factor), (0, -width % factor), (0, 0)), "edge")
    blocks = padded.reshape(len(padded) // factor, factor, -1, factor, 3).mean(axis=(1, 3))
    whole = Picture(np.round(ramp).astype(np.uint8), width, height, 1, orientation)
    scaled = Picture(np.round(blocks).astype(np.uint8), width, height, factor, orientation)
    difference = resize_and_crop(whole, 12).astype(int) - resize_and_crop(scaled, 12)
    assert np.abs(difference).max() <= 2


def test_pillow_stands_in_where_there_is_no_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    for width, height in ((133, 97), (64, 150), (30, 20)):
        picture = Picture(texture(width, height), width, height)
        fast = resize_and_crop(picture, 48)
        with monkeypatch.context() as without:
            without.setattr(resize, "simd", None)
            slow = resize_and_crop(picture, 48)
        assert psnr_db(fast, slow) >= 50

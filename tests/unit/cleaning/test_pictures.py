"""The perceptual hash: changed copies of a photo are found, other photos are not, and no near pair is missed."""

import io
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance
from sklearn.datasets import load_digits
from support.pictures import encoded, real_photos

from pipeline.cleaning.groups import equal_pairs
from pipeline.modalities.image.codec import ImageCodec
from pipeline.modalities.image.likeness import Pictures, distances, picture_signature

LIMIT = 6
CODEC = ImageCodec(size=64, max_pixels=64_000_000)


def signature(data: bytes | memoryview) -> np.ndarray:
    return picture_signature(CODEC.decode(memoryview(data), "jpg"))


def alike(first: np.ndarray, second: np.ndarray, limit: int = LIMIT) -> bool:
    pictures = Pictures(np.stack([first, second]), limit)
    return bool(pictures.alike(np.array([0]), np.array([1]))[0])


def changed(photo: Image.Image) -> dict[str, memoryview]:
    """What becomes of a photo on its way through the web."""
    width, height = photo.size
    return {
        "png": encoded(photo),
        "quality 30": encoded(photo, "JPEG", quality=30),
        "webp": encoded(photo, "WEBP", quality=60),
        "half": encoded(photo.resize((width // 2, height // 2)), "JPEG", quality=80),
        "thumbnail": encoded(photo.resize((width * 100 // height, 100)), "JPEG", quality=75),
        "brighter": encoded(ImageEnhance.Brightness(photo).enhance(1.15), "JPEG"),
        "darker": encoded(ImageEnhance.Brightness(photo).enhance(0.8), "JPEG"),
        "flatter": encoded(ImageEnhance.Contrast(photo).enhance(0.8), "JPEG"),
    }


def test_changed_copies_are_alike_and_others_are_not() -> None:
    photos = [Image.open(io.BytesIO(data)).convert("RGB") for data in real_photos()]
    own = [signature(encoded(photo)) for photo in photos]
    found = []
    for photo, mine in zip(photos, own, strict=True):
        found += [alike(mine, signature(data)) for data in changed(photo).values()]
        assert not alike(mine, signature(encoded(photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT))))
    assert np.mean(found) > 0.99
    for first, second in itertools.combinations(own, 2):
        assert not alike(first, second, limit=12)


def test_colours_count() -> None:
    red, green = (
        np.full((32, 32, 3), colour, dtype=np.uint8) for colour in ((200, 30, 30), (30, 200, 30))
    )
    assert not alike(picture_signature(red), picture_signature(green))
    assert alike(picture_signature(red), picture_signature(np.clip(red + 3, 0, 255)))


def test_few_handwritten_digits_are_taken_for_each_other() -> None:
    """Small pictures of the same ten things are the hard case: 8 x 8 pixels, and many are nearly the same."""
    digits = load_digits()
    pixels = (digits.images[:300] * (255 / 16)).astype(np.uint8)
    rows = np.stack([picture_signature(np.repeat(each[..., None], 3, axis=2)) for each in pixels])
    left, right = map(np.array, zip(*itertools.combinations(range(300), 2), strict=True))
    taken = Pictures(rows, LIMIT).alike(left, right)
    assert taken.mean() < 0.002
    assert (digits.target[left] == digits.target[right])[taken].mean() > 0.9


def test_hash_by_definition() -> None:
    chance = np.random.default_rng(5)
    coarse = chance.integers(0, 256, (4, 5, 3), dtype=np.uint8)
    pixels = np.asarray(Image.fromarray(coarse).resize((32, 32), Image.Resampling.BICUBIC))
    luma = pixels.astype(float) @ [0.299, 0.587, 0.114]
    weights = []
    for v, u in itertools.product(range(8), range(8)):
        scale = (math.sqrt(0.5) if u == 0 else 1) * (math.sqrt(0.5) if v == 0 else 1) / 16
        total = sum(
            luma[y, x]
            * math.cos((2 * y + 1) * v * math.pi / 64)
            * math.cos((2 * x + 1) * u * math.pi / 64)
            for y, x in itertools.product(range(32), range(32))
        )
        weights.append(total * scale if abs(total * scale) >= 8 else 0.0)
    middle = sorted(weights[1:])[31]
    bits = [False, *(weight > middle for weight in weights[1:])]
    ours = np.unpackbits(picture_signature(pixels)[:8]).astype(bool).tolist()
    assert ours == bits
    red, green, blue = pixels.reshape(-1, 3).mean(axis=0)
    tint = [
        128 - 0.168736 * red - 0.331264 * green + 0.5 * blue,
        128 + 0.5 * red - 0.418688 * green - 0.081312 * blue,
    ]
    assert picture_signature(pixels)[8:].tolist() == [round(each) for each in tint]


@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1)), min_size=1))
def test_distances(pairs: list[tuple[int, int]]) -> None:
    left, right = (np.array(each, dtype=np.uint64) for each in zip(*pairs, strict=True))
    assert distances(left, right).tolist() == [(a ^ b).bit_count() for a, b in pairs]


@settings(max_examples=60)
@given(seed=st.integers(0, 10_000), limit=st.integers(0, 10))
def test_no_pair_within_the_limit_is_missed(seed: int, limit: int) -> None:
    chance = np.random.default_rng(seed)
    rows = chance.integers(0, 256, (24, 10), dtype=np.uint8)
    rows[12:] = rows[:12]
    for row in rows[12:]:
        for bit in chance.choice(64, chance.integers(0, 14), replace=False):
            row[bit // 8] ^= 1 << (bit % 8)
    pictures = Pictures(rows, limit)
    found = {
        pair
        for keys in pictures.tables()
        for left, right in equal_pairs(keys)
        for pair in zip(left.tolist(), right.tolist(), strict=True)
    }
    hashes = [int.from_bytes(row[:8].tobytes(), "little") for row in rows]
    for a, b in itertools.combinations(range(24), 2):
        if (hashes[a] ^ hashes[b]).bit_count() <= limit:
            assert (a, b) in found


@pytest.mark.parametrize("size", [8, 16, 31, 224])
def test_any_size(size: int) -> None:
    pixels = np.random.default_rng(size).integers(0, 256, (size, size, 3), dtype=np.uint8)
    assert picture_signature(pixels).shape == (10,)

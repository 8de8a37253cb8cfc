"""JPEGs that few programs write: odd sampling factors, inks, lossless ones, and kinds that no reader knows."""

import struct

import numpy as np
import pytest
from support.jpegs import adobe, write_jpeg, write_lossless

from pipeline.errors import SampleError
from pipeline.modalities.image import ImageConfig

SIDE = 72
Factors = tuple[tuple[int, int], ...]
ONE = (1, 1)
# The first is 4:4:1; then 4:1:1, 4:1:0, its transpose, thirds, and chroma finer than luma. At most ten blocks in all.
FACTORS: list[Factors] = [
    ((1, 4), ONE, ONE), ((4, 1), ONE, ONE), ((4, 2), ONE, ONE), ((2, 4), ONE, ONE), ((3, 1), ONE, ONE),
    ((1, 3), ONE, ONE), ((3, 2), ONE, ONE), ((2, 2), (2, 1), (1, 2)), (ONE, (2, 2), ONE), ((2, 1), (1, 2), ONE),
    ((4, 1), (2, 1), ONE),
]  # fmt: skip


def waves(count: int) -> list[np.ndarray]:
    """(H, W) uint8 planes without fine detail."""
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    planes = [128 + 50 * np.sin(x / 19 + c) + 50 * np.cos(y / 21 - c) for c in range(count)]
    return [plane.clip(0, 255).astype(np.uint8) for plane in planes]


def decode(data: bytes, size: int = SIDE) -> np.ndarray:
    return ImageConfig(size=size).codec(None).decode(memoryview(data), "jpg").astype(int)


def rgb(planes: list[np.ndarray]) -> np.ndarray:
    """YCbCr -> RGB, (H, W, 3). Source: JFIF 1.02, conversion to and from RGB."""
    y, cb, cr = (plane.astype(float) for plane in planes[:3])
    cb, cr = cb - 128, cr - 128
    channels = y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb
    return np.stack(channels, -1).clip(0, 255)


@pytest.mark.parametrize("factors", FACTORS, ids=str)
def test_every_sampling_is_decoded(factors: Factors) -> None:
    planes = waves(3)
    expected = rgb(planes)
    data = write_jpeg(planes, factors)
    assert np.abs(decode(data) - expected).mean() < 4
    assert np.abs(decode(data, 24).mean((0, 1)) - expected.mean((0, 1))).max() < 3  # scaled


@pytest.mark.parametrize("factors", FACTORS, ids=str)
@pytest.mark.parametrize("restarts", [0, 2])
def test_what_is_missing_is_noticed_whatever_the_sampling(factors: Factors, restarts: int) -> None:
    data = write_jpeg(waves(3), factors, restarts=restarts)
    decode(data)
    scan = data.index(b"\xff\xda") + 14
    size = len(data) - scan - 2
    damaged = {f"cut at {share}": data[: scan + int(share * size)] for share in (0.1, 0.5, 0.95)}
    damaged |= {f"{name}, with an end": cut + b"\xff\xd9" for name, cut in damaged.items()}
    damaged["a hole"] = data[: scan + size // 3] + data[scan + size // 2 :]
    damaged["pixels left over"] = data[:-2] + data[-82:]
    damaged["higher than its pixels"] = data.replace(
        struct.pack(">HH", SIDE, SIDE), struct.pack(">HH", SIDE * 2, SIDE)
    )
    for name, broken in damaged.items():
        with pytest.raises(SampleError) as caught:
            decode(broken)
        assert caught.value.reason == "bad_image", name


def test_too_many_pixels_are_refused_before_they_are_decoded() -> None:
    data = write_jpeg(waves(3), FACTORS[3])
    bomb = data.replace(struct.pack(">HH", SIDE, SIDE), struct.pack(">HH", 65500, 65500))
    with pytest.raises(SampleError, match="max_megapixels") as caught:
        decode(bomb)
    assert caught.value.reason == "too_large"


@pytest.mark.parametrize("transform", [0, 2])
@pytest.mark.parametrize("factors", [(ONE,) * 4, ((2, 2), ONE, ONE, ONE)], ids=str)
def test_inks_are_stored_inverted(transform: int, factors: Factors) -> None:
    """Photoshop stores light, not ink; of YCCK, what the conversion of YCbCr gives is taken from full light."""
    planes = waves(4)
    light = 255 - rgb(planes) if transform == 2 else np.stack(planes[:3], -1).astype(float)
    expected = light * planes[3][..., None] / 255
    data = write_jpeg(planes, factors, adobe(transform))
    assert np.abs(decode(data) - expected).mean() < 4


def test_lossless_ones_are_exact() -> None:
    planes = waves(3)
    np.testing.assert_array_equal(decode(write_lossless(planes)), np.stack(planes, -1))
    grey = decode(write_lossless(planes[:1]))
    np.testing.assert_array_equal(grey, np.stack(planes[:1] * 3, -1))


def test_what_no_reader_knows_is_refused_in_words() -> None:
    planes = waves(3)
    data = write_jpeg(planes, (ONE,) * 3)
    frame = data.index(b"\xff\xc0")
    deep = data[: frame + 1] + b"\xc1" + data[frame + 2 : frame + 4] + b"\x0c" + data[frame + 5 :]
    cases = {
        "12 bits a sample": deep,
        "16 bits a sample": write_lossless([planes[0].astype(np.uint16) << 8], bits=16),
        "2 components": write_jpeg(planes[:2], (ONE,) * 2),
        "frame type 5": data.replace(b"\xff\xc0", b"\xff\xc5"),
        "frame type 11": data.replace(b"\xff\xc0", b"\xff\xcb"),
        "no frame": data[:frame] + data[data.index(b"\xff\xc4") :],
    }
    for words, each in cases.items():
        with pytest.raises(SampleError, match=words) as caught:
            decode(each)
        assert caught.value.reason == "bad_image"

"""Every kind of PNG over white, against the standard: its depths, colour types, alpha and transparent colours.

Source: W3C PNG (third edition), 11.2.1, 11.3.1.1, 13.12 and 13.16.
"""

import numpy as np
import pytest
from support.bad_inputs.images import PASSES, chunk, header, idat, png

from pipeline.errors import SampleError
from pipeline.modalities.image import ImageConfig

SIDE = 16
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
KINDS = [
    (colour, depth)
    for colour, depths in {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}.items()
    for depth in depths
]  # fmt: skip
PALETTE = np.random.default_rng(5).integers(0, 256, (256, 3), dtype=np.uint8)
ALPHAS = np.random.default_rng(6).integers(0, 256, 256, dtype=np.uint8)


def samples(colour: int, depth: int) -> np.ndarray:
    """(H, W, C) few values, so that the transparent one comes often, and those nearly the same."""
    most = (1 << depth) - 1
    few = np.array(
        sorted(
            {
                0,
                1,
                2,
                most // 3,
                most // 2,
                most - 1,
                most,
                *({0x100, 0x1FF} if depth == 16 else ()),
            }
        )
    )
    return np.random.default_rng(depth).choice(few[few <= most], (SIDE, SIDE, CHANNELS[colour]))  # fmt: skip


def scanlines(values: np.ndarray, depth: int, across: int) -> bytes:
    """Rows with filters None and Sub in turn."""
    rows = []
    for number, row in enumerate(values):
        flat = row.reshape(-1)
        if depth >= 8:
            packed = flat.astype(f">u{depth // 8}").tobytes()
        else:
            bits = "".join(f"{value:0{depth}b}" for value in flat)
            packed = int(bits + "0" * (-len(bits) % 8), 2).to_bytes(-(-len(bits) // 8), "big")
        if number % 2:
            before = bytes(across) + packed
            packed = bytes((a - b) % 256 for a, b in zip(packed, before, strict=False))
        rows.append(bytes([number % 2]) + packed)
    return b"".join(rows)


def written(
    values: np.ndarray, colour: int, depth: int, clear: bytes | None, interlaced: int
) -> bytes:
    across = max(1, depth * CHANNELS[colour] // 8)
    parts = [values[y::down, x::right] for x, y, right, down in PASSES] if interlaced else [values]
    pixels = b"".join(scanlines(part, depth, across) for part in parts if part.size)
    chunks = [chunk(b"PLTE", PALETTE[: 1 << depth].tobytes())] if colour == 3 else []
    chunks += [] if clear is None else [chunk(b"tRNS", clear)]
    return png(header(SIDE, SIDE, depth, colour, 0, 0, interlaced), *chunks, idat(pixels))


def over_white(values: np.ndarray, colour: int, depth: int, clear: bytes | None) -> np.ndarray:
    """(H, W, 3) in 0..255, pixel by pixel."""
    most, found = (1 << depth) - 1, np.zeros((SIDE, SIDE, 3))
    for at in np.ndindex(SIDE, SIDE):
        pixel, alpha = values[at], 1.0
        if colour == 3:
            shown = PALETTE[pixel[0]] / 255
            alpha = clear[pixel[0]] / 255 if clear is not None and pixel[0] < len(clear) else 1.0
        else:
            shown = np.resize(pixel[: 1 if colour in (0, 4) else 3], 3) / most
            if colour in (4, 6):
                alpha = pixel[-1] / most
            elif clear is not None:
                told = [
                    int.from_bytes(clear[i : i + 2], "big") & most for i in range(0, len(clear), 2)
                ]
                alpha = 0.0 if told == pixel.tolist() else 1.0
        found[at] = 255 * (shown * alpha + 1 - alpha)
    return found


def decoded(data: bytes) -> np.ndarray:
    return ImageConfig(size=SIDE).codec(None).decode(memoryview(data), "png").astype(float)


def clear_of(colour: int, depth: int, values: np.ndarray) -> list[bytes | None]:
    """What may be transparent: nothing, a value that comes, it with bits that do not count, and one that is near."""
    if colour in (4, 6):
        return [None]
    if colour == 3:
        return [None, ALPHAS[: 1 << depth].tobytes(), b"\0", b"\x80\0"]
    pixel = values[3, 5]
    odd = 0 if depth == 16 else 1 << depth
    near = pixel ^ 1
    return [
        None,
        *(b"".join(int(v).to_bytes(2, "big") for v in key) for key in (pixel, pixel + odd, near)),
    ]


@pytest.mark.parametrize(("colour", "depth"), KINDS)
@pytest.mark.parametrize("interlaced", [0, 1])
def test_all_kinds_are_what_the_standard_says(colour: int, depth: int, interlaced: int) -> None:
    values = samples(colour, depth)
    for clear in clear_of(colour, depth, values):
        data = written(values, colour, depth, clear, interlaced)
        difference = np.abs(decoded(data) - over_white(values, colour, depth, clear))
        assert difference.max() <= 1.5, clear


@pytest.mark.parametrize(("colour", "depth"), [(0, 8), (2, 8), (2, 16)])
def test_a_transparent_colour_that_is_not_whole_is_refused(colour: int, depth: int) -> None:
    values = samples(colour, depth)
    with pytest.raises(SampleError) as caught:
        decoded(written(values, colour, depth, b"\0", 0))
    assert caught.value.reason == "bad_image"


def test_a_transparent_image_is_turned_like_others() -> None:
    values = samples(2, 16)
    exif = chunk(b"eXIf", b"MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0")
    clear = b"".join(int(v).to_bytes(2, "big") for v in values[0, 0])
    data = png(
        header(SIDE, SIDE, 16, 2), exif, chunk(b"tRNS", clear), idat(scanlines(values, 16, 6))
    )
    turned = np.rot90(over_white(values, 2, 16, clear), -1)
    assert np.abs(decoded(data) - turned).max() <= 1.5

"""TIFFs of many kinds: each is what its tags say, or is refused; none is silently something else.

Source: TIFF 6.0, sections 2, 8, 14, 16, 18 and 19.
"""

import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest

from pipeline.errors import SampleError
from pipeline.modalities.image import ImageConfig

SIDE = 16
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, INKS = 0, 1, 2, 3, 5
WHOLE, SIGNED, REAL = 1, 2, 3
NONE, DEFLATE = 1, 8
ASSOCIATED, UNASSOCIATED = 1, 2


def tiff(
    values: np.ndarray,
    photometric: int,
    bits: int | tuple[int, ...],
    kind: int = WHOLE,
    *,
    order: str = "<",
    packing: int = NONE,
    planar: bool = False,
    extra: tuple[int, ...] = (),
    tags: dict[int, tuple[str, tuple[int | float, ...]]] | None = None,
) -> bytes:
    """An uncompressed or deflated TIFF of one strip, or one a plane, from (H, W, C) samples."""
    height, width, count = values.shape
    depth = bits if isinstance(bits, int) else bits[0]
    planes = [values[..., n : n + 1] for n in range(count)] if planar else [values]
    strips = [_packed(plane, depth, kind, order) for plane in planes]
    strips = [zlib.compress(strip) if packing == DEFLATE else strip for strip in strips]
    starts = np.cumsum([8, *map(len, strips)])
    entries: dict[int, tuple[str, tuple[int | float, ...]]] = {
        256: ("H", (width,)), 257: ("H", (height,)),
        258: ("H", (bits,) * count if isinstance(bits, int) else bits),
        259: ("H", (packing,)), 262: ("H", (photometric,)), 273: ("I", tuple(map(int, starts[:-1]))),
        277: ("H", (count,)), 278: ("H", (height,)), 279: ("I", tuple(map(len, strips))),
        284: ("H", (2 if planar else 1,)), 339: ("H", (kind,) * count),
    }  # fmt: skip
    entries |= {338: ("H", extra)} if extra else {}
    entries |= tags or {}
    return _file(b"".join(strips), entries, order)


def _packed(values: np.ndarray, depth: int, kind: int, order: str) -> bytes:
    if kind == REAL:
        return values.astype(f"{order}f{depth // 8}").tobytes()
    if depth >= 8 and depth % 8 == 0:
        letter = "i" if kind == SIGNED else "u"
        return values.astype(np.int64).astype(f"{order}{letter}{depth // 8}").tobytes()
    rows = []
    for row in values.reshape(len(values), -1):
        bits = "".join(f"{value:0{depth}b}" for value in row)
        rows.append(int(bits + "0" * (-len(bits) % 8), 2).to_bytes(-(-len(bits) // 8), "big"))
    return b"".join(rows)


def _file(
    pixels: bytes, entries: dict[int, tuple[str, tuple[int | float, ...]]], order: str
) -> bytes:
    pixels += bytes(len(pixels) % 2)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8 + len(pixels))
    behind = 8 + len(pixels) + 2 + 12 * len(entries) + 4
    directory, more = struct.pack(f"{order}H", len(entries)), b""
    for tag, (letter, values) in sorted(entries.items()):
        content = struct.pack(f"{order}{len(values)}{letter}", *values)
        number = {"H": 3, "I": 4, "f": 11}[letter]
        place = content.ljust(4, b"\0")
        if len(content) > 4:
            place = struct.pack(f"{order}I", behind + len(more))
            more += content + bytes(len(content) % 2)
        directory += struct.pack(f"{order}HHI", tag, number, len(values)) + place
    return head + pixels + directory + bytes(4) + more


def decoded(data: bytes) -> np.ndarray | None:
    """The pixels, None where the image is refused."""
    try:
        return ImageConfig(size=SIDE).codec(None).decode(memoryview(data), "tif").astype(float)
    except SampleError as error:
        refusal = error
    assert refusal.reason == "bad_image"
    assert len(refusal.what.split()) > 6, refusal.what
    return None


def chosen(count: int, most: int, seed: int = 0) -> np.ndarray:
    few = sorted({0, 1, most // 5, most // 2, most - 1, most})
    return np.random.default_rng(seed).choice(np.array(few, dtype=np.int64), (SIDE, SIDE, count))


def grey(values: np.ndarray, most: float, photometric: int) -> np.ndarray:
    share = values / most
    return np.repeat(255 * (1 - share if photometric == WHITE_IS_ZERO else share), 3, axis=-1)


ORDERS, PACKINGS = (
    pytest.mark.parametrize("order", "<>"),
    pytest.mark.parametrize("packing", [NONE, DEFLATE]),
)
EVERYWHERE = [(bits, "<>") for bits in (1, 2, 4, 8)]


@ORDERS
@PACKINGS
@pytest.mark.parametrize("photometric", [WHITE_IS_ZERO, BLACK_IS_ZERO])
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 12, 16, 32])
def test_grey(bits: int, photometric: int, packing: int, order: str) -> None:
    most = (1 << bits) - 1
    values = chosen(1, most)
    found = decoded(tiff(values, photometric, bits, order=order, packing=packing))
    if bits <= 8 or (bits == 16 and (order == "<" or photometric == BLACK_IS_ZERO)):
        assert found is not None
    if found is not None:
        assert np.abs(found - grey(values, most, photometric)).max() <= 1


@ORDERS
@PACKINGS
@pytest.mark.parametrize("bits", [8, 16, 32])
def test_signed_samples_are_refused(bits: int, packing: int, order: str) -> None:
    values = chosen(1, (1 << (bits - 1)) - 1) - (1 << (bits - 2))
    assert decoded(tiff(values, BLACK_IS_ZERO, bits, SIGNED, order=order, packing=packing)) is None


def unit(lowest: float = 0.0, highest: float = 1.0) -> np.ndarray:
    values = np.random.default_rng(0).uniform(0.1, 0.9, (SIDE, SIDE, 1)).astype(np.float32)
    values[3, 4], values[7, 8] = lowest, highest
    return values


@ORDERS
@pytest.mark.parametrize("photometric", [WHITE_IS_ZERO, BLACK_IS_ZERO])
@pytest.mark.parametrize(
    "values",
    [unit(), unit(0.2, 0.3), unit(0, 1.0001), unit(-0.02, 1.04)],
    ids=["0..1", "inside", "a pixel at 1.0001", "overshoot"],
)
def test_real_samples_are_shares_of_white(values: np.ndarray, photometric: int, order: str) -> None:
    found = decoded(tiff(values, photometric, 32, REAL, order=order))
    assert found is not None
    assert np.abs(found - grey(values.clip(0, 1), 1, photometric)).max() <= 1


@pytest.mark.parametrize("odd", [300.0, 40.0, 1.5, -0.5, -3.0, np.nan, np.inf, -np.inf, 1e30])
def test_real_samples_of_no_known_range_are_refused(odd: float) -> None:
    values = unit(0, odd)
    assert decoded(tiff(values, BLACK_IS_ZERO, 32, REAL)) is None
    assert decoded(tiff(values * 255, BLACK_IS_ZERO, 32, REAL)) is None


def test_the_file_may_tell_the_range() -> None:
    values = unit(0, 1) * 4000 + 100
    told = {340: ("f", (100.0,)), 341: ("f", (4100.0,))}
    found = decoded(tiff(values, BLACK_IS_ZERO, 32, REAL, tags=told))
    assert found is not None
    assert np.abs(found - grey((values - 100) / 4000, 1, BLACK_IS_ZERO)).max() <= 1


@ORDERS
@PACKINGS
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("bits", [8, 16])
def test_colours(bits: int, planar: bool, packing: int, order: str) -> None:
    most = (1 << bits) - 1
    values = chosen(3, most)
    found = decoded(tiff(values, RGB, bits, order=order, packing=packing, planar=planar))
    assert (found is None) == (planar and bits == 16)
    if found is not None:
        assert np.abs(found - 255 * values / most).max() <= 1


@ORDERS
@pytest.mark.parametrize("packing", [NONE, DEFLATE])
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("photometric", [BLACK_IS_ZERO, RGB])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("extra", [ASSOCIATED, UNASSOCIATED])
def test_alpha_is_laid_over_white(
    extra: int, bits: int, photometric: int, planar: bool, packing: int, order: str
) -> None:
    most, count = (1 << bits) - 1, 3 if photometric == RGB else 1
    alpha = chosen(1, most, seed=1)
    colours = chosen(count, most)
    if extra == ASSOCIATED:
        colours = np.minimum(colours, alpha)
    values = np.concatenate([colours, alpha], axis=-1)
    data = tiff(
        values, photometric, bits, order=order, packing=packing, planar=planar, extra=(extra,)
    )
    found = decoded(data)
    if bits == 8 and photometric == RGB and not planar:
        assert found is not None
    if found is not None:
        shown = colours if extra == ASSOCIATED else colours * (alpha / most)
        expected = np.broadcast_to(255 * (shown / most + 1 - alpha / most), (SIDE, SIDE, 3))
        assert np.abs(found - expected).max() <= 2


@ORDERS
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("deep", [True, False])
def test_palettes_of_16_bits_and_of_writers_that_give_8(bits: int, deep: bool, order: str) -> None:
    colours = np.random.default_rng(2).integers(0, 256, (3, 1 << bits))
    values = np.random.default_rng(3).integers(0, 1 << bits, (SIDE, SIDE, 1))
    table = {320: ("H", tuple(int(v) for v in (colours * (257 if deep else 1)).reshape(-1)))}
    found = decoded(tiff(values, PALETTE, bits, order=order, tags=table))
    assert found is not None
    assert np.abs(found - colours.T[values[..., 0]]).max() <= 1


@ORDERS
@pytest.mark.parametrize("bits", [8, 16])
def test_inks(bits: int, order: str) -> None:
    most = (1 << bits) - 1
    values = chosen(4, most)
    found = decoded(tiff(values, INKS, bits, order=order))
    assert found is not None
    light = 1 - values / most
    assert np.abs(found - 255 * light[..., :3] * light[..., 3:]).max() <= 2
    assert decoded(tiff(values, INKS, bits, order=order, tags={332: ("H", (2,))})) is None


def test_samples_of_no_meaning_are_passed_over() -> None:
    values = chosen(4, 255)
    found = decoded(tiff(values, RGB, 8, extra=(0,)))
    assert found is not None
    np.testing.assert_array_equal(found, values[..., :3])


def test_lab() -> None:
    """Neutral colours: L* of 0..100 in 0..255. Source: CIE 1976; IEC 61966-2-1 (sRGB), 5.2."""
    values = np.zeros((SIDE, SIDE, 3), dtype=np.int64)
    values[..., 0] = np.linspace(0, 255, SIDE).astype(int)[:, None]
    lightness = values[..., 0] / 255 * 100
    linear = np.where(lightness > 8, ((lightness + 16) / 116) ** 3, lightness / 903.3)
    shown = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    found = decoded(tiff(values, 8, 8))
    assert found is not None
    assert np.abs(found - 255 * shown[..., None]).max() <= 3


@pytest.mark.parametrize(
    "write",
    [
        lambda: tiff(chosen(3, 31), RGB, (5, 6, 5)),
        lambda: tiff(chosen(3, 255), RGB, (8, 8, 16)),
        lambda: tiff(chosen(3, 255), RGB, 32),
        lambda: tiff(unit().repeat(3, -1), RGB, 32, REAL),
        lambda: tiff(unit(), BLACK_IS_ZERO, 64, REAL),
        lambda: tiff(unit(), BLACK_IS_ZERO, 16, REAL),
        lambda: tiff(chosen(1, 1), 4, 1),
        lambda: tiff(chosen(3, 255), RGB, 8, tags={339: ("H", (1, 2, 1))}),
        lambda: tiff(chosen(2, 255), WHITE_IS_ZERO, 8, extra=(UNASSOCIATED,)),
    ],
)  # fmt: skip
def test_what_is_not_known_is_refused(write: Callable[[], bytes]) -> None:
    assert decoded(write()) is None


def test_kinds_that_no_reader_knows_are_not_called_damaged() -> None:
    codec = ImageConfig(size=SIDE).codec(None)
    values = np.zeros((SIDE, SIDE, 3))
    kinds = "BitsPerSample 32 32 32, SampleFormat 3 3 3, PhotometricInterpretation 2"
    with pytest.raises(SampleError, match=f"no reader here knows TIFFs with {kinds}"):
        codec.decode(memoryview(tiff(values, RGB, 32, REAL)), "tif")
    damaged = tiff(values, RGB, 8).replace(struct.pack("<HHI", 256, 3, 1), bytes(8))
    with pytest.raises(SampleError, match="header of the TIFF is damaged"):
        codec.decode(memoryview(damaged), "tif")

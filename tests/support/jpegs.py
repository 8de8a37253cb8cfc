"""JPEGs that libraries do not write: any sampling factors, made by a small baseline encoder of our own.

Source: ITU-T T.81, A.1 to A.3 (sampling, order, DCT), F.1.2 (Huffman coding), K.3 (tables).
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator, Sequence

import numpy as np
from scipy.fft import dctn

ZIGZAG = sorted(
    range(64), key=lambda i: (i // 8 + i % 8, (i // 8 if (i // 8 + i % 8) % 2 else i % 8))
)
# How many codes there are of each length, and their symbols: K.3.1, and one of equal lengths for all 162 others.
DC_COUNTS = (0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0)
DC_SYMBOLS = bytes(range(12))
AC_SYMBOLS = bytes([0x00, 0xF0, *(run << 4 | size for run in range(16) for size in range(1, 11))])
AC_COUNTS = (0, 0, 0, 0, 0, 0, 0, len(AC_SYMBOLS), 0, 0, 0, 0, 0, 0, 0, 0)
LOSSLESS_SYMBOLS = bytes(range(17))
LOSSLESS_COUNTS = (0, 0, 0, 0, 0, 0, 0, len(LOSSLESS_SYMBOLS), 0, 0, 0, 0, 0, 0, 0, 0)
Factors = Sequence[tuple[int, int]]


def write_jpeg(
    planes: Sequence[np.ndarray],
    factors: Factors,
    *segments: bytes,
    step: int = 4,
    restarts: int = 0,
) -> bytes:
    """A baseline JPEG of (H, W) planes, each at the image's size, of which means of blocks are coded.

    Args:
        planes: Components, uint8.
        factors: (across, down) of each, at most 4.
        segments: More segments before the frame.
        step: Of every quantisation.
        restarts: Units between two restart markers; 0 for none.
    """
    height, width = planes[0].shape
    most = [max(each[axis] for each in factors) for axis in (0, 1)]
    columns, rows = -(-width // (8 * most[0])), -(-height // (8 * most[1]))
    scaled = [
        _sampled(plane, rows * 8 * most[1], columns * 8 * most[0], most[1] / down, most[0] / across)
        for plane, (across, down) in zip(planes, factors, strict=True)
    ]
    units = list(_scan(scaled, factors, rows, columns, step, restarts))
    at_a_time = restarts or len(units)
    pieces = [_packed(units[at : at + at_a_time]) for at in range(0, len(units), at_a_time)]
    coded = pieces[0] + b"".join(
        bytes([0xFF, 0xD0 + number % 8]) + piece for number, piece in enumerate(pieces[1:])
    )
    frame = struct.pack(">BHHB", 8, height, width, len(planes)) + b"".join(
        bytes([number + 1, across << 4 | down, 0]) for number, (across, down) in enumerate(factors)
    )
    scan = bytes([len(planes), *(b for n in range(len(planes)) for b in (n + 1, 0)), 0, 63, 0])
    return b"".join(
        [
            b"\xff\xd8",
            *segments,
            _segment(0xDB, b"\0" + bytes([step] * 64)),
            _segment(0xC0, frame),
            _segment(0xC4, b"\x00" + bytes(DC_COUNTS) + DC_SYMBOLS),
            _segment(0xC4, b"\x10" + bytes(AC_COUNTS) + AC_SYMBOLS),
            *([_segment(0xDD, struct.pack(">H", restarts))] if restarts else []),
            _segment(0xDA, scan),
            coded,
            b"\xff\xd9",
        ]
    )


def write_lossless(planes: Sequence[np.ndarray], bits: int = 8) -> bytes:
    """A lossless JPEG of (H, W) planes, each sample predicted by its left neighbour; T.81, annex H."""
    height, width = planes[0].shape
    codes = _codes(LOSSLESS_COUNTS, LOSSLESS_SYMBOLS)
    coded = []
    for row, column, plane in itertools.product(range(height), range(width), planes):
        before = plane[row, column - 1] if column else plane[row - 1, 0]
        expected = int(before) if row or column else 1 << (bits - 1)
        coded.append(_number(codes, 0, int(plane[row, column]) - expected))
    frame = struct.pack(">BHHB", bits, height, width, len(planes))
    frame += b"".join(bytes([number + 1, 0x11, 0]) for number in range(len(planes)))
    scan = bytes([len(planes), *(b for n in range(len(planes)) for b in (n + 1, 0)), 1, 0, 0])
    table = b"\0" + bytes(LOSSLESS_COUNTS) + LOSSLESS_SYMBOLS
    head = _segment(0xC3, frame) + _segment(0xC4, table) + _segment(0xDA, scan)
    return b"\xff\xd8" + head + _packed(coded) + b"\xff\xd9"


def _segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def adobe(transform: int) -> bytes:
    """The segment that says what four components, or three, stand for: 0 as they are, 1 YCbCr, 2 YCCK."""
    return _segment(0xEE, b"Adobe" + struct.pack(">HHHB", 100, 0, 0, transform))


def _sampled(plane: np.ndarray, height: int, width: int, down: float, across: float) -> np.ndarray:
    """The plane with its edges repeated, at its own sampling: each sample the nearest pixel's."""
    padded = np.pad(
        plane.astype(float),
        ((0, height - plane.shape[0]), (0, width - plane.shape[1])),
        mode="edge",
    )
    rows = ((np.arange(round(height / down)) + 0.5) * down).astype(int)
    columns = ((np.arange(round(width / across)) + 0.5) * across).astype(int)
    return padded[np.ix_(rows, columns)]


def _scan(
    planes: Sequence[np.ndarray],
    factors: Factors,
    rows: int,
    columns: int,
    step: int,
    restarts: int,
) -> Iterator[str]:
    """The bits of each unit."""
    dc, ac = _codes(DC_COUNTS, DC_SYMBOLS), _codes(AC_COUNTS, AC_SYMBOLS)
    before = [0] * len(planes)
    for unit in range(rows * columns):
        if restarts and unit % restarts == 0:
            before = [0] * len(planes)
        bits = []
        for number, (plane, (across, down)) in enumerate(zip(planes, factors, strict=True)):
            row, column = unit // columns * down, unit % columns * across
            for y, x in itertools.product(range(row, row + down), range(column, column + across)):
                block = plane[8 * y : 8 * y + 8, 8 * x : 8 * x + 8] - 128
                values = np.rint(dctn(block, norm="ortho") / step).astype(int)
                ordered = values.reshape(-1)[ZIGZAG].tolist()
                bits.append(_number(dc, 0, ordered[0] - before[number]))
                before[number] = ordered[0]
                bits += _others(ac, ordered[1:])
        yield "".join(bits)


def _packed(units: Sequence[str]) -> bytes:
    """Bits as bytes, filled up with ones."""
    bits = "".join(units)
    whole = int(bits + "1" * (-len(bits) % 8), 2).to_bytes(-(-len(bits) // 8), "big")
    return whole.replace(b"\xff", b"\xff\0")


def _others(codes: dict[int, str], values: Sequence[int]) -> Iterator[str]:
    run = 0
    for value in values:
        if not value:
            run += 1
            continue
        yield codes[0xF0] * (run // 16) + _number(codes, run % 16, value)
        run = 0
    if run:
        yield codes[0]


def _number(codes: dict[int, str], run: int, value: int) -> str:
    size = abs(value).bit_length()
    bits = value if value >= 0 else value + (1 << size) - 1
    return codes[run << 4 | size] + (f"{bits:0{size}b}" if size else "")


def _codes(counts: Sequence[int], symbols: bytes) -> dict[int, str]:
    codes, code, place = {}, 0, 0
    for length, count in enumerate(counts, 1):
        for symbol in symbols[place : place + count]:
            codes[symbol] = f"{code:0{length}b}"
            code += 1
        place, code = place + count, code << 1
    return codes

"""What the header of a vector's file says, without its numbers."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.errors import SampleError
from pipeline.modalities.content import Content
from pipeline.modalities.vector.npy import HEADER_BYTES, NpyHeader, read_npy_header

# A header of the largest size that is read, with what stands before it.
_PROBED_BYTES = HEADER_BYTES + 16
# Steps of this share of series are kept whole.
_KEPT_WHOLE = 0.95


def probe_npy(content: Content, field: str) -> NpyHeader:
    """The header of a ``.npy`` member, held against the member's size.

    Raises:
        SampleError: As decoding does.
    """
    return read_npy_header(content.read(0, _PROBED_BYTES), content.size, field)


def usual_shape(members: Sequence[memoryview]) -> tuple[int, ...] | None:
    """A shape that most ``.npy`` files fit; None where none of them can be read, or none has one or two axes.

    Args:
        members: Whole files.

    Returns:
        (L,), the most frequent; or (T, C), the most frequent C, with T no shorter than 95 of 100 series.
    """
    shapes = []
    for data in members:
        try:
            shapes.append(read_npy_header(data, len(data), "npy").shape)
        except SampleError:
            continue
    rows = [shape for shape in shapes if len(shape) in (1, 2)]
    if not rows:
        return None
    ends = [shape if len(shape) == 1 else (-1, shape[1]) for shape in rows]
    usual = max(sorted(set(ends)), key=ends.count)
    if len(usual) == 1:
        return usual
    steps = sorted(shape[0] for shape in rows if shape[1:] == usual[1:])
    return steps[int(_KEPT_WHOLE * (len(steps) - 1))], usual[1]

"""What the header of a vector's file says, without its numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.errors import SampleError
from pipeline.modalities.content import Content
from pipeline.modalities.facets import Facts, ProbeRules
from pipeline.modalities.vector.codec import NPY, VectorCodec
from pipeline.modalities.vector.npy import HEADER_BYTES, NpyHeader, read_npy_header

if TYPE_CHECKING:
    from pipeline.modalities.vector import VectorConfig

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


def probe_vector(content: Content, field: str, config: VectorConfig, rules: ProbeRules) -> Facts:
    """Shape and dtype of a ``.npy`` member, by its header; of written numbers, their shape where they are short.

    Values are looked at only where a member has no header and is read whole.
    """
    codec = config.codec(None)
    if content.size > config.max_bytes:
        return Facts(fault=codec.too_large(content.size, field))
    if field.rpartition(".")[2] != NPY:
        return _probe_written(content, field, codec, rules)
    try:
        header = probe_npy(content, field)
    except SampleError as error:
        return Facts(fault=error)
    fault = None
    try:
        codec.check_shape(header.shape, field)
    except SampleError as error:
        fault = error
    return _facts(header.shape, config, str(header.dtype), fault)


def _probe_written(content: Content, field: str, codec: VectorCodec, rules: ProbeRules) -> Facts:
    if content.size > rules.read_bytes:
        return Facts()
    try:
        codec.decode(content.whole(), field)
    except SampleError as error:
        return Facts(fault=error)
    return Facts(values={"format": field.rpartition(".")[2]})


def _facts(
    shape: tuple[int, ...], config: VectorConfig, dtype: str, fault: SampleError | None
) -> Facts:
    series = len(config.shape) == 2
    values = {"dtype": dtype} | ({"channels": str(shape[1])} if len(shape) == 2 else {})
    notes: tuple[str, ...] = ()
    if fault is None and series and shape[0] != config.shape[0]:
        notes = ("cut" if shape[0] > config.shape[0] else "padded",)
    return Facts(
        ranges={"steps" if series else "values": float(shape[0])} if shape else {},
        values=values,
        notes=notes,
        fault=fault,
    )


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

"""Arrays of numbers in NumPy's file format, read without running what is in them and without believing their header.

Source: NEP 1, "A simple file format for NumPy arrays", and its versions 2.0 and 3.0 (numpy.lib.format).
"""

from __future__ import annotations

import io
import math
import sys
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.lib import format as npy_format

from pipeline.modalities.decoding.foreign import Refusing
from pipeline.modalities.vector.faults import BAD_VECTOR, bad

MAGIC = b"\x93NUMPY"
# Of a header, as numpy's own limit; a plain array's takes less than 200.
HEADER_BYTES = 10_000
# Axes of an array, in every version of numpy.
_MAX_AXES = 32
# Magic, version, and the length of the header: 2 bytes in version 1, 4 in later ones.
_BEGINNING_BYTES = {1: 10, 2: 12, 3: 12}
_PICKLED = "it holds Python objects, which only unpickling could read, and that runs code"
# Kinds of dtypes that are no numbers of one part, in words.
_NO_NUMBERS = {
    "c": "complex numbers",
    "m": "spans of time",
    "M": "dates",
    "S": "byte strings",
    "U": "texts",
    "V": "records",
}


@dataclass(frozen=True, slots=True)
class NpyHeader:
    """What the beginning of a file declares.

    Attributes:
        shape: Of the array.
        dtype: One of bool, whole or real numbers, of any size and byte order.
        fortran_order: Whether the first axis runs fastest.
        offset: Byte at which the numbers begin.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    fortran_order: bool
    offset: int

    @property
    def num_bytes(self) -> int:
        """Bytes that the numbers take; a Python integer, so that no declaration overflows it."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_npy(data: memoryview, field: str) -> tuple[np.ndarray, int]:
    """The array of a file, as a view of its bytes: nothing is allocated for it.

    Args:
        data: The file.
        field: Its extension.

    Returns:
        The array, of a bool, whole or real dtype, and how many bytes follow that belong to nothing.

    Raises:
        SampleError: Not such a file, not of numbers, or with fewer bytes than its header declares.
    """
    header = read_npy_header(data, len(data), field)
    order: Literal["F", "C"] = "F" if header.fortran_order else "C"
    flat = np.frombuffer(data, header.dtype, math.prod(header.shape), header.offset)
    return flat.reshape(header.shape, order=order), len(data) - header.offset - header.num_bytes


def read_npy_header(head: memoryview, size: int, field: str) -> NpyHeader:
    """The header of a file, checked against its size.

    Args:
        head: The file's first bytes, its header among them.
        size: Bytes of the whole file.
        field: Its extension.

    Raises:
        SampleError: As :func:`read_npy`.
    """
    version, start, length = _version(head, field)
    if length > HEADER_BYTES:
        raise bad(f"its header claims {length} bytes, and no array's needs {HEADER_BYTES}", field)
    if len(head) < start + length:
        raise bad("it ends within its header", field)
    # Versions 2 and 3 differ in the encoding of names that a record's parts have.
    read = npy_format.read_array_header_1_0 if version == 1 else npy_format.read_array_header_2_0
    with Refusing(BAD_VECTOR, field, "the array"):
        behind_version = io.BytesIO(bytes(head[npy_format.MAGIC_LEN : start + length]))
        shape, fortran_order, dtype = read(behind_version, max_header_size=HEADER_BYTES)
    _check_dtype(dtype, field)
    if len(shape) > _MAX_AXES or any(abs(extent) > sys.maxsize for extent in shape):
        raise bad("its header declares a shape that no array has", field)
    if any(extent < 0 for extent in shape):
        raise bad(f"its header declares the shape {_in_words(shape)}", field)
    header = NpyHeader(tuple(map(int, shape)), dtype, bool(fortran_order), start + length)
    available = size - header.offset
    if header.num_bytes > available:
        what = f"its header declares {header.num_bytes} bytes of numbers, and {available} are there"
        raise bad(what, field)
    if not header.num_bytes:
        raise bad(f"it is empty, of shape {_in_words(header.shape)}", field)
    return header


def _version(head: memoryview, field: str) -> tuple[int, int, int]:
    """Version, first byte and length of the header."""
    if bytes(head[: len(MAGIC)]) != MAGIC:
        pickled = bytes(head[:1]) == b"\x80"
        raise bad(f"a pickle: {_PICKLED}" if pickled else "no .npy file by its content", field)
    if len(head) < max(_BEGINNING_BYTES.values()):
        raise bad("it ends within its header", field)
    major, minor = head[len(MAGIC) : npy_format.MAGIC_LEN]
    start = _BEGINNING_BYTES.get(major)
    if start is None or minor:
        raise bad(f"version {major}.{minor} of the format is not known", field)
    return major, start, int.from_bytes(head[npy_format.MAGIC_LEN : start], "little")


def _check_dtype(dtype: np.dtype[np.generic], field: str) -> None:
    if dtype.hasobject:
        raise bad(_PICKLED, field)
    if dtype.names is not None or dtype.subdtype is not None:
        raise bad("it holds records, not single numbers", field)
    if dtype.kind not in "biuf":
        raise bad(f"it holds {_NO_NUMBERS.get(dtype.kind, str(dtype))}, not real numbers", field)


def _in_words(shape: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, shape))}]"[:80]

"""The reader of .npy against numpy's own: the same arrays, and never more than numpy reads."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from support.vectors import declared, npy, npy_with_header

from pipeline.errors import SampleError
from pipeline.modalities.vector.npy import read_npy

REAL = st.one_of(
    arrays.boolean_dtypes(),
    arrays.integer_dtypes(endianness="?"),
    arrays.unsigned_integer_dtypes(endianness="?"),
    arrays.floating_dtypes(endianness="?", sizes=(16, 32, 64)),
)
SHAPES = arrays.array_shapes(min_dims=0, max_dims=3, min_side=1, max_side=6)


def read_or_none(data: bytes) -> np.ndarray | None:
    """The array; None where it is refused, for the one reason. Any other error fails the test."""
    try:
        return read_npy(memoryview(data), "npy")[0]
    except SampleError as error:
        if error.reason != "bad_vector":
            raise
        return None


@settings(max_examples=200)
@given(
    data=st.data(),
    dtype=REAL,
    shape=SHAPES,
    fortran=st.booleans(),
    version=st.sampled_from([1, 2, 3]),
)
def test_reads_what_numpy_wrote(data, dtype, shape, fortran, version) -> None:
    array = data.draw(arrays.arrays(dtype, shape))
    array = np.asfortranarray(array) if fortran else array
    file = io.BytesIO()
    np.lib.format.write_array(file, array, (version, 0), allow_pickle=False)
    read, rest = read_npy(memoryview(file.getvalue()), "npy")
    expected = np.load(io.BytesIO(file.getvalue()), allow_pickle=False)
    assert rest == 0
    assert read.dtype == expected.dtype
    np.testing.assert_array_equal(read, expected)


@settings(max_examples=200)
@given(data=st.data(), shape=SHAPES, cut=st.integers(0, 200))
def test_a_file_cut_anywhere_is_refused(data, shape, cut) -> None:
    whole = npy(data.draw(arrays.arrays(np.float32, shape)))
    with pytest.raises(SampleError) as caught:
        read_npy(memoryview(whole[: max(0, len(whole) - 1 - cut)]), "npy")
    assert caught.value.reason == "bad_vector"


@settings(max_examples=200)
@given(place=st.integers(0, 127), byte=st.integers(0, 255))
def test_a_flipped_byte_of_the_header_never_does_more_than_refuse(place, byte) -> None:
    broken = bytearray(npy(np.arange(12, dtype=np.float32).reshape(4, 3)))
    broken[place] = byte
    read = read_or_none(bytes(broken))
    if read is not None:
        expected = np.load(io.BytesIO(bytes(broken)), allow_pickle=False)
        np.testing.assert_array_equal(read, expected)


@settings(max_examples=200)
@given(
    shape=st.lists(st.integers(-3, 1 << 70), max_size=4).map(tuple),
    descr=st.sampled_from(["<f4", "|b1", ">i8"]),
)
def test_a_shape_is_not_believed(shape, descr) -> None:
    array = read_or_none(npy_with_header(declared(shape, descr), b"x" * 64))
    if array is not None:
        assert array.nbytes <= 64
        assert array.shape == shape


@settings(max_examples=200)
@given(text=st.text(max_size=80))
def test_any_header_is_read_or_refused(text) -> None:
    header = text.encode("utf-8", "replace").decode("latin-1")
    read_or_none(npy_with_header(header))

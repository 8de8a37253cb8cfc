"""Vectors: what is read as which numbers, what is refused, and what the refusal says."""

import json
import pickle
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.vectors import declared, npy, npy_with_header, wave

from pipeline.errors import MESSAGE_CHARACTERS, SampleError
from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.base import Noted
from pipeline.modalities.decoding.decoded import read_decoded
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.modalities.vector import VectorConfig

SERIES = np.arange(12, dtype=np.float32).reshape(4, 3)

# Digits in hexadecimal, of which Python reads more than it writes in decimal.
HEX_SHAPE = f"{{'descr': '<f4', 'fortran_order': False, 'shape': (0x{'f' * 8000}, 3), }}\n"


def decode(data: bytes, field: str = "npy", **settings: Any) -> np.ndarray:
    return VectorConfig(**{"shape": (4, 3), **settings}).codec(None).decode(memoryview(data), field)


def refused(data: bytes, field: str = "npy", **settings: Any) -> SampleError:
    with pytest.raises(SampleError) as caught:
        decode(data, field, **settings)
    assert caught.value.field == field
    return caught.value


@pytest.mark.parametrize(
    "dtype", ["?", "i1", "u1", "<i2", ">i2", "<u4", ">i8", "<f2", ">f4", "<f8", ">f8", "g"]
)
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_real_dtype_in_every_order(dtype: str, order: str) -> None:
    array = np.asarray(SERIES > 3 if dtype == "?" else SERIES, dtype=dtype, order=order)
    value = decode(npy(array))
    assert value.dtype == np.float32
    np.testing.assert_array_equal(value, array.astype(np.float32))


BAD_FILES = {
    "python objects": (npy(np.array([{}, []], dtype=object)), "unpickling"),
    "a pickle": (pickle.dumps([1.0, 2.0]), "pickle"),
    "records": (npy(np.zeros(3, dtype=[("a", "f4"), ("b", "i4")])), "records"),
    "subarrays": (npy_with_header(declared((2,), "(2,3)f4"), bytes(48)), "records"),
    "complex numbers": (npy(SERIES * 1j), "complex"),
    "dates": (npy(np.zeros(3, "M8[s]")), "dates"),
    "spans of time": (npy(np.zeros(3, "m8[s]")), "spans of time"),
    "texts": (npy(np.array(["a", "b"])), "texts"),
    "byte strings": (npy(np.array([b"a", b"b"])), "byte strings"),
    "cut off": (npy(SERIES)[:-1], "declares 48 bytes of numbers, and 47 are there"),
    "cut in the header": (npy(SERIES)[:40], "within its header"),
    "cut in the magic": (npy(SERIES)[:7], "within its header"),
    "empty file": (b"", "no .npy file"),
    "another file": (b"\x89PNG\r\n\x1a\n" + bytes(100), "no .npy file"),
    "unknown version": (b"\x93NUMPY\x09\x00" + bytes(100), "version 9.0"),
    "unknown minor version": (b"\x93NUMPY\x01\x01" + npy(SERIES)[8:], "version 1.1"),
    "terabytes": (npy_with_header(declared((1 << 40, 3)), bytes(48)), "13194139533312 bytes"),
    "beyond int64": (npy_with_header(declared((1 << 62, 1 << 62)), bytes(48)), "and 48 are there"),
    "beyond what is printed": (npy_with_header(declared((10**4000,) * 2), b"0"), "no array"),
    "beyond what is converted": (npy_with_header(HEX_SHAPE, b"0"), "no array"),
    "beyond 32 axes": (npy_with_header(declared((4, 3) + (1,) * 31), bytes(48)), "no array"),
    "hundreds of digits": (
        npy_with_header(declared((1 << 62,) * 30), bytes(48)),
        "header declares",
    ),
    "negative": (npy_with_header(declared((-4, -3)), bytes(48)), "[-4, -3]"),
    "no values": (npy(np.zeros((0, 3))), "empty, of shape [0, 3]"),
    "a long header": (npy_with_header(declared((4, 3)) + " " * 20_000, bytes(48)), "claims 20"),
    "a huge header": (b"\x93NUMPY\x02\x00\xff\xff\xff\x7f" + bytes(100), "claims 2147483647"),
    "code for a header": (npy_with_header("__import__('os').getpid()", bytes(48)), "cannot be"),
    "nested header": (npy_with_header("(" * 9000, bytes(48)), "cannot be"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_file_that_is_no_array_of_numbers(name: str) -> None:
    data, words = BAD_FILES[name]
    fault = refused(data)
    assert fault.reason == "bad_vector"
    assert words in fault.what
    assert len(fault.what) <= MESSAGE_CHARACTERS


def test_nothing_is_allocated_for_what_is_only_declared() -> None:
    tracemalloc.start()
    for name in ("terabytes", "a huge header"):
        refused(BAD_FILES[name][0])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def test_a_file_that_goes_on_is_read_and_noted() -> None:
    codec = VectorConfig(shape=(4, 3)).codec(None)
    value = codec.decode_noting(memoryview(npy(SERIES) + b"more"), "npy")
    assert isinstance(value, Noted)
    assert (value.reason, value.detail) == ("noted_rest", "4 bytes follow the array")
    np.testing.assert_array_equal(value.value, SERIES)


@pytest.mark.parametrize(
    ("array", "settings", "setting"),
    [
        (np.zeros(5), {"shape": (6,)}, "shape"),
        (np.zeros(7), {"shape": (6,)}, "shape"),
        (np.zeros((6, 1)), {"shape": (6,)}, "shape"),
        (np.zeros((4, 2)), {}, "shape"),
        (np.zeros((3, 4)), {}, "shape"),
        (np.zeros(()), {}, "shape"),
        (np.zeros((2, 4, 3)), {}, "shape"),
        (np.zeros((5, 3)), {"too_long": "quarantine"}, "too_long"),
        (np.zeros((3, 3)), {"too_short": "quarantine"}, "too_short"),
    ],
)
def test_another_shape_names_the_setting(
    array: np.ndarray, settings: dict[str, Any], setting: str
) -> None:
    fault = refused(npy(array), **settings)
    assert fault.reason == "bad_vector"
    assert fault.setting == f"modalities.vector.{setting}"


def test_turned_axes_are_said_to_be() -> None:
    assert "other way round" in refused(npy(np.zeros((3, 4)))).what


def test_a_long_series_is_cut_and_a_short_one_ends_in_missing_values() -> None:
    np.testing.assert_array_equal(decode(npy(np.vstack([SERIES, SERIES]))), SERIES)
    short = decode(npy(SERIES[:2]))
    np.testing.assert_array_equal(short[:2], SERIES[:2])
    assert np.isnan(short[2:]).all()


def test_one_axis_is_a_series_of_one_channel() -> None:
    np.testing.assert_array_equal(decode(npy(np.arange(4)), shape=(4, 1)), [[0], [1], [2], [3]])


def test_a_large_member_is_refused_by_the_limit() -> None:
    fault = refused(npy(SERIES), max_bytes=100)
    assert (fault.reason, fault.setting) == ("too_large", "modalities.vector.max_bytes")


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf, 1e300])
def test_what_is_not_finite_follows_the_policy(odd: float) -> None:
    array = SERIES.astype(np.float64)
    array[1, 2] = odd
    fault = refused(npy(array))
    assert fault.setting == "modalities.vector.non_finite"
    assert "1 of its 12 values" in fault.what
    zero = decode(npy(array), non_finite="zero")
    assert zero[1, 2] == 0
    assert np.isfinite(zero).all()
    for policy in ("mean", "mask"):
        value = decode(npy(array), non_finite=policy)
        assert np.flatnonzero(np.isnan(value)).tolist() == [5]
        assert value[0, 1] == 1


def test_a_vector_of_which_nothing_is_left_is_refused() -> None:
    assert refused(npy(np.full((4, 3), np.nan)), non_finite="mask").reason == "bad_vector"


# -- lines of text ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("0,1,2\n3,4,5\n6,7,8\n9,10,11", {}),
        ("\ufeff0, 1 ,2\r\n3,4,5\r\n\r\n6,7,8\r\n9,1e1,+11.0\r\n", {}),
        ("0\t1\t2\n3\t4\t5\n6\t7\t8\n9\t10\t11\n", {"separator": "\t"}),
        (" 0  1 2\n3 4\t5\n6 7 8\n9 10 11", {"separator": " "}),
        ("0,1,2\n3,4,5\n6,7,8\n9,10,11\n12,13,14\nwhat is not kept is not read", {}),
    ],
)
def test_rows_of_text(text: str, settings: dict[str, Any]) -> None:
    np.testing.assert_array_equal(decode(text.encode(), "csv", **settings), SERIES)


@pytest.mark.parametrize("text", ["1,2,3", "1\n2\n3\n", "1,2,3\n\n"])
def test_features_stand_in_one_row_or_one_column(text: str) -> None:
    np.testing.assert_array_equal(decode(text.encode(), "txt", shape=(3,)), [1, 2, 3])


@pytest.mark.parametrize(
    ("text", "shape", "words"),
    [
        ("0,1,2\n3,4", (4, 3), "line 2"),
        ("0,1,2\n3,4,5,6", (4, 3), "line 2"),
        ("0,1,2,3", (4, 3), "line 1"),
        ("t,x,y\n0,1,2", (4, 3), "line 1, column 1 is no number"),
        ("0,1,0x2", (4, 3), "line 1, column 3 is no number"),
        ("0,1,1_000", (4, 3), "no number has"),
        ("0,1,٣", (4, 3), "no number has"),
        ("", (4, 3), "empty"),
        ("\n \n", (4, 3), "empty"),
        ("1,2", (3,), "fewer than 3 values"),
        ("1,2,3,4", (3,), "more than 3 values"),
        ("1\n2\n3\n4", (3,), "more than 3 values"),
        ("1,2,3\n4,5,6", (3,), "rows of several numbers"),
    ],
)
def test_text_that_is_no_such_table(text: str, shape: tuple[int, ...], words: str) -> None:
    fault = refused(text.encode(), "csv", shape=shape)
    assert fault.reason == "bad_vector"
    assert words in fault.what


def test_text_of_bytes_is_refused() -> None:
    assert refused(b"\xff\xfe1,2", "csv").reason == "bad_vector"


def test_an_empty_cell_is_a_missing_value() -> None:
    text = b"0,,2\n3,nan,5\n6,7,8\n9,10,11"
    assert "2 of its 12" in refused(text, "csv").what
    assert np.flatnonzero(np.isnan(decode(text, "csv", non_finite="mask"))).tolist() == [1, 4]


# -- JSON -------------------------------------------------------------------------------------------------------------


def test_json_at_a_path() -> None:
    data = json.dumps({"sensors": {"acc": SERIES.tolist()}, "n": 1}).encode()
    np.testing.assert_array_equal(decode(data, "json", path="sensors.acc"), SERIES)
    np.testing.assert_array_equal(decode(b"[1, 2.5, -3e0]", "json", shape=(3,)), [1, 2.5, -3])
    np.testing.assert_array_equal(decode(b"[1, 2]", "meta.json", shape=(2, 1)), [[1], [2]])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a": [[0, 1, 2], [3, 4]]}', "differ in length"),
        ('{"a": [[0, 1, 2], 3]}', "differ in length"),
        ('{"a": [["0", 1, 2]]}', "no number"),
        ('{"a": [[true, 1, 2]]}', "no number"),
        ('{"a": [[[0], 1, 2]]}', "no number"),
        ('{"a": []}', "no list"),
        ('{"a": {"b": 1}}', "no list"),
        ('{"b": [[0, 1, 2]]}', "there is no a"),
        ("[[0, 1, 2]]", "there is no a"),
        ('{"a": [[NaN, 1, 2]]}', "not JSON"),
        ('{"a": [[0, 1, 2]', "not JSON"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_json_that_holds_no_such_numbers(text: str, words: str) -> None:
    fault = refused(text.encode(), "json", path="a")
    assert fault.reason == "bad_vector"
    assert words in fault.what


def test_null_and_what_no_float_holds_are_missing_in_json() -> None:
    text = b"[[null, 1, 2], [1e999, 1, 2], [1" + b"0" * 400 + b", 1, 2], [0, 1, 2]]"
    assert np.flatnonzero(np.isnan(decode(text, "json", non_finite="mask"))).tolist() == [0, 3, 6]


# -- the column -------------------------------------------------------------------------------------------------------


def test_a_missing_value_is_null_in_the_column_and_a_mask_in_the_batch(tmp_path) -> None:
    config = VectorConfig(shape=(4, 3), non_finite="mask")
    codec = config.codec(None)
    holed = SERIES.copy()
    holed[2, 1] = np.nan
    column = codec.to_arrow([codec.decode(memoryview(npy(holed)), "npy"), None, SERIES])
    assert column.type == pa.list_(pa.float32(), 12)
    assert column[0].as_py() == [None if i == 7 else float(i) for i in range(12)]
    assert column[1].as_py() is None
    table = pa.Table.from_arrays([column], schema=pa.schema([codec.column]))
    pq.write_table(table, tmp_path / "v.parquet")
    for read in (table, pq.read_table(tmp_path / "v.parquet")):
        taken = read.take([2, 0, 1])["vector"].combine_chunks()
        values, present = codec.collate(taken)
        assert values.shape == (3, 2, 4, 3)
        assert values.dtype == np.float32
        assert present.tolist() == [True, True, False]
        assert np.isfinite(values).all()
        np.testing.assert_array_equal(values[0, 0], SERIES)
        assert values[1, 0, 2, 1] == 0
        assert np.flatnonzero(values[1, 1] == 0).tolist() == [7]
        assert not values[2].any()


def test_rows_are_written_where_they_are_asked_to_be() -> None:
    from pipeline.modalities.base import Item

    codec = VectorConfig(shape=(4, 3)).codec(None)
    out = codec.empty(3)
    good, bad = Item(memoryview(npy(SERIES)), "npy"), Item(memoryview(b"x"), "npy")
    results = codec.decode_batch([good, bad, good], out)
    assert [isinstance(each, SampleError) for each in results] == [False, True, False]
    np.testing.assert_array_equal(out[0], SERIES)
    np.testing.assert_array_equal(out[2], SERIES)


@pytest.mark.parametrize("shape", [(6,), (64, 2), (400, 30), (1, 1), (5000,)])
def test_a_vector_is_shown_as_a_small_picture(shape: tuple[int, ...]) -> None:
    array = np.zeros(shape)
    array[0] = np.nan
    codec = VectorConfig(shape=shape, non_finite="zero").codec(None)
    shown = codec.show(memoryview(npy(array)), "npy")
    assert shown.startswith(b"\x89PNG")
    assert len(shown) < 20_000


@pytest.mark.parametrize(
    "settings",
    [
        {"shape": ()},
        {"shape": (0,)},
        {"shape": (2, 3, 4)},
        {"shape": (1 << 20, 1 << 20)},
        {"shape": (3,), "separator": "e"},
        {"shape": (3,), "separator": "."},
        {"shape": (3,), "separator": ",,"},
        {"shape": (3,), "non_finite": "ignore"},
        {"shape": (3,), "encoder": {"kind": "rnn"}},
        {},
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        VectorConfig(**settings)


def test_the_encoder_follows_the_shape_unless_it_is_said() -> None:
    assert VectorConfig(shape=(3,)).encoder.kind == "mlp"
    assert VectorConfig(shape=(30, 3)).encoder.kind == "cnn"
    assert VectorConfig(shape=(30, 3), encoder={"kind": "mlp"}).encoder.kind == "mlp"


def test_a_bundle_keeps_the_encoder_whatever_the_shape() -> None:
    for settings in (
        {"shape": [30, 3], "encoder": {"kind": "mlp"}},
        {"shape": [30, 3]},
        {"shape": [3]},
    ):
        modalities = ModalitiesConfig.model_validate({"vector": settings})
        kept = modalities.decoding(encoders=True)
        again = ModalitiesConfig.model_validate(kept).by_name()["vector"]
        assert again.encoder == modalities.by_name()["vector"].encoder


def test_the_starter_finds_the_shape() -> None:
    features = [memoryview(npy(np.zeros(size))) for size in (5, 5, 7)]
    assert VectorConfig.suited_to(features) == {"shape": [5]}
    series = [memoryview(npy(wave(1, 0, steps=steps))) for steps in (10, 20, 30)] + [
        memoryview(b"x")
    ]
    assert VectorConfig.suited_to(series) == {"shape": [20, 2]}
    assert VectorConfig.suited_to([memoryview(b"x")]) == {}


def test_an_augmented_vector_is_drawn_on_the_axis_of_the_original() -> None:
    config = VectorConfig(shape=(4, 3), non_finite="mask")
    codec = config.codec(None)
    [original] = codec.collate(codec.to_arrow([SERIES])).values
    changed = original.copy()
    changed[1, 2:] = 0
    as_it_is, augmented = (config.show_augmented(codec, original, v) for v in (original, changed))
    assert as_it_is.medium == augmented.medium == "plot"
    assert as_it_is.content != augmented.content
    assert augmented.content.startswith(b"\x89PNG")


def test_what_was_preprocessed_is_what_was_decoded(tmp_path: Path) -> None:
    modalities = ModalitiesConfig.model_validate(
        {"acc": {"kind": "vector", "shape": [4, 3], "non_finite": "mask"}}
    )
    decoder = Decoder.build(modalities, None)
    holed = SERIES.copy()
    holed[2, 1] = np.nan
    column = decoder.codecs["acc"].to_arrow([holed, None, SERIES])
    field = decoder.schema.field("acc")
    names = pa.array(["a", "b", "c"])
    schema = pa.schema([("key", pa.string()), ("shard", pa.string()), field])
    url = str(tmp_path / "part.parquet")
    pq.write_table(pa.Table.from_arrays([names, names, column], schema=schema), url)
    read = read_decoded(url, 0, 3, 0, "part", decoder)
    assert read["acc"].to_pylist() == column.to_pylist()
    again = decoder.codecs["acc"].collate(read["acc"].combine_chunks())
    first = decoder.codecs["acc"].collate(column)
    np.testing.assert_array_equal(again.values, first.values)
    assert again.values[0, 1].sum() == 11

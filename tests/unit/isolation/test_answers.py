"""What the decoding process sends is data, whoever sends it."""

import base64
import gc
import json
import pickle
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.errors import InputError, SampleError, SinkError
from pipeline.isolation import Guard
from pipeline.isolation.answer import (
    UnreadableAnswer,
    decode,
    decode_error,
    encode,
    encode_error,
)
from pipeline.isolation.journal import Entry, Journal
from pipeline.limits import Limits

PIXELS = pa.field("image", pa.list_(pa.uint8(), 4), metadata={"shape": "2,2"})
WORDS = pa.field("text", pa.list_(pa.int32()))


class Bomb:
    """Makes a file where it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (Path(self.path),)


class ArmedError(Exception):
    """Makes a file where it is unpickled."""

    def __reduce__(self) -> Any:
        return Path.touch, (Path(self.args[0]),)


def send(message: bytes) -> None:
    """Says something on the pipe of this child, as code that has taken it over could."""
    (connection,) = (each for each in gc.get_objects() if isinstance(each, Connection))
    connection.send_bytes(message)


def send_bomb(path: str, *_: object) -> None:
    send(pickle.dumps(Bomb(path)))


def send_text(text: str, *_: object) -> None:
    send(text.encode())


def raise_bomb(path: str, *_: object) -> None:
    raise ArmedError(path)


def send_places(places: Any, *_: object) -> None:
    value = {"table": {"rows": 1, "numbers": {}, "first": 0, "last": 2}}
    send(json.dumps({"word": "done", "value": value, "places": places}).encode())


def ask(work: Any, request: Any) -> Any:
    guard = Guard(work, ("image",), Limits())
    try:
        return guard(request, detail="x.tar")
    finally:
        guard.close()


def taken(places: Any, arena: pa.Buffer) -> list[pa.Buffer]:
    guard = Guard(send_bomb, ("image",), Limits())
    try:
        return guard._buffers(None, places, arena)  # type: ignore[arg-type]
    finally:
        guard.close()


def test_a_pickle_that_a_child_sends_is_not_executed(tmp_path: Path) -> None:
    armed = tmp_path / "armed"
    with pytest.raises(InputError, match="no answer"):
        ask(send_bomb, str(armed))
    assert not armed.exists()
    pickle.loads(pickle.dumps(Bomb(str(armed))))
    assert armed.exists(), "and it would have worked"


def test_an_error_that_a_child_raises_is_not_unpickled(tmp_path: Path) -> None:
    armed = tmp_path / "armed"
    with pytest.raises(RuntimeError, match="ArmedError: .*armed"):
        ask(raise_bomb, str(armed))
    assert not armed.exists()


@pytest.mark.parametrize(
    "places", [[[0, 1 << 62]], [[-8, 4]], [[1 << 40, 8], [0, 8]], "x", [["a", "b"]], [[1, 8]]]
)
def test_places_outside_the_shared_memory_are_not_read(places: Any) -> None:
    arena = pa.py_buffer(bytes(8))
    assert taken([[0, 8], [2, 3]], arena)[1].size == 3
    with pytest.raises((ValueError, TypeError)):
        taken(places, arena)


@pytest.mark.parametrize("places", [[[0, 1 << 62]], [[0, float("inf")]]])
def test_an_answer_that_is_none_is_a_child_that_crashed(places: Any) -> None:
    with pytest.raises(InputError, match=r"ended 3 times.*no answer"):
        ask(send_places, places)


def test_an_answer_that_is_nested_without_end_is_a_child_that_crashed() -> None:
    with pytest.raises(InputError, match=r"ended 3 times.*no answer"):
        ask(send_text, "[" * 100_000)


@pytest.mark.parametrize(
    "entry",
    [[1, 99, 0, 1], [1, 0, 0, 1 << 60], [1, 0, -5, 2], [1, 0, float("inf"), 2], "x", None],
)
def test_a_journal_that_lies_blames_no_sample(entry: Any) -> None:
    assert Journal(("image",)).entry(entry).modality is None


def test_a_journal_is_read_as_it_was_written() -> None:
    journal = Journal(("", "image"))
    assert journal.read().modality is None
    journal.write(7, "image", 3, 66)
    assert journal.read() == Entry(7, "image", 3, 66)
    journal.close()


def again(value: Any) -> Any:
    plain, buffers = encode(value)
    copies = [pa.py_buffer(buffer.to_pybytes()) for buffer in buffers]
    return decode(json.loads(json.dumps(plain)), copies)


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, 3, 2.5, "日本", b"\x00\xff", [1, [b"x"]], (1, ("a",)), {1, 2}),
        *({"a": {"b": (b"c",)}}, {1: "whole numbers are keys too"}, [], {}, set(), float("inf")),
    ],
    ids=repr,
)
def test_values_come_as_they_were(value: Any) -> None:
    copy = again(value)
    assert copy == value
    assert type(copy) is type(value)


def table(rows: int = 5) -> pa.Table:
    pixels = pa.array([[i, i, i, i] if i % 2 else None for i in range(rows)], PIXELS.type)
    half = pa.array(np.arange(rows * 2, dtype=np.float16))
    columns = {
        "key": pa.array([f"k{i}" for i in range(rows)]),
        "image": pixels,
        "mel": pa.FixedSizeListArray.from_arrays(half, 2),
        "text": pa.array([[i] * i for i in range(rows)], WORDS.type),
        "error": pa.array([{"reason": "x", "bytes": b"\x00"}] * rows),
    }
    schema = pa.schema(
        [PIXELS if name == "image" else pa.field(name, each.type) for name, each in columns.items()]
    ).with_metadata({"a": "b"})
    return pa.Table.from_arrays(list(columns.values()), schema=schema)


@pytest.mark.parametrize(
    "value",
    [
        table(),
        table(0),
        table().slice(1, 3),
        table(1),
        pa.concat_tables([table(2), table(3)]),
        table().filter(table()["image"].is_null()),
    ],
    ids=["whole", "no rows", "slice", "one null", "chunks", "all null"],
)
def test_tables_come_as_they_were(value: pa.Table) -> None:
    copy = again(value)
    assert copy.schema.equals(value.schema, check_metadata=True)
    assert copy == value


def test_numbers_of_a_table_stay_where_they_lie() -> None:
    numbers = np.zeros(4000, np.uint8)
    values = pa.FixedSizeListArray.from_arrays(pa.array(numbers), 4)
    _, buffers = encode(pa.table({"image": values}))
    assert buffers[0].address == numbers.ctypes.data
    assert sum(buffer.size for buffer in buffers[1:]) < 2000, "and are nowhere else"


def test_tables_whose_numbers_lie_are_refused() -> None:
    """Offsets that point behind the end of what was sent, too few numbers, types of somebody's own."""
    plain, buffers = encode(table())
    told = plain["table"]
    few = [buffers[0].slice(0, 4), *buffers[1:]]
    with pytest.raises(UnreadableAnswer, match="not as many numbers"):
        decode(plain, few)
    with pytest.raises(UnreadableAnswer, match="not as many rows"):
        decode({"table": told | {"rows": 10**9}}, buffers)
    whole = buffers[told["first"] + 2].to_pybytes()
    offsets = np.array([0, 0, 1, 3, 6, 10], np.int32).tobytes()  # of the lists of the text
    assert offsets in whole
    for lie in ([0, 0, 1, 3, 6, 1 << 30], [0, 0, 1 << 30, 3, 6, 10]):  # at the end, and amid others
        batch = whole.replace(offsets, np.array(lie, np.int32).tobytes())
        with pytest.raises(UnreadableAnswer):
            decode(plain, [*buffers[: told["first"] + 2], pa.py_buffer(batch)])
    own = pa.schema([pa.field("x", pa.int8(), metadata={"ARROW:extension:name": "ray.pickled"})])
    with pytest.raises(UnreadableAnswer, match="somebody's own"):
        decode(
            {"table": {"rows": 0, "numbers": {}, "first": 0, "last": 2}},
            [own.serialize(), own.serialize()],
        )


@pytest.mark.parametrize("plain", [{"bytes": "%%"}, {"no": 1}, {}, {"table": {}}, {"dict": [1]}])
def test_what_is_no_answer_is_said_to_be_none(plain: Any) -> None:
    with pytest.raises(UnreadableAnswer):
        decode(plain, [])
    assert base64.b64decode(encode(b"x")[0]["bytes"]) == b"x"


@pytest.mark.parametrize(
    "error",
    [
        SampleError("what", reason="bad_image", field="png", where="w"),
        SinkError("what", where="where", fix="fix"),
        KeyError("a bug"),
        FileNotFoundError(2, "No such file", "x.tar"),
        ValueError("a", 1),
    ],
    ids=repr,
)
def test_errors_come_as_they_were(error: Exception) -> None:
    copy = decode_error(json.loads(json.dumps(encode_error(error))))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)


def test_errors_of_other_classes_keep_their_words() -> None:
    class OwnError(Exception):
        pass

    for error in (OwnError("words"), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "words")):
        copy = decode_error(json.loads(json.dumps(encode_error(error))))
        assert type(copy) is RuntimeError
        assert "words" in str(copy)
    told = {"kind": "SystemExit", "text": "", "arguments": [1]}
    assert type(decode_error(told)) is RuntimeError, "nothing that ends the process"
    assert type(decode_error("x")) is RuntimeError

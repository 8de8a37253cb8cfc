"""Answers of the decoding process: JSON, and Arrow tables whose large columns stay where they lie. Never pickle.

The process that decodes reads what strangers have made. Whoever takes it over must not get any further, so what it
sends is taken as data: numbers, texts, bytes, lists, sets, mappings of texts and tables; an error is its class, looked
up among those known here, and its words.

A table is three things: its schema, as an Arrow IPC message; the plain numbers of its fixed-size lists (pixels,
spectrograms), as they lie in memory; and everything else as Arrow record batches, in which each such column is
replaced by whether its rows are there.
"""

from __future__ import annotations

import base64
import builtins
import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import PipelineError, rebuild

_EXTENSION = (
    b"ARROW:extension:name"  # of types whose reading may run code that somebody has registered
)


class UnreadableAnswer(ValueError):
    """What came is nothing that :func:`encode` makes."""


def encode(value: object) -> tuple[object, list[pa.Buffer]]:
    """Describes a value as what JSON can hold; tables become buffers beside it.

    Raises:
        TypeError: It holds what is neither JSON, bytes, a set nor a table.
    """
    buffers: list[pa.Buffer] = []
    return _plain(value, buffers), buffers


def decode(plain: object, buffers: Sequence[pa.Buffer]) -> object:
    """The value that :func:`encode` described; its tables lie in the buffers.

    Raises:
        UnreadableAnswer: It is none.
    """
    try:
        return _value(plain, buffers)
    except Exception as error:  # whatever comes of reading what is none
        raise UnreadableAnswer(f"{type(error).__name__}: {error}") from error


def encode_error(error: Exception) -> dict[str, object]:
    """An exception as what :func:`decode_error` takes."""
    content = {"kind": type(error).__name__, "text": str(error)}
    if isinstance(error, PipelineError):
        state = {name: value for name, value in vars(error).items() if name != "__notes__"}
        return content | {"state": state}
    return content | {"arguments": _arguments(error)}


def decode_error(content: object) -> Exception:
    """The exception; a ``RuntimeError`` with its words where its class is none of Python's or of the house."""
    content = content if isinstance(content, dict) else {}
    kind = content.get("kind")
    state, arguments = content.get("state"), content.get("arguments")
    if isinstance(state, dict) and {"what", "where", "fix"} <= state.keys():
        for heir in _with_heirs(PipelineError):
            if heir.__name__ == kind:
                return rebuild(heir, state)
    builtin = vars(builtins).get(kind) if isinstance(kind, str) else None
    if isinstance(builtin, type) and issubclass(builtin, Exception) and isinstance(arguments, list):
        with contextlib.suppress(Exception):  # one that wants other arguments
            return builtin(*arguments)
    return RuntimeError(f"{kind}: {content.get('text')}")


def _arguments(error: Exception) -> list[object] | None:
    """What an exception was made of; None where that is more than texts and numbers."""
    arguments = list(error.args)
    if isinstance(error, OSError) and len(arguments) == 2 and isinstance(error.filename, str):
        arguments.append(error.filename)
    plain = all(isinstance(argument, str | int | float) for argument in arguments)
    return arguments if plain and not isinstance(error, UnicodeError) else None


def _with_heirs(kind: type[PipelineError]) -> Iterator[type[PipelineError]]:
    yield kind
    for heir in kind.__subclasses__():
        yield from _with_heirs(heir)


def _plain(value: object, buffers: list[pa.Buffer]) -> object:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list):
        return [_plain(item, buffers) for item in value]
    if isinstance(value, bytes | bytearray | memoryview):
        return {"bytes": base64.b64encode(value).decode()}
    if isinstance(value, tuple):
        return {"tuple": [_plain(item, buffers) for item in value]}
    if isinstance(value, set | frozenset):
        return {"set": [_plain(item, buffers) for item in value]}
    if isinstance(value, dict):
        return {"dict": [[_plain(part, buffers) for part in item] for item in value.items()]}
    if isinstance(value, pa.Table):
        return {"table": _table(value, buffers)}
    raise TypeError(f"a {type(value).__name__} cannot be sent from the process that decodes")


def _value(plain: object, buffers: Sequence[pa.Buffer]) -> object:
    if isinstance(plain, list):
        return [_value(item, buffers) for item in plain]
    if not isinstance(plain, dict):
        return plain
    [(kind, content)] = plain.items()
    if kind == "bytes":
        return base64.b64decode(content, validate=True)
    if kind == "table":
        return _read_table(content, buffers)
    make: Callable[[object], object] = {"tuple": tuple, "set": set, "dict": dict}[kind]
    return make([_value(item, buffers) for item in content])


def _table(table: pa.Table, buffers: list[pa.Buffer]) -> dict[str, object]:
    schema, small = table.schema, table
    places: dict[str, int] = {}
    for index, field in enumerate(schema):
        column = table.column(index)
        if not _is_numbers(field.type) or column.num_chunks != 1:
            continue
        chunk = column.chunk(0)
        width = field.type.list_size * field.type.value_type.bit_width // 8
        values = chunk.values
        if values.null_count or not width:
            continue
        start = values.offset * field.type.value_type.bit_width // 8 + chunk.offset * width
        small = small.set_column(index, field.name, chunk.is_valid())
        places[str(index)] = len(buffers)
        buffers.append(values.buffers()[1].slice(start, len(chunk) * width))
    first = len(buffers)
    buffers.append(schema.serialize())
    buffers.append(small.schema.serialize())
    buffers.extend(batch.serialize() for batch in small.to_batches())
    return {"rows": table.num_rows, "numbers": places, "first": first, "last": len(buffers)}


def _read_table(told: Mapping[str, Any], buffers: Sequence[pa.Buffer]) -> pa.Table:
    first, last, rows = int(told["first"]), int(told["last"]), int(told["rows"])
    schema, small_schema = (_schema(buffers[index]) for index in (first, first + 1))
    batches = [
        pa.ipc.read_record_batch(buffers[index], small_schema) for index in range(first + 2, last)
    ]
    small = pa.Table.from_batches(batches, small_schema)
    columns = small.columns
    if small.num_rows != rows:
        raise UnreadableAnswer("not as many rows as it says")
    for name, place in told["numbers"].items():
        columns[int(name)] = _numbers(schema.field(int(name)), columns[int(name)], buffers[place])
    table = pa.Table.from_arrays(columns, schema=schema)
    table.validate(full=True)  # or an offset that lies would be followed out of the memory we share
    return table


def _schema(buffer: pa.Buffer) -> pa.Schema:
    if _EXTENSION in buffer.to_pybytes():
        raise UnreadableAnswer("a column of a type of somebody's own")
    return pa.ipc.read_schema(buffer)


def _numbers(field: pa.Field, there: pa.ChunkedArray, buffer: pa.Buffer) -> pa.Array:
    """A column of fixed-size lists: its numbers where they lie, and whether each row is there."""
    kind = field.type
    if not _is_numbers(kind):
        raise UnreadableAnswer(f"a {kind} is no list of numbers")
    count = len(there) * kind.list_size
    if buffer.size != count * kind.value_type.bit_width // 8:
        raise UnreadableAnswer("not as many numbers as its rows have")
    values = pa.Array.from_buffers(kind.value_type, count, [None, buffer])
    missing = None if pc.all(there).as_py() else pc.invert(there).combine_chunks()
    return pa.FixedSizeListArray.from_arrays(values, type=kind, mask=missing)


def _is_numbers(kind: pa.DataType) -> bool:
    """Whether it is fixed-size lists of numbers of whole bytes."""
    if not pa.types.is_fixed_size_list(kind):
        return False
    return bool(pa.types.is_integer(kind.value_type) or pa.types.is_floating(kind.value_type))

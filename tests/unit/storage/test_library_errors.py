"""What a store's library raises on the way out is one line that names the location, whatever class it is of."""

from collections.abc import Callable
from pathlib import Path

import obstore
import pyarrow as pa
import pytest
from obstore import exceptions

from pipeline import storage
from pipeline.errors import SinkError
from pipeline.storage import retry
from pipeline.storage.retry import Backoff
from pipeline.storage.stores import ArrowStore

ERRORS = [
    pa.ArrowInvalid("Empty path component in path"),
    pa.ArrowNotImplementedError("no such thing here"),
    pa.ArrowKeyError("no such key here"),
    pa.ArrowTypeError("not of this type"),
    pa.ArrowCapacityError("too large for it"),
    pa.ArrowCancelled("it was stopped"),
    exceptions.GenericError("the store said no"),
    exceptions.InvalidPathError("no path of its own"),
    ValueError("Could not parse path"),
]


def create_once(url: str) -> None:
    with storage.create(url, replace=False) as file:
        file.write(b"x")


WAYS: dict[str, Callable[[str], object]] = {
    "write": lambda url: storage.write_bytes(url, b"x"),
    "create once": create_once,
    "replace": lambda url: storage.replace_if(url, b"x", None),
    "replace a version": lambda url: storage.replace_if(url, b"x", "v"),
    "copy": lambda url: storage.copy(url, f"{url}-copy"),
    "remove": storage.remove,
}


def check(raised: pytest.ExceptionInfo[SinkError], url: str) -> None:
    assert url in str(raised.value)
    assert "\n" not in str(raised.value)
    assert raised.value.fix


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("way", WAYS)
def test_a_library_that_refuses_is_one_line(
    bucket: str, monkeypatch: pytest.MonkeyPatch, way: str, error: Exception
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    for name in ("write", "copy", "remove"):
        monkeypatch.setattr(ArrowStore, name, fail)
    monkeypatch.setattr(obstore, "put", fail)
    monkeypatch.setattr(retry, "BACKOFF", Backoff(attempts=2, first_seconds=0.001))
    with pytest.raises(SinkError) as raised:
        WAYS[way](f"{bucket}/a")
    check(raised, f"{bucket}/a")
    assert error.args[0] in str(raised.value)


@pytest.mark.parametrize("name", ["a//b", "a\x00b"])
@pytest.mark.parametrize("way", ["create once", "replace"])
def test_names_that_a_store_has_not_are_refused_in_words(bucket: str, way: str, name: str) -> None:
    with pytest.raises(SinkError, match="cannot be written") as raised:
        WAYS[way](f"{bucket}/{name}")
    check(raised, f"{bucket}/")


def test_so_is_what_a_writer_of_files_raises_on_a_disk(tmp_path: Path) -> None:
    def write() -> None:
        with storage.create(str(tmp_path / "x.parquet")) as file:
            file.write(b"half")
            raise pa.ArrowInvalid("a column that cannot be written")

    with pytest.raises(SinkError, match="a column that cannot be written") as raised:
        write()
    check(raised, str(tmp_path / "x.parquet"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", [AttributeError, ValueError])
def test_a_bug_is_no_fault_of_the_store(bucket: str, kind: type[Exception]) -> None:
    def write() -> None:
        with storage.create(f"{bucket}/x") as file:
            file.write(b"half")
            raise kind("a bug")

    with pytest.raises(kind, match="a bug"):
        write()
    assert not storage.exists(f"{bucket}/x")

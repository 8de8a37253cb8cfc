"""Objects that are made once, and replaced only by those who have read them; on a server that fails in every way."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.faulty_store import Fault, FaultyStore, faulty_store

from pipeline import storage
from pipeline.errors import SinkError
from pipeline.storage import conditional, retry, stores
from pipeline.storage.retry import Backoff


def puts(method: str, path: str) -> bool:
    return method in ("PUT", "POST")


@pytest.fixture
def faulty(
    s3_server: str, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[FaultyStore, str]]:
    """A server that can be told to fail, and the URL of a bucket there."""
    with faulty_store(s3_server) as store:
        monkeypatch.setenv("AWS_ENDPOINT_URL", store.endpoint)
        monkeypatch.setattr(retry, "BACKOFF", Backoff(first_seconds=0.01))
        for cache in (conditional._store, stores._arrow_store):
            cache.cache_clear()
        yield store, bucket
        for cache in (conditional._store, stores._arrow_store):
            cache.cache_clear()


@pytest.fixture(params=["disk", "store"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A local folder, and a bucket."""
    if request.param == "disk":
        return str(tmp_path)
    return str(request.getfixturevalue("bucket"))


def create(url: str, data: bytes) -> bool:
    with storage.create(url, replace=False) as file:
        file.write(data)
    return file.created


def test_the_first_writer_wins(folder: str) -> None:
    assert create(f"{folder}/a b/ü#+%20.json", b"first")
    assert not create(f"{folder}/a b/ü#+%20.json", b"second")
    assert storage.read_bytes(f"{folder}/a b/ü#+%20.json") == b"first"


def test_of_many_writers_at_once_one_wins(folder: str) -> None:
    barrier, won = threading.Barrier(8), []

    def write(number: int) -> None:
        barrier.wait()
        if create(f"{folder}/x", f"{number}".encode()):
            won.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [f"{number}".encode() for number in won] == [storage.read_bytes(f"{folder}/x")]


def test_a_file_is_replaced_by_who_has_read_it_last(folder: str) -> None:
    url = f"{folder}/manifest.json"
    with pytest.raises(FileNotFoundError):
        storage.read_version(url)
    first = storage.replace_if(url, b"1", None)
    assert first is not None
    assert storage.replace_if(url, b"x", None) is None
    assert storage.read_version(url) == (b"1", first)
    second = storage.replace_if(url, b"2", first)
    assert second not in (None, first)
    assert storage.replace_if(url, b"x", first) is None
    assert storage.read_version(url) == (b"2", second)


def test_a_name_may_tell_of_the_content(folder: str) -> None:
    with storage.create(f"{folder}/x", replace=False) as file:
        file.write(b"123456789")
        file.url = f"{folder}/x-{file.crc32:08x}"
    assert file.num_bytes == 9
    assert [info.url for info in storage.list_files(folder)] == [f"{folder}/x-cbf43926"]


def test_what_a_check_refuses_is_never_seen(folder: str) -> None:
    def check(file: object) -> None:
        raise SinkError("it is not what was written")

    def write() -> None:
        with storage.create(f"{folder}/x", check=check) as file:
            file.write(b"1")

    with pytest.raises(SinkError, match="not what was written"):
        write()
    assert storage.list_files(folder) == []


@pytest.mark.parametrize("status", [500, 503, 409, 0])
def test_a_request_that_fails_is_tried_again(faulty: tuple[FaultyStore, str], status: int) -> None:
    """0: it was done, and its answer lost. The condition of the second try does not hold, for it was our own first."""
    store, bucket = faulty
    store.faults.append(Fault(puts, status))
    assert create(f"{bucket}/a", b"mine")
    store.faults.append(Fault(puts, status))
    version = storage.replace_if(f"{bucket}/b", b"1", None)
    assert version is not None
    store.faults.append(Fault(puts, status))
    assert storage.replace_if(f"{bucket}/b", b"2", version) is not None
    assert all(fault.times == 0 for fault in store.faults)
    assert [storage.read_bytes(f"{bucket}/{name}") for name in "ab"] == [b"mine", b"2"]


def test_somebody_else_may_be_faster_than_the_second_try(faulty: tuple[FaultyStore, str]) -> None:
    store, bucket = faulty

    def others_first(method: str, path: str) -> bool:
        if puts(method, path) and path.endswith("/a"):
            store.faults.clear()
            store.faults.append(Fault(puts, 500))
            create(f"{bucket}/a", b"theirs")  # itself tried twice
            return True
        return False

    store.faults.append(Fault(others_first, 500))
    assert not create(f"{bucket}/a", b"mine")
    assert storage.read_bytes(f"{bucket}/a") == b"theirs"


def test_a_store_that_stays_away_is_one_line(faulty: tuple[FaultyStore, str]) -> None:
    store, bucket = faulty
    store.faults.append(Fault(puts, 500, times=1000))
    with pytest.raises(SinkError, match=r"6 times in a row.*500") as raised:
        create(f"{bucket}/a", b"mine")
    assert "\n" not in str(raised.value)
    assert f"{bucket}/a" in str(raised.value)
    store.faults.clear()
    assert create(f"{bucket}/a", b"mine")


def test_who_may_not_write_is_told_at_once(faulty: tuple[FaultyStore, str]) -> None:
    store, bucket = faulty
    store.faults.append(Fault(puts, 403, times=1000))
    with pytest.raises(SinkError, match="may"):
        create(f"{bucket}/a", b"mine")
    assert sum(puts(*request) for request in store.seen) == 1

"""A store that does not hold to the conditions of writes is refused before a job writes there."""

from collections.abc import Iterator

import pytest
from support.faulty_store import Fault, FaultyStore, faulty_store

from pipeline import storage
from pipeline.errors import ConfigError
from pipeline.storage import conditional, stores
from pipeline.storage.locking import locks


@pytest.fixture
def faulty(
    s3_server: str, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[FaultyStore, str]]:
    """A server that can be told to misbehave, and the URL of a folder there."""
    with faulty_store(s3_server) as store:
        monkeypatch.setenv("AWS_ENDPOINT_URL", store.endpoint)
        for cache in (conditional._store, stores._arrow_store):
            cache.cache_clear()
        yield store, f"{bucket}/out"
        for cache in (conditional._store, stores._arrow_store):
            cache.cache_clear()


def refused(folder: str) -> str:
    with pytest.raises(ConfigError) as raised, locks.lock(folder):
        pass
    assert raised.value.exit_code == 2
    assert folder in str(raised.value)
    return str(raised.value)


def conditional_puts(method: str, path: str) -> bool:
    return method == "PUT"


def test_a_store_that_holds_to_them_is_used_and_nothing_of_the_probe_is_left(
    faulty: tuple[FaultyStore, str],
) -> None:
    store, folder = faulty
    with locks.lock(folder):
        probes = len(store.seen)
        names = [info.url for info in storage.list_files(folder, recursive=True)]
        assert names == [f"{folder}/_commit/_lease.json"]
    assert probes < 12, "it is cheap"


@pytest.mark.parametrize(
    ("ignored", "word"),
    [
        (("if-none-match",), "If-None-Match"),
        (("if-match",), "If-Match"),
        (("if-none-match", "if-match"), "If-None-Match"),
    ],
)
def test_a_store_that_ignores_conditions_is_refused(
    faulty: tuple[FaultyStore, str], ignored: tuple[str, ...], word: str
) -> None:
    store, folder = faulty
    store.ignored = ignored
    assert f"does not support {word}" in refused(folder)
    store.ignored = ()
    assert storage.list_files(folder, recursive=True) == []


@pytest.mark.parametrize(("status", "code"), [(501, "NotImplemented"), (400, "NotImplemented")])
def test_a_store_that_has_none_is_refused_at_once(
    faulty: tuple[FaultyStore, str], status: int, code: str
) -> None:
    store, folder = faulty
    store.faults.append(Fault(conditional_puts, status, times=1000, code=code))
    assert "it answered" in refused(folder)
    assert sum(conditional_puts(*request) for request in store.seen) == 1, "not tried again"


def test_a_store_that_has_only_one_of_them_is_refused(faulty: tuple[FaultyStore, str]) -> None:
    """The third write is the one that replaces what was read."""
    store, folder = faulty
    count = iter(range(100))
    third = Fault(lambda method, path: method == "PUT" and next(count) >= 2, 501, times=1000)
    store.faults.append(third)
    assert "it answered" in refused(folder)
    store.faults.clear()
    assert storage.list_files(folder, recursive=True) == []

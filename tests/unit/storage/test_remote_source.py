"""Remote files under faults: every sample exactly once, or an error that says where."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.tones import make_samples, write_tar

from pipeline.errors import InputError
from pipeline.sample import Sample
from pipeline.shards.planning.plan import Part, expand, plan
from pipeline.shards.reading.reader import read_part
from pipeline.storage import files, retry, source
from pipeline.storage.source import RemoteSource


class Flaky:
    """A remote file in memory whose reads can be made to fail.

    Args:
        data: Its content.
        fault: What happens to the read of each number; None lets it be.
    """

    def __init__(self, data: bytes, fault: Callable[[int, bytes], bytes] | None = None) -> None:
        self.data, self.fault = data, fault
        self.reads: list[tuple[int, int]] = []
        self.opened = 0

    def open(self) -> "Flaky.File":
        self.opened += 1
        return Flaky.File(self)

    class File:
        ranged = True

        def __init__(self, owner: "Flaky") -> None:
            self.owner, self.size, self.usable = owner, len(owner.data), True

        def read_range(self, start: int, length: int) -> bytes:
            assert self.usable, "a file that failed is opened anew"
            assert 0 <= start < start + length <= self.size
            number = len(self.owner.reads)
            self.owner.reads.append((start, length))
            data = self.owner.data[start : start + length]
            if self.owner.fault is None:
                return data
            try:
                faulty = self.owner.fault(number, data)
            except OSError:
                self.usable = False
                raise
            self.usable = faulty == data
            return faulty

        def close(self) -> None:
            self.usable = False


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "BACKOFF", retry.Backoff(attempts=4, first_seconds=0))


@pytest.fixture
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "WINDOW_BYTES", 4096)
    monkeypatch.setattr(source, "SMALL_BYTES", 1024)
    monkeypatch.setattr(source, "JUMP_BYTES", 2048)


def raises(number: int) -> Callable[[int, bytes], bytes]:
    def fault(now: int, data: bytes) -> bytes:
        if now == number:
            raise ConnectionResetError("the peer went away")
        return data

    return fault


def short(number: int) -> Callable[[int, bytes], bytes]:
    return lambda now, data: data[: len(data) // 2] if now == number else data


def empty(number: int) -> Callable[[int, bytes], bytes]:
    return lambda now, data: b"" if now == number else data


def use(flaky: Flaky, monkeypatch: pytest.MonkeyPatch) -> None:
    class Store:
        def open(self, url: str) -> Flaky.File:
            return flaky.open()

    monkeypatch.setattr(files, "store_of", lambda url: Store())


def contents(samples: list[object]) -> list[tuple[str, int, dict[str, bytes]]]:
    assert all(isinstance(sample, Sample) for sample in samples)
    return [
        (s.key, s.ordinal, {name: bytes(field.data) for name, field in s.fields.items()})
        for s in samples  # type: ignore[attr-defined]
    ]


@pytest.mark.usefixtures("small_windows")
@pytest.mark.parametrize("fault", [raises, short, empty])
def test_one_fault_at_any_read_loses_and_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Callable[[int], object]
) -> None:
    path = write_tar(tmp_path / "x.tar", make_samples(12, seed=1))
    [whole] = plan(expand(str(path)))
    expected = contents(list(read_part(whole)))
    parts = plan(expand(str(path)), 20_000)
    assert len(parts) > 2
    remote = [
        Part("x.tar", "s3://b/x.tar", "f", p.index, p.start, p.end, p.first_ordinal) for p in parts
    ]
    flaky = Flaky(path.read_bytes())
    use(flaky, monkeypatch)
    assert contents([item for part in remote for item in read_part(part)]) == expected
    for number in range(len(flaky.reads)):
        faulty = Flaky(path.read_bytes(), fault(number))  # type: ignore[arg-type]
        use(faulty, monkeypatch)
        assert contents([item for part in remote for item in read_part(part)]) == expected
        assert len(faulty.reads) == len(flaky.reads) + 1


@pytest.mark.usefixtures("small_windows")
def test_a_fault_that_stays_is_an_error_and_not_bad_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_tar(tmp_path / "x.tar", make_samples(12, seed=1))

    def after_the_third(number: int, data: bytes) -> bytes:
        if number > 2:
            raise TimeoutError("no answer")
        return data

    use(Flaky(path.read_bytes(), after_the_third), monkeypatch)
    found: list[object] = []
    with pytest.raises(InputError, match="bytes 12288 to 16384 cannot be read, 4 times") as error:
        found.extend(read_part(Part("x.tar", "s3://b/x.tar", "f")))
    assert error.value.exit_code == 1
    assert error.value.where == "s3://b/x.tar"
    contents(found)  # not one of them a fault


def test_what_no_retry_mends_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def refused() -> Flaky.File:
        tried.append(1)
        raise PermissionError(13, "Forbidden")

    with pytest.raises(InputError, match="cannot be opened: Forbidden"):
        RemoteSource(refused, "s3://b/x.tar")
    assert len(tried) == 1


def test_a_file_that_is_replaced_while_it_is_read_is_an_error() -> None:
    flaky = Flaky(bytes(1000), raises(0))
    remote = RemoteSource(flaky.open, "s3://b/x.tar")
    flaky.data = bytes(2000)
    with pytest.raises(InputError, match="changed while it was read, from 1000 to 2000 bytes"):
        remote.read(0, 10)


@settings(max_examples=100)
@given(
    reads=st.lists(st.tuples(st.integers(0, 30_000), st.integers(0, 9000)), max_size=12),
    bounds=st.tuples(st.integers(0, 25_000), st.integers(0, 25_000)),
    read_ahead=st.booleans(),
)
def test_any_reads_in_any_order_give_the_bytes_of_the_file(
    reads: list[tuple[int, int]], bounds: tuple[int, int], read_ahead: bool
) -> None:
    data = bytes(range(251)) * 100
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("WINDOW_BYTES", 3000), ("SMALL_BYTES", 500), ("JUMP_BYTES", 1000)):
            patch.setattr(source, name, value)
        flaky = Flaky(data, lambda n, piece: piece[:-1] if n % 3 == 1 else piece)
        remote = RemoteSource(flaky.open, "s3://b/x", *sorted(bounds), read_ahead=read_ahead)
        for offset, length in reads:
            assert bytes(remote.read(offset, length)) == data[offset : offset + length]
        remote.close()


@pytest.mark.usefixtures("small_windows")
def test_a_walk_over_a_part_reads_each_byte_once_and_none_behind_it() -> None:
    flaky = Flaky(bytes(100_000))
    remote = RemoteSource(flaky.open, "s3://b/x", 10_000, 50_000, read_ahead=True)
    for offset in range(10_000, 50_000, 700):
        remote.read(offset, min(700, 50_000 - offset))
    remote.close()
    assert sorted(flaky.reads) == [
        (start, min(4096, 50_000 - start)) for start in range(10_000, 50_000, 4096)
    ]
    assert flaky.opened == 1


def test_headers_of_large_members_are_read_without_their_contents() -> None:
    flaky = Flaky(bytes(256 << 20))
    remote = RemoteSource(flaky.open, "s3://b/x")
    for offset in range(0, 256 << 20, 4 << 20):  # members of 4 MiB
        remote.read(offset, 512)
    remote.close()
    assert sum(length for _, length in flaky.reads) < 64 * 130_000


def test_headers_of_small_members_are_read_in_few_requests() -> None:
    flaky = Flaky(bytes(64 << 20))
    remote = RemoteSource(flaky.open, "s3://b/x")
    for offset in range(0, 64 << 20, 50_000):
        remote.read(offset, 512)
    remote.close()
    assert len(flaky.reads) < 20

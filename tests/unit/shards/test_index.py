"""Sidecar indexes: the same parts as a scan, or a scan."""

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.tones import make_samples, write_tar

from pipeline import storage
from pipeline.errors import ConfigError, ShardError
from pipeline.shards.planning.index import index_url, write_index
from pipeline.shards.planning.patterns import Shard
from pipeline.shards.planning.plan import Part, expand, plan, plan_shard
from pipeline.storage import files, source
from pipeline.storage.source import RemoteSource


@pytest.fixture
def not_used(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """Why indexes were not relied on, since this was last asked."""
    causes: list[str] = []
    monkeypatch.setattr(
        "pipeline.shards.planning.index.event",
        lambda _, word, **fields: causes.append(f"{word} {fields}"),
    )

    def new() -> list[str]:
        found = causes[:]
        causes.clear()
        return found

    return new


def by_tarfile(path: Path) -> list[list[str]]:
    """The lines of an index, word by word, as tarfile sees the shard."""
    lines: list[list[str]] = []
    last = None
    with tarfile.open(path) as tar:
        for member in tar:
            stem, _, extension = member.name.partition(".")
            if not member.isreg() or not stem or not extension:
                continue
            if stem != last:
                lines.append([])
            last = stem
            lines[-1] += [extension, str(member.offset_data), str(member.size), member.name]
    return lines


def write(path: Path, names: list[str], form: int = tarfile.GNU_FORMAT, size: int = 700) -> Path:
    with tarfile.open(path, "w", format=form) as tar:
        for number, name in enumerate(names):
            info = tarfile.TarInfo(name.rstrip("/"))
            if name.endswith("/"):
                info.type = tarfile.DIRTYPE
            else:
                info.size = size + 100 * number
            tar.addfile(info, io.BytesIO(bytes(info.size)))
    return path


def both(path: Path, part_bytes: int) -> tuple[list[Part], list[Part]]:
    """The parts with the index beside the shard, and without it."""
    [shard] = expand(str(path))
    with_index = plan_shard(shard, part_bytes)
    index = path.with_suffix(".idx")
    aside = index.rename(index.with_suffix(".aside"))
    without = plan_shard(shard, part_bytes)
    aside.rename(index)
    return with_index, without


def test_is_written_as_dali_writes_it(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", make_samples(20, seed=1))
    url = index_url(str(path))
    assert url == f"{tmp_path}/x.idx"
    assert write_index(str(path), url) == 20
    first, *lines = (tmp_path / "x.idx").read_text().splitlines()
    assert first == "v1.2 20"
    assert [line.split(" ") for line in lines] == by_tarfile(path)


names = st.lists(
    st.one_of(
        st.sampled_from(["a.x", "a.y", "b.x", "c.x", "folder/", "folder/d.x", "folder/d.y.z"]),
        st.sampled_from(["n" * 150 + ".x", "n" * 150 + ".y", "中文.x", "deep/" * 30 + "e.x"]),
    ),
    min_size=1,
    max_size=25,
)


@settings(max_examples=60)
@given(
    names=names,
    form=st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    part_bytes=st.integers(1, 12_000),
)
def test_gives_the_parts_that_a_scan_gives(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], form: int, part_bytes: int
) -> None:
    if form == tarfile.USTAR_FORMAT:
        names = [name for name in names if len(name) < 100] or ["a.x"]
    path = write(tmp_path_factory.mktemp("i") / "x.tar", names, form)
    write_index(str(path), str(path.with_suffix(".idx")))
    with pytest.MonkeyPatch.context() as patch:
        refused: list[str] = []
        patch.setattr(
            "pipeline.shards.planning.index.event", lambda *_, **words: refused.append(f"{words}")
        )
        with_index, without = both(path, part_bytes)
    assert with_index == without
    assert not refused


def test_repeated_keys_are_found_from_the_index(
    tmp_path: Path, not_used: Callable[[], list[str]]
) -> None:
    path = write(tmp_path / "x.tar", ["a.x", "b.x", "c.x", "a.x", "d.x", "b.x"])
    write_index(str(path), str(tmp_path / "x.idx"))
    with_index, without = both(path, 2000)
    assert with_index == without
    assert [d for part in with_index for d in part.duplicates] == [3, 5]
    assert not not_used()


def changed(text: str, change: str) -> str:
    lines = text.splitlines()
    words = lines[5].split(" ")
    if change == "version":
        lines[0] = lines[0].replace("v1.2", "v1.1")
    elif change == "count":
        lines[0] = "v1.2 7"
    elif change == "offset":
        words[1] = str(int(words[1]) + 512)
    elif change == "unaligned":
        words[1] = str(int(words[1]) + 1)
    elif change == "size":
        words[2] = str(int(words[2]) + 512)
    elif change == "not a number":
        words[2] = "many"
    elif change == "endless":
        words[2] = "9" * 5000
    elif change == "far":
        words[1] = str(1 << 40)
    elif change == "name":
        words[3] = "other.png"
    elif change == "field left out":
        words = words[4:]
    elif change == "blank":
        words[3] = "other name.png"
    lines[5] = " ".join(words)
    if change == "sample left out":
        del lines[5]
        lines[0] = f"v1.2 {len(lines) - 1}"
    elif change == "end left out":
        lines = [f"v1.2 {len(lines) - 2}", *lines[1:-1]]
    elif change == "empty":
        return ""
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    "change",
    [
        "version", "count", "offset", "unaligned", "size", "not a number", "endless", "far", "name",
        "field left out", "blank", "sample left out", "end left out", "empty",
    ],
)  # fmt: skip
def test_one_that_is_wrong_is_not_used(
    tmp_path: Path, not_used: Callable[[], list[str]], change: str
) -> None:
    path = write_tar(tmp_path / "x.tar", make_samples(30, seed=1))
    index = tmp_path / "x.idx"
    write_index(str(path), str(index))
    good = index.read_text()
    with_index, without = both(path, 1)
    assert with_index == without
    assert not not_used()
    index.write_text(changed(good, change))
    with_index, without = both(path, 1)  # a cut at every sample, so that every name is looked at
    assert with_index == without
    assert len(not_used()) == 1


def test_one_of_another_shard_or_an_older_one_is_not_used(
    tmp_path: Path, not_used: Callable[[], list[str]]
) -> None:
    path = write(tmp_path / "x.tar", ["a.x", "b.x", "c.x", "d.x"])
    index = tmp_path / "x.idx"
    write_index(str(path), str(index))
    write(path, ["a.x", "e.x", "f.x", "d.x"])  # of the same sizes
    os.utime(index)
    with_index, without = both(path, 1)
    assert with_index == without
    [line] = not_used()
    assert "'b' is not where it says" in line
    write_index(str(path), str(index))
    os.utime(index, ns=(1, 1))
    with_index, without = both(path, 1)
    assert with_index == without
    assert "older" in not_used()[0]


def test_links_and_members_without_extension_are_scanned_for(
    tmp_path: Path, not_used: Callable[[], list[str]]
) -> None:
    path = write(tmp_path / "x.tar", ["a.x", "LICENSE", "b.x", ".hidden", "c.x"])
    assert write_index(str(path), str(tmp_path / "x.idx")) == 3
    with_index, without = both(path, 1)
    assert with_index == without
    assert len(with_index) == 3  # LICENSE lies in the part of a, and .hidden is no sample
    assert len(not_used()) == 1


def test_what_has_no_index(tmp_path: Path) -> None:
    index = tmp_path / "x.idx"
    path = write(tmp_path / "x.tar", ["a b.x"])
    with pytest.raises(ShardError, match="blank"):
        write_index(str(path), str(index))
    path.write_bytes(write(path, ["a.x", "b.x"]).read_bytes()[:3000])
    with pytest.raises(ShardError, match="damaged") as error:
        write_index(str(path), str(index))
    assert error.value.reason == "missing_end"
    with pytest.raises(ConfigError, match="compressed"):
        write_index(str(tmp_path / "x.tar.gz"), str(index))
    assert not index.exists()
    assert index_url("s3://b/x.tar.gz") is None
    assert index_url("s3://b/x.tar") == "s3://b/x.idx"


def test_spares_the_scan_of_a_remote_shard(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_tar(tmp_path / "x.tar", make_samples(60, seed=1))
    storage.write_bytes(f"{bucket}/x.tar", path.read_bytes())
    asked: list[str] = []
    real = RemoteSource._fetch
    monkeypatch.setattr(source, "WINDOW_BYTES", 2048)
    monkeypatch.setattr(source, "SMALL_BYTES", 1024)
    monkeypatch.setattr(
        RemoteSource,
        "_fetch",
        lambda self, start, length: asked.append(self._where) or real(self, start, length),
    )
    [shard] = expand(f"{bucket}/x.tar")
    scanned = plan([shard], 100_000)
    scans = asked.count(f"{bucket}/x.tar")
    write_index(f"{bucket}/x.tar", f"{bucket}/x.idx")
    asked.clear()
    assert plan([shard], 100_000) == scanned
    assert asked.count(f"{bucket}/x.tar") < scans / 5


def test_a_store_that_hides_what_is_missing_does_not_stop_planning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "x.tar", ["a.x", "b.x", "c.x"])
    parts = plan(expand(str(path)), 1)

    class Store:
        def info(self, url: str) -> None:
            raise PermissionError(13, "Forbidden")  # as S3 says of what may not be listed

        def open(self, url: str) -> object:
            data = path.read_bytes()

            class File:
                size = len(data)
                ranged = True

                def read_range(self, start: int, length: int) -> bytes:
                    return data[start : start + length]

                def close(self) -> None:
                    pass

            return File()

    monkeypatch.setattr(files, "store_of", lambda url: Store())
    shard = Shard("x.tar", "https://host/x.tar", path.stat().st_size, "1")
    assert [(p.start, p.end) for p in plan_shard(shard, 1)] == [(p.start, p.end) for p in parts]

"""Patterns, parts and samples."""

from pathlib import Path

import pytest
import webdataset
from support.tones import make_samples, png, write_tar

from pipeline.errors import ConfigError
from pipeline.sample import Fault, Sample
from pipeline.shards.planning.plan import Part, expand, limit, plan
from pipeline.shards.reading.reader import read_part


def names(patterns: str | list[str]) -> list[str]:
    return [shard.name for shard in expand(patterns)]


def test_patterns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a/x-000000.tar", "a/x-000001.tar", "b/x-000000.tar", "b/deep/y.tar", "b/no.txt"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    root = str(tmp_path)
    assert names(f"{root}/a/x-{{000000..000001}}.tar") == ["x-000000.tar", "x-000001.tar"]
    assert names(f"{root}/a/x-*.tar") == ["x-000000.tar", "x-000001.tar"]
    assert names(f"{root}/{{a,b}}/x-000000.tar") == ["a/x-000000.tar", "b/x-000000.tar"]
    assert names(f"{root}/b") == ["deep/y.tar", "x-000000.tar"]
    assert names(f"{root}/b/**/*.tar") == ["deep/y.tar", "x-000000.tar"]
    assert names([f"{root}/a/x-000000.tar", f"{root}/b/deep/y.tar"]) == ["x-000000.tar", "y.tar"]
    monkeypatch.chdir(tmp_path)
    assert names("a/*.tar") == ["x-000000.tar", "x-000001.tar"]
    assert names("*/x-000000.tar") == ["a/x-000000.tar", "b/x-000000.tar"]
    with pytest.raises(ConfigError, match="no shard matches"):
        expand(f"{root}/a/z-*.tar")
    with pytest.raises(ConfigError, match="two shards are called x-000000.tar"):
        expand([f"{root}/a/x-000000.tar", f"{root}/b/x-000000.tar"])


def test_parts_of_any_size_give_the_samples_of_the_shard(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", make_samples(30, seed=1))
    shards = expand(str(path))
    [whole] = plan(shards)
    expected = [item for item in read_part(whole) if isinstance(item, Sample)]
    for size in (1, 3000, 20_000):
        parts = plan(shards, size)
        assert len(parts) > 1
        assert len({part.id for part in parts}) == len(parts)
        found = [item for part in parts for item in read_part(part)]
        assert [(s.key, s.ordinal) for s in found] == [(s.key, s.ordinal) for s in expected]
        assert all(Part.from_json(part.to_json()) == part for part in parts)


def test_samples_are_what_webdataset_reads(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", make_samples(12, seed=2))
    ours = [item for item in read_part(plan(expand(str(path)))[0]) if isinstance(item, Sample)]
    theirs = list(webdataset.WebDataset(str(path), shardshuffle=False))
    assert [s.key for s in ours] == [s["__key__"] for s in theirs]
    for mine, other in zip(ours, theirs, strict=True):
        assert {n: bytes(f.data) for n, f in mine.fields.items()} == {
            n: v for n, v in other.items() if not n.startswith("__")
        }


@pytest.mark.parametrize("part_bytes", [1, 1 << 30])
def test_a_repeated_key_is_bad_wherever_it_comes_again(tmp_path: Path, part_bytes: int) -> None:
    path = tmp_path / "x.tar"
    first = make_samples(6, seed=3)
    write_tar(path, first)
    again = write_tar(tmp_path / "y.tar", {"s0002": {"png": png()}, "new": {"png": png()}})
    body = path.read_bytes().rstrip(b"\0")
    body += bytes(-len(body) % 512)
    path.write_bytes(body + again.read_bytes())
    items = [item for part in plan(expand(str(path)), part_bytes) for item in read_part(part)]
    bad = [item for item in items if isinstance(item, Fault)]
    assert [(b.source.key, b.reason) for b in bad] == [("s0002", "duplicate_key")]
    assert [s.key for s in items if isinstance(s, Sample)] == [*first, "new"]


def test_limit_keeps_the_first_samples(tmp_path: Path) -> None:
    for index in range(3):
        write_tar(tmp_path / f"x-{index}.tar", make_samples(10, seed=index))
    shards = expand(str(tmp_path / "x-*.tar"))
    everything = [s for part in plan(shards) for s in read_part(part)]
    for count in (1, 9, 10, 11, 25, 30, 99):
        parts = limit(plan(shards, 4000), count)
        found = [item for part in parts for item in read_part(part)]
        assert [s.key for s in found] == [s.key for s in everything[:count]]  # type: ignore[union-attr]


def test_hostile_members_are_faults_and_their_neighbours_samples(tmp_path: Path) -> None:
    import io
    import tarfile

    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as tar:
        for name in ("../../up.png", "/etc/abs.png", "LICENSE", "good.png"):
            info = tarfile.TarInfo(name)
            info.size = 3
            tar.addfile(info, io.BytesIO(b"abc"))
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    items = list(read_part(plan(expand(str(path)))[0]))
    assert [s.key for s in items if isinstance(s, Sample)] == ["../../up", "/etc/abs", "good"]
    assert [(f.source.key, f.reason) for f in items if isinstance(f, Fault)] == [
        ("LICENSE", "no_extension"),
        ("link", "unsafe_member"),
    ]


def test_a_shard_without_samples_is_a_fault(tmp_path: Path) -> None:
    write_tar(tmp_path / "x.tar", {})
    [fault] = read_part(plan(expand(str(tmp_path / "x.tar")))[0])
    assert isinstance(fault, Fault)
    assert (fault.reason, fault.source.key) == ("empty_shard", None)

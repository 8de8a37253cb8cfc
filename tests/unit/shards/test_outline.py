"""Outlines against the reader: the same samples and the same faults, without the content."""

import gzip
import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.tones import make_samples, write_tar

from pipeline.sample import Fault, Sample
from pipeline.shards.packed.source import open_shard
from pipeline.shards.planning.plan import expand, plan
from pipeline.shards.reading.outline import HEAD_BYTES, Outline, outline_part
from pipeline.shards.reading.reader import read_part


def outlines(path: Path) -> list[Outline | Fault]:
    [part] = plan(expand(str(path)), 1 << 62)
    source = open_shard(part.shard, part.url)
    try:
        return list(outline_part(source, part))
    finally:
        source.close()


def check_agreement(path: Path) -> None:
    [part] = plan(expand(str(path)), 1 << 62)
    read = list(read_part(part))
    faults = [item for item in read if isinstance(item, Fault)]
    listed = outlines(path)
    assert [
        o if isinstance(o, Fault) else o.fault for o in listed if isinstance(o, Fault) or o.fault
    ] == faults
    good = [o for o in listed if isinstance(o, Outline) and o.fault is None]
    samples = [item for item in read if isinstance(item, Sample)]
    assert [(o.key, o.ordinal) for o in good] == [(s.key, s.ordinal) for s in samples]
    for outline, sample in zip(good, samples, strict=True):
        assert {n: (m.offset, m.size) for n, m in outline.members} == {
            n: (f.offset, f.size) for n, f in sample.fields.items()
        }
        for name, member in outline.members:
            head = bytes(outline.heads[member.offset])
            assert head == bytes(sample.fields[name].data[: len(head)])
            assert len(head) >= min(member.size, HEAD_BYTES)


def hostile(path: Path) -> Path:
    with tarfile.open(path, "w") as tar:
        for name in ("a.png", "a.png", "LICENSE", "b.png", "c.png", "b.txt", "d/e.f.png"):
            info = tarfile.TarInfo(name)
            info.size = 700
            tar.addfile(info, io.BytesIO(bytes(700)))
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    return path


def test_hostile_members(tmp_path: Path) -> None:
    path = hostile(tmp_path / "x.tar")
    check_agreement(path)
    reasons = [o.fault.reason for o in outlines(path) if isinstance(o, Outline) and o.fault]
    assert sorted(reasons) == ["duplicate_field", "interleaved", "no_extension", "unsafe_member"]


def test_packed_shards_give_their_members_whole(tmp_path: Path) -> None:
    plain = write_tar(tmp_path / "x.tar", {"a": {"bin": bytes(range(256)) * 1000, "txt": b"a"}})
    packed = tmp_path / "y.tar.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    check_agreement(packed)
    [outline] = outlines(packed)
    assert isinstance(outline, Outline)
    assert [len(outline.heads[m.offset]) for _, m in outline.members] == [256_000, 1]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("outline")
    return write_tar(folder / "x.tar", make_samples(6, seed=1)).read_bytes()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_anywhere(good: bytes, tmp_path: Path, data: st.DataObject) -> None:
    broken = bytearray(good)
    for _ in range(data.draw(st.integers(0, 3))):
        block = data.draw(st.integers(0, len(broken) // 512 - 1))
        broken[block * 512 + data.draw(st.integers(0, 511))] ^= data.draw(st.integers(1, 255))
    cut = data.draw(st.one_of(st.just(len(broken)), st.integers(0, len(broken))))
    path = tmp_path / "x.tar"
    path.write_bytes(bytes(broken[:cut]))
    check_agreement(path)

"""The scanner against `tarfile`, against GNU tar, and against every way of cutting an archive."""

import io
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.byte_source import Bytes

from pipeline import storage
from pipeline.shards.tar.members import Damage, Member
from pipeline.shards.tar.scanner import BLOCK, scan


def archive(files: dict[str, bytes], form: int = tarfile.USTAR_FORMAT) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=form) as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return data.getvalue()


def split(data: bytes) -> tuple[list[Member], list[Damage]]:
    found = list(scan(Bytes(data)))
    members = [item for item in found if isinstance(item, Member)]
    return members, [item for item in found if isinstance(item, Damage)]


names = st.text(st.characters(codec="utf-8", exclude_characters="\0/"), min_size=1, max_size=150)


@settings(max_examples=60)
@given(
    files=st.dictionaries(names, st.binary(max_size=1500), min_size=1, max_size=8),
    form=st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
)
def test_agrees_with_tarfile(files: dict[str, bytes], form: int) -> None:
    data = archive(files, form)
    members, damages = split(data)
    assert not damages
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        expected = [(i.name, i.offset_data, i.size, i.offset) for i in tar.getmembers()]
    assert [(m.name, m.offset, m.size, m.header) for m in members] == expected


def test_reads_what_gnu_tar_writes(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    long = "x" * 180
    for name in ("a.txt", f"{long}.txt", "中文.txt"):
        (tmp_path / "in" / name).write_text(name, "utf-8")
    (tmp_path / "in" / "link.txt").symlink_to("a.txt")
    subprocess.run(
        ["tar", "--sort=name", "-cf", tmp_path / "x.tar", "-C", tmp_path / "in", "."], check=True
    )
    source = storage.open_source(str(tmp_path / "x.tar"))
    found = list(scan(source))
    assert not [item for item in found if isinstance(item, Damage)]
    members = {item.name: item for item in found if isinstance(item, Member)}
    assert set(members) == {"./a.txt", f"./{long}.txt", "./中文.txt", "./link.txt"}
    assert members["./link.txt"].special == "symbolic link"
    whole = members[f"./{long}.txt"]
    assert bytes(source.read(whole.offset, whole.size)) == f"{long}.txt".encode()


def test_cut_at_every_byte_keeps_the_whole_members_before_and_says_so() -> None:
    files = {f"s{i}.txt": bytes([65 + i]) * (300 * i) for i in range(4)}
    data = archive(files)
    whole, _ = split(data)
    end = whole[-1].end
    for cut in range(1, end + 2 * BLOCK):
        members, damages = split(data[:cut])
        kept = [m for m in whole if m.offset + m.size <= cut]
        assert [m.name for m in members] == [m.name for m in kept], cut
        if cut < end + 2 * BLOCK:
            assert damages, f"cut at {cut} went unnoticed"


def test_one_flipped_byte_in_a_header_costs_only_its_member() -> None:
    files = {f"s{i}.txt": b"content" for i in range(5)}
    data = bytearray(archive(files))
    for position in range(2 * BLOCK, 2 * BLOCK + 150):  # member 1's header, name to size
        broken = bytearray(data)
        broken[position] ^= 0x01
        members, damages = split(bytes(broken))
        assert [m.name for m in members] == ["s0.txt", "s2.txt", "s3.txt", "s4.txt"], position
        assert [d.reason for d in damages] == ["bad_header"]


def test_zero_blocks_amid_the_archive_do_not_end_it() -> None:
    first, second = archive({"a.txt": b"1"}), archive({"b.txt": b"2"})
    members, damages = split(first + second)
    assert [m.name for m in members] == ["a.txt", "b.txt"]
    assert [d.reason for d in damages] == ["bad_header"]


def test_trailing_garbage_and_missing_end() -> None:
    data = archive({"a.txt": b"1"})
    members, damages = split(data + b"garbage" * 200)
    assert len(members) == 1
    assert [d.reason for d in damages] == ["trailing_data"]
    _, damages = split(data[: 2 * BLOCK])
    assert [d.reason for d in damages] == ["missing_end"]


@pytest.mark.parametrize("data", [b"", b"not a tar at all" * 100, b"\x1f\x8b" + bytes(5000)])
def test_what_is_no_tar_is_said_to_be_none(data: bytes) -> None:
    members, damages = split(data)
    assert not members
    assert damages[0].reason == "not_tar"


@pytest.mark.parametrize("options", [["--label=a.png"], ["--listed-incremental=list"]])
def test_labels_and_lists_of_folders_are_no_members(tmp_path: Path, options: list[str]) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_bytes(b"text")
    command = ["tar", "--format=gnu", *options, "-cf", "out.tar", "in"]
    subprocess.run(command, cwd=tmp_path, check=True)
    data = (tmp_path / "out.tar").read_bytes()
    assert data[156:157] in (b"V", b"D")
    members, damages = split(data)
    assert not damages
    assert [(m.name, m.size, m.special) for m in members] == [("in/a.txt", 4, "")]


def test_sizes_of_8_gib_and_more_are_read() -> None:
    header = tarfile.TarInfo("big.bin")
    header.size = 9 << 30
    data = header.tobuf(tarfile.GNU_FORMAT)
    members, damages = split(data + bytes(4 * BLOCK))
    assert not members
    assert damages[0].reason == "truncated_shard"
    assert str(9 << 30) in damages[0].detail


@settings(max_examples=150)
@given(data=st.data())
def test_never_fails_and_always_ends(data: st.DataObject) -> None:
    whole = archive({f"s{i}.txt": b"x" * (200 * i) for i in range(4)}, tarfile.PAX_FORMAT)
    broken = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 12))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    members, _ = split(bytes(broken))
    assert all(m.offset + m.size <= len(broken) for m in members)

"""The scanner against GNU tar, `tarfile` and brute force; and under every cut and every flipped byte."""

import gzip
import io
import itertools
import random
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.byte_source import Bytes

from pipeline import storage
from pipeline.sample import Fault, Sample
from pipeline.shards.planning.plan import Part, expand, plan
from pipeline.shards.reading import reader
from pipeline.shards.reading.reader import read_part, settled
from pipeline.shards.tar.header import BLOCK, BadHeader, numbers
from pipeline.shards.tar.members import Damage, Member
from pipeline.shards.tar.scanner import scan

FORMATS = ("v7", "oldgnu", "gnu", "ustar", "pax")


def gnu_tar() -> str | None:
    """GNU tar's command; some systems call another one tar."""
    for name in ("tar", "gtar"):
        command = shutil.which(name)
        if command:
            about = subprocess.run([command, "--version"], capture_output=True, text=True)
            if "GNU tar" in about.stdout:
                return command
    return None


TAR = gnu_tar()
needs_gnu_tar = pytest.mark.skipif(TAR is None, reason="GNU tar is not installed")


def split(data: bytes) -> tuple[list[Member], list[Damage]]:
    found = list(scan(Bytes(data)))
    members = [item for item in found if isinstance(item, Member)]
    return members, [item for item in found if isinstance(item, Damage)]


def read(path: Path, part_bytes: int = 1 << 40) -> list[Sample | Fault]:
    parts = plan(expand(str(path)), part_bytes)
    return [item for part in parts for item in settled(read_part(part))]


@pytest.fixture
def read_data(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], list[Sample | Fault]]:
    """Reads an archive in memory."""
    opened: list[Bytes] = []
    monkeypatch.setattr(reader, "open_shard", lambda *_, **__: opened[0])

    def read_it(data: bytes) -> list[Sample | Fault]:
        opened[:] = [Bytes(data)]
        return settled(read_part(Part("x.tar", "x.tar", "")))

    return read_it


def told(items: list[Sample | Fault]) -> list[object]:
    """What reading found, to be compared."""
    return [
        (s.key, s.ordinal, {n: (f.offset, bytes(f.data)) for n, f in s.fields.items()})
        if isinstance(s, Sample)
        else s
        for s in items
    ]


def archive(files: dict[str, bytes], form: int = tarfile.USTAR_FORMAT) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=form) as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return data.getvalue()


def multimodal(samples: int, seed: int = 0) -> dict[str, bytes]:
    """Members of samples with three fields each."""
    noise = random.Random(seed)
    return {
        f"set/s{i:02d}.{extension}": noise.randbytes(noise.randrange(600))
        for i in range(samples)
        for extension in ("jpg", "txt", "cls")
    }


def sealed(header: bytes | bytearray) -> bytes:
    """A header with a checksum that holds."""
    block = bytearray(header)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


# What GNU tar writes


@needs_gnu_tar
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("seed", range(3))
def test_reads_every_format_of_gnu_tar(tmp_path: Path, form: str, seed: int) -> None:
    chance = random.Random(f"{form}{seed}")
    root = tmp_path / "in"
    expected: dict[str, bytes] = {}
    longest = {"v7": 60, "ustar": 90}.get(form, 180)
    for number in range(12):
        folder = "/".join(chance.choices(["a", "folder", "中文", "Ünï"], k=chance.randrange(4)))
        stem = chance.choice(["s", "naïve", "データ", "x" * chance.randrange(1, longest)])
        name = f"{folder}/{stem[:longest]}-{number}.{chance.choice(['jpg', 'txt', 'seg.png'])}"
        name = name.lstrip("/")
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        expected[name] = chance.randbytes(chance.choice([0, 1, 511, 512, 513, 3000]))
        path.write_bytes(expected[name])
    (root / "empty folder").mkdir()
    (root / "link.jpg").symlink_to("elsewhere")
    first = next(iter(expected))
    (root / "hard.jpg").hardlink_to(root / first)
    tar = tmp_path / "x.tar"
    command = [TAR, f"--format={form}", "--sort=name", "-cf", tar, "-C", root, *sorted(
        entry.name for entry in root.iterdir()
    )]  # fmt: skip
    subprocess.run([str(word) for word in command], check=True)
    members, damages = split(tar.read_bytes())
    assert not damages
    with tarfile.open(tar) as reference:
        infos = [info for info in reference if not info.isdir()]
        assert [(m.name, m.offset) for m in members] == [(i.name, i.offset_data) for i in infos]
        assert [m.size for m in members] == [0 if i.islnk() or i.issym() else i.size for i in infos]
    data = tar.read_bytes()
    files = {m.name: data[m.offset : m.offset + m.size] for m in members if not m.special}
    linked = {first, "hard.jpg"}  # tar takes the one it meets first for the file
    assert files.keys() - linked == expected.keys() - {first}
    assert all(content == expected.get(name, expected[first]) for name, content in files.items())
    special = {m.name: m.special for m in members if m.special}
    assert special.pop("link.jpg") == "symbolic link"
    assert list(special.values()) == ["hard link"]


@needs_gnu_tar
@pytest.mark.parametrize("form", ["oldgnu", "gnu", "pax"])
@pytest.mark.parametrize("holes", [1, 3, 40])  # more than four need a longer list of holes
def test_sparse_files_are_told_and_their_neighbours_read(
    tmp_path: Path, form: str, holes: int
) -> None:
    with (tmp_path / "b.bin").open("wb") as file:
        for _ in range(holes):
            file.seek(64 << 10, io.SEEK_CUR)
            file.write(b"island" * 1000)
        file.truncate(file.tell() + (1 << 20))
    (tmp_path / "a.txt").write_text("before")
    (tmp_path / "c.txt").write_text("after")
    tar = tmp_path / "x.tar"
    command = [TAR, f"--format={form}", "-S", "-cf", tar, "-C", tmp_path, "a.txt", "b.bin", "c.txt"]
    subprocess.run([str(word) for word in command], check=True)
    members, damages = split(tar.read_bytes())
    assert not damages
    data = tar.read_bytes()
    plain = [data[m.offset : m.offset + m.size] for m in members if not m.special]
    if (tmp_path / "b.bin").stat().st_blocks * 512 >= (tmp_path / "b.bin").stat().st_size:
        pytest.skip("this file system has no holes")
    assert [m.special for m in members] == ["", "sparse file", ""]
    assert plain == [b"before", b"after"]


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_member_of_9_gib_has_its_neighbours_read(tmp_path: Path, form: int) -> None:
    path = tmp_path / "x.tar"
    size = (9 << 30) + 5
    with path.open("wb") as file:
        for name, length in (("a.txt", 3), ("b.bin", size), ("c.txt", 3)):
            info = tarfile.TarInfo(name)
            info.size = length
            file.write(info.tobuf(form))
            end = file.tell() + (length + BLOCK - 1) // BLOCK * BLOCK
            file.write(b"abc")
            file.seek(end)
        file.write(bytes(2 * BLOCK))
    items = read(path)
    assert [(i.key, i.ordinal) for i in items if isinstance(i, Sample)] == [("a", 0), ("c", 2)]
    [fault] = [i for i in items if isinstance(i, Fault)]
    assert (fault.source.key, fault.reason) == ("b", "too_large")
    assert str(size) in fault.detail
    parts = plan(expand(str(path)))
    assert [part.first_ordinal for part in parts] == [0, 2]


def test_the_size_of_an_extended_header_counts() -> None:
    extended = tarfile.TarInfo("PaxHeaders/a.txt")
    extended.type, extended.size = tarfile.XHDTYPE, 11
    member = tarfile.TarInfo("a.txt")  # says that it has no content
    data = (
        extended.tobuf()
        + b"11 size=05\n".ljust(BLOCK, b"\0")
        + member.tobuf()
        + b"12345".ljust(BLOCK, b"\0")
        + tarfile.TarInfo("b.txt").tobuf()
        + bytes(2 * BLOCK)
    )
    members, damages = split(data)
    assert not damages
    assert [(m.name, m.header, m.size) for m in members] == [
        ("a.txt", 0, 5),
        ("b.txt", 4 * BLOCK, 0),
    ]


@pytest.mark.parametrize("records", [b"99 path=x\n", b"path=x\n", b"9 path=xy", b"12 size=-12\n"])
def test_a_malformed_extended_header_costs_its_member_and_is_told(records: bytes) -> None:
    extended = tarfile.TarInfo("PaxHeaders/a.txt")
    extended.type, extended.size = tarfile.XHDTYPE, len(records)
    data = tarfile.TarInfo("z.txt").tobuf() + extended.tobuf() + records.ljust(BLOCK, b"\0")
    data += tarfile.TarInfo("a.txt").tobuf() + tarfile.TarInfo("b.txt").tobuf() + bytes(2 * BLOCK)
    members, damages = split(data)
    assert [m.name for m in members] == ["z.txt", "b.txt"]
    assert [d.reason for d in damages] == ["bad_header"]


def test_a_damaged_extended_header_costs_its_member_whose_name_is_lost() -> None:
    long = "n" * 150
    data = bytearray(archive({f"{long}{i}.txt": b"x" for i in range(3)}, tarfile.GNU_FORMAT))
    members, _ = split(bytes(data))
    data[members[1].header + 30] ^= 1
    found, damages = split(bytes(data))
    assert found == [members[0], members[2]]
    assert len(damages) == 1


# Cuts and flipped bytes


def whole_samples(files: dict[str, bytes], data: bytes) -> dict[str, tuple[int, int]]:
    """Key -> where a sample begins and ends, by tarfile."""
    found: dict[str, tuple[int, int]] = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for info in tar:
            key = info.name.partition(".")[0]
            begin = found.get(key, (info.offset, 0))[0]
            found[key] = begin, info.offset_data + info.size
    return found


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT])
def test_cut_at_every_byte_whole_samples_are_kept_and_no_others(
    read_data: Callable[[bytes], list[Sample | Fault]], form: int
) -> None:
    files = multimodal(3)
    data = archive(files, form)
    places = whole_samples(files, data)
    first, last = next(iter(places)), max(end for _, end in places.values())
    for cut in range(1, last + 3 * BLOCK):
        items = read_data(data[:cut])
        kept = {s.key for s in items if isinstance(s, Sample)}
        whole = {key for key, (_, end) in places.items() if end <= cut}
        # Of a first sample that ends early nobody can tell whether it was to have more.
        assert kept - {first} == whole - {first}, cut
        assert first in kept or first not in whole
        complete = cut >= -(-last // BLOCK) * BLOCK + 2 * BLOCK
        shard = [i for i in items if isinstance(i, Fault) and i.source.key is None]
        assert bool(shard) != complete, cut
        torn = {i.source.key for i in items if isinstance(i, Fault) and i.source.key}
        assert torn <= places.keys() - whole


@pytest.mark.parametrize("mask", [0x01, 0x80])
def test_any_flipped_header_byte_leaves_the_other_samples_whole_and_is_told(
    read_data: Callable[[bytes], list[Sample | Fault]], mask: int
) -> None:
    data = archive(multimodal(3))
    intact = {s[0]: s for s in told(read_data(data))}  # type: ignore[index]
    members, _ = split(data)
    for member in members[1:]:
        struck = member.name.partition(".")[0]
        for position in range(member.header, member.header + BLOCK):
            broken = bytearray(data)
            broken[position] ^= mask
            items = read_data(bytes(broken))
            good = {s[0]: s for s in told([i for i in items if isinstance(i, Sample)])}  # type: ignore[index]
            for key, sample in intact.items():
                if key != struck:
                    assert good[key][2] == sample[2], (member.name, position)  # type: ignore[index]
            assert any(isinstance(i, Fault) and i.source.key is None for i in items), position
            if not struck.endswith("00"):  # before it nothing tells what fields there are
                assert struck not in good, (member.name, position)


def test_a_key_is_judged_by_its_first_sample_in_the_shard_and_not_in_the_part(
    tmp_path: Path,
) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as tar:
        for name in ("a.jpg", "a.txt", "b.txt", "a.jpg", "b.txt", "a.jpg", "a.txt"):
            tar.addfile(tarfile.TarInfo(name))
    items = [told(read(path, part_bytes)) for part_bytes in (1, 2 * BLOCK, 3 * BLOCK, 1 << 20)]
    assert len(plan(expand(str(path)), 3 * BLOCK)) == 2
    assert all(found == items[-1] for found in items)
    reasons = [item.reason for item in items[-1] if isinstance(item, Fault)]
    assert reasons == ["duplicate_key"] * 3


@settings(max_examples=120)
@given(data=st.data())
def test_parts_of_any_size_give_what_the_whole_gives(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Also of archives with damage, with samples that lack fields, and with keys that come again."""
    keys = data.draw(st.lists(st.sampled_from("abcdefgh"), min_size=2, max_size=14))
    form = data.draw(st.sampled_from([tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT]))
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as tar:
        for key in keys:
            prefix = "é" if form == tarfile.PAX_FORMAT and key in "ab" else ""
            stray = st.sampled_from(
                ["", "", "", f"._{key}.jpg", "README", "Thumbs.db", ".x/.y.txt"]
            )
            fields = data.draw(st.sampled_from([("jpg", "txt"), ("jpg",), ("txt", "cls")]))
            for extension in ("", *fields):
                name = f"{prefix}{key}.{extension}" if extension else data.draw(stray)
                if not name:
                    continue
                info = tarfile.TarInfo(name)
                info.size = data.draw(st.sampled_from([0, 10, 700]))
                tar.addfile(info, io.BytesIO(b"x" * info.size))
    archive = bytearray(stream.getvalue())
    for _ in range(data.draw(st.integers(0, 4))):
        place = data.draw(st.integers(0, len(archive) - 1))
        kind = data.draw(st.sampled_from(["flip", "zeros", "insert", "cut", "trailing"]))
        if kind == "flip":
            archive[place] ^= 1 << data.draw(st.integers(0, 7))
        elif kind == "zeros":
            start = place // BLOCK * BLOCK
            archive[start : start + BLOCK] = bytes(BLOCK)
        elif kind == "insert":
            start = place // BLOCK * BLOCK
            archive[start:start] = bytes(data.draw(st.sampled_from([512, 1024])))
        elif kind == "cut":
            del archive[max(place, BLOCK) :]
        else:
            archive += b"garbage" * 100
    path = tmp_path_factory.mktemp("p") / "x.tar"
    path.write_bytes(archive)
    whole = read(path)
    parts = read(path, data.draw(st.integers(1, 6000)))
    assert told(parts) == told(whole)
    packed = path.with_suffix(".tar.gz")
    packed.write_bytes(gzip.compress(bytes(archive), 1))
    assert [t[:2] for t in told(read(packed)) if isinstance(t, tuple)] == [
        t[:2] for t in told(whole) if isinstance(t, tuple)
    ]


@settings(max_examples=150)
@given(
    names=st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("xyz")), max_size=14),
    part_bytes=st.sampled_from([1, 1500, 1 << 30]),
)
def test_no_sample_is_good_of_which_a_member_lies_elsewhere(
    tmp_path_factory: pytest.TempPathFactory,
    names: list[tuple[str, str]],
    part_bytes: int,
) -> None:
    """Whatever the order of the members: a good sample has all fields that its key has in the shard, by brute force."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for key, field in names:
            tar.addfile(tarfile.TarInfo(f"{key}.{field}"))
    path = tmp_path_factory.mktemp("p") / "x.tar"
    path.write_bytes(stream.getvalue())
    fields = {key: {field for other, field in names if other == key} for key, _ in names}
    runs = [[field for _, field in run] for _, run in itertools.groupby(names, lambda n: n[0])]
    firsts: dict[str, list[str]] = {}
    for (key, _), run in zip(itertools.groupby(names, lambda n: n[0]), runs, strict=True):
        firsts.setdefault(key, run)
    whole = {
        key for key, run in firsts.items() if len(run) == len(set(run)) and set(run) == fields[key]
    }
    items = read(path, part_bytes)
    assert {item.key for item in items if isinstance(item, Sample)} == whole
    assert all(set(s.fields) == fields[s.key] for s in items if isinstance(s, Sample))
    assert len([i for i in items if isinstance(i, Sample) or i.source.key]) == len(runs)


# Headers by brute force, and hostile ones


@settings(max_examples=300)
@given(
    filling=st.binary(min_size=1, max_size=64),
    low=st.integers(0, 255),
    stored=st.integers(-300, 300),
    signed=st.booleans(),
)
def test_checksums_hold_where_brute_force_says_so(
    filling: bytes, low: int, stored: int, signed: bool
) -> None:
    block = bytearray((filling * BLOCK)[:BLOCK])
    block[:100] = bytes([low]) * 100
    block[124:136] = b"00000000017\0"
    block[148:156] = b" " * 8
    total = sum(block)
    other = sum(byte - 256 * (byte > 127) for byte in block)
    written = (other if signed else total) + (stored if abs(stored) < 20 else 0)
    block[148:156] = b"%06o\0 " % max(written, 0)
    holds = max(written, 0) in (total, other)
    if holds:
        assert numbers(bytes(block)) == (15, block[156])
    else:
        with pytest.raises(BadHeader):
            numbers(bytes(block))


def test_a_checksum_that_is_off_by_what_adler32_cannot_see_does_not_hold() -> None:
    block = bytearray(b"\xfe" * BLOCK)
    block[124:136] = b"00000000017\0"
    block[148:156] = b" " * 8
    total = sum(block)
    assert total > 65_521
    block[148:156] = b"%06o\0 " % (total - 65_521)
    with pytest.raises(BadHeader):
        numbers(bytes(block))
    block[148:156] = b"%06o\0 " % total
    assert numbers(bytes(block))[0] == 15


@pytest.mark.parametrize(
    "field",
    [
        b"-0000001000\0", b"+0000001000\0", b"0_000001000\0", b"0o000001000\0", b"00000000008\0",
        b"           x", b"\xff" * 12, b"\x80" + b"\xff" * 11, b"\xc0" + bytes(11), b"\t\n000001000\0",
    ],
)  # fmt: skip
def test_sizes_that_are_no_sizes_are_bad_headers(field: bytes) -> None:
    block = bytearray(tarfile.TarInfo("b.txt").tobuf())
    block[124:136] = field
    data = tarfile.TarInfo("a.txt").tobuf() + sealed(block) + tarfile.TarInfo("c.txt").tobuf()
    members, damages = split(data + bytes(2 * BLOCK))
    assert [m.name for m in members] == ["a.txt", "c.txt"]
    assert [(d.reason, d.offset) for d in damages] == [("bad_header", BLOCK)]


@settings(max_examples=200)
@given(data=st.data())
def test_headers_of_any_content_whose_checksums_hold_never_stop_the_scan(
    data: st.DataObject,
) -> None:
    whole = archive({f"s{i}.txt": b"x" * (200 * i) for i in range(4)}, tarfile.PAX_FORMAT)
    members, _ = split(whole)
    broken = bytearray(whole)
    for member in data.draw(st.lists(st.sampled_from(members), min_size=1, max_size=3)):
        block = bytearray(broken[member.header : member.header + BLOCK])
        for _ in range(data.draw(st.integers(1, 4))):
            start = data.draw(st.sampled_from([0, 124, 136, 156, 257, 345, 482]))
            piece = data.draw(st.binary(min_size=1, max_size=12))
            block[start : start + len(piece)] = piece
        broken[member.header : member.header + BLOCK] = sealed(block)
    found = list(scan(Bytes(bytes(broken))))
    ends = [item.end for item in found if isinstance(item, Member)]
    assert ends == sorted(ends)
    assert all(m.offset + m.size <= len(broken) for m in found if isinstance(m, Member))


def test_real_shards_are_read_as_tarfile_reads_them() -> None:
    folder = Path(__file__).parents[3] / "shared" / "data"
    shards = sorted(folder.glob("*/*-test-000000.tar"))
    if not shards:
        pytest.skip("the real data is not here")
    for path in shards:
        source = storage.open_source(str(path))
        members = [item for item in scan(source) if isinstance(item, Member)]
        source.close()
        with tarfile.open(path) as tar:
            expected = [(i.name, i.offset_data, i.size) for i in tar if i.isfile()]
        assert [(m.name, m.offset, m.size) for m in members] == expected

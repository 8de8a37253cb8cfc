"""Compressed shards: what is in them, their damage, and how much they may unpack to."""

import bz2
import gzip
import io
import lzma
import random
import tarfile
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from support.byte_source import Bytes
from support.tones import make_samples, write_tar

from pipeline import storage
from pipeline.limits import Limits
from pipeline.sample import Fault, Sample
from pipeline.shards.packed.compressed import Unpacked
from pipeline.shards.planning.plan import expand, limit, needs_scan, plan
from pipeline.shards.reading.reader import read_part

Pack = Callable[[bytes], bytes]


def gz(data: bytes) -> bytes:
    return gzip.compress(data, 6, mtime=0)


def zst(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=3, write_checksum=True).compress(data)


def gz_in_pieces(data: bytes) -> bytes:
    """As pigz and bgzip make them: many members, and zeros behind."""
    return b"".join(gz(data[i : i + 7000]) for i in range(0, len(data), 7000)) + bytes(100)


def zst_in_pieces(data: bytes) -> bytes:
    """Many frames, some of them someone's own, and some that do not say their size."""
    skipped = b"\x53\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"12345"
    frames = [skipped]
    for start in range(0, len(data), 7000):
        packer = zstandard.ZstdCompressor(level=1).compressobj()
        frames += [packer.compress(data[start : start + 7000]), packer.flush(), skipped]
    return b"".join(frames)


def xz(data: bytes) -> bytes:
    return lzma.compress(data, preset=0)


def bz2_in_pieces(data: bytes) -> bytes:
    """As pbzip2 makes them: many streams."""
    return b"".join(bz2.compress(data[i : i + 7000]) for i in range(0, len(data), 7000))


def xz_in_pieces(data: bytes) -> bytes:
    """Many streams with padding between and behind them."""
    return b"".join(xz(data[i : i + 25_000]) + bytes(8) for i in range(0, len(data), 25_000))


PACKS: list[tuple[str, Pack]] = [
    (".tar.gz", gz),
    (".tgz", gz_in_pieces),
    (".tar.zst", zst),
    (".tar.zst", zst_in_pieces),
    (".tar.bz2", bz2.compress),
    (".tbz2", bz2_in_pieces),
    (".tar.xz", xz),
    (".txz", xz_in_pieces),
]


def read(path: Path, limits: Limits | None = None) -> tuple[list[Sample], list[Fault]]:
    [part] = plan(expand(str(path)))
    items = list(read_part(part, limits))
    faults = [item for item in items if isinstance(item, Fault)]
    return [item for item in items if isinstance(item, Sample)], faults


def fields(sample: Sample) -> dict[str, bytes]:
    return {name: bytes(field.data) for name, field in sample.fields.items()}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plain")
    return write_tar(folder / "x.tar", make_samples(20, seed=1))


@pytest.mark.parametrize(("suffix", "pack"), PACKS)
def test_hold_the_samples_of_the_plain_shard(
    tmp_path: Path, plain: Path, suffix: str, pack: Pack
) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_bytes(pack(plain.read_bytes()))
    expected, _ = read(plain)
    found, faults = read(path)
    assert not faults
    assert [(s.key, s.ordinal, fields(s)) for s in found] == [
        (s.key, s.ordinal, fields(s)) for s in expected
    ]
    offsets = [[f.offset for f in s.fields.values()] for s in found]
    assert offsets == [[f.offset for f in s.fields.values()] for s in expected]
    [shard] = expand(str(path))
    assert not needs_scan(shard, 1)
    assert len(plan([shard], 1)) == 1  # packed: one part whatever its size
    for count in (1, 7, 20, 21):
        [part] = limit(plan([shard]), count)
        assert [s.key for s in read_part(part)] == [s.key for s in expected[:count]]  # type: ignore[union-attr]


def test_are_found_in_folders_and_by_patterns(tmp_path: Path, plain: Path) -> None:
    for name in ("a.tar", "b.tar.gz", "c.tgz", "d.tar.zst", "e.txt.gz", "f.zst"):
        (tmp_path / name).write_bytes(plain.read_bytes())
    found = [shard.name for shard in expand(str(tmp_path))]
    assert found == ["a.tar", "b.tar.gz", "c.tgz", "d.tar.zst"]
    assert [s.name for s in expand(f"{tmp_path}/*.tar*")] == ["a.tar", "b.tar.gz", "d.tar.zst"]


def test_are_read_from_an_object_store(bucket: str, plain: Path) -> None:
    for suffix, pack in PACKS[1:3]:
        storage.write_bytes(f"{bucket}/x{suffix}", pack(plain.read_bytes()))
    for part in plan(expand(bucket)):
        assert len(list(read_part(part))) == 20


@pytest.mark.parametrize(("suffix", "pack"), PACKS)
def test_cut_anywhere_keep_whole_samples_and_say_so(
    tmp_path: Path, suffix: str, pack: Pack
) -> None:
    path = tmp_path / f"x{suffix}"
    tar = write_tar(tmp_path / "x.tar", text_samples(12))
    data = pack(tar.read_bytes())
    data = data.rstrip(b"\0") if pack in (gz_in_pieces, xz_in_pieces) else data
    expected = {s.key: fields(s) for s in read(tar)[0]}
    kept = 0
    for cut in sorted({*range(1, len(data) - 14, 7), len(data) - 14}):
        path.write_bytes(data[:cut])
        found, faults = read(path)
        # Of a first sample nobody can tell whether it was to have more.
        assert all(fields(s) == expected[s.key] for s in found if s.ordinal), cut
        assert [s.ordinal for s in found] == list(range(len(found)))
        shard = [f for f in faults if f.source.key is None]
        assert len(shard) == 1, cut
        # A cut between two gzip members or frames leaves a whole, shorter stream.
        assert shard[0].reason in ("truncated_shard", "missing_end", "not_tar"), cut
        whole = sum(fields(s) == expected[s.key] for s in found)
        assert whole >= kept
        kept = whole
    path.write_bytes(data)
    assert len(read(path)[0]) == 12


def text_samples(count: int) -> dict[str, dict[str, bytes]]:
    """Samples whose bytes pack well, but not to nothing."""
    words = random.Random(0)
    return {
        f"s{i:03d}": {"txt": bytes(words.choices(b"abcd ", k=900)), "cls": b"1"}
        for i in range(count)
    }


@pytest.mark.parametrize(("suffix", "pack"), [PACKS[0], PACKS[2]])
def test_a_bad_checksum_at_the_end_is_told_and_costs_nothing(
    tmp_path: Path, plain: Path, suffix: str, pack: Pack
) -> None:
    data = bytearray(pack(plain.read_bytes()))
    data[-6 if suffix == ".tar.gz" else -2] ^= 0xFF
    path = tmp_path / f"x{suffix}"
    path.write_bytes(data)
    found, faults = read(path)
    assert len(found) == 20
    assert [(f.reason, f.source.key) for f in faults] == [("bad_compression", None)]


# A block of bzip2 is 900 kB, and is there whole or not at all.
@pytest.mark.parametrize(
    ("suffix", "pack"), [each for each in PACKS if each[1] is not bz2.compress]
)
def test_garbage_amid_keeps_what_comes_before_and_tells(
    tmp_path: Path, suffix: str, pack: Pack
) -> None:
    tar = write_tar(tmp_path / "x.tar", text_samples(300))
    expected = {s.key: fields(s) for s in read(tar)[0]}
    data = pack(tar.read_bytes())
    place = len(data) // 2
    path = tmp_path / f"x{suffix}"
    path.write_bytes(data[:place] + b"\xff" * 200 + data[place + 200 :])
    found, faults = read(path)
    assert any(f.source.key is None for f in faults)
    told = {"bad_compression", "trailing_data", "truncated_shard", "bad_header", "duplicate_key"}
    assert {f.reason for f in faults} <= told
    # What was unpacked before a checksum could refuse it may be in the last samples, never in those well before.
    whole = [s for s in found if s.key in expected and fields(s) == expected[s.key]]
    assert len(whole) >= 100


@pytest.mark.parametrize("suffix", [".tar.gz", ".tar.zst", ".tar.bz2", ".tar.xz"])
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not_tar"),
        (b"not packed at all" * 100, "bad_compression"),
        (bytes(99), "bad_compression"),
    ],
)
def test_what_is_not_packed_is_told(tmp_path: Path, suffix: str, data: bytes, reason: str) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_bytes(data)
    found, faults = read(path)
    assert not found
    assert [f.reason for f in faults] == [reason]


@pytest.mark.parametrize(("suffix", "pack"), [PACKS[0], PACKS[2]])
def test_a_packed_something_else_and_data_behind(
    tmp_path: Path, plain: Path, suffix: str, pack: Pack
) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_bytes(pack(b"just a text" * 100))
    assert [f.reason for f in read(path)[1]] == ["not_tar"]
    path.write_bytes(pack(plain.read_bytes()) + b"more of something")
    found, faults = read(path)
    assert len(found) == 20
    assert [f.reason for f in faults] == ["trailing_data"]


def bomb(path: Path, pack: Pack, megabytes: int) -> None:
    """A good sample, then one of zeros, then a good one."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for name, content in (
            ("a.txt", b"good"),
            ("b.bin", bytes(megabytes << 20)),
            ("c.txt", b"x"),
        ):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    path.write_bytes(pack(data.getvalue()))


@pytest.mark.parametrize(("suffix", "pack"), [PACKS[0], PACKS[2], PACKS[6]])
def test_bombs_are_too_large_and_cost_no_memory(tmp_path: Path, suffix: str, pack: Pack) -> None:
    path = tmp_path / f"x{suffix}"
    bomb(path, pack, 96)
    tracemalloc.start()
    found, faults = read(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [s.key for s in found] == ["a"]
    assert ("too_large", None) in [(f.reason, f.source.key) for f in faults]
    assert peak < 64 << 20
    # What is allowed is read.
    found, faults = read(path, Limits(expansion=10_000_000))
    assert [s.key for s in found] == ["a", "b", "c"]
    assert not faults
    # A member over its own limit is passed over, whatever it expands from, and held nowhere.
    found, faults = read(path, Limits(expansion=10_000_000, member_bytes=1 << 20))
    assert [s.key for s in found] == ["a", "c"]
    assert [(f.reason, f.source.key, f.source.field) for f in faults] == [("too_large", "b", "bin")]
    # So is an archive over the limit of the whole.
    found, faults = read(path, Limits(expansion=10_000_000, unpacked_bytes=32 << 20))
    assert [s.key for s in found] == ["a"]
    assert [f.reason for f in faults if f.source.key is None] == ["too_large"]


def test_memory_stays_flat_however_large_the_shard(tmp_path: Path) -> None:
    path = tmp_path / "x.tar.gz"
    noise = random.Random(0).randbytes(1 << 20)
    with gzip.open(path, "wb", 1) as packed, tarfile.open(fileobj=packed, mode="w|") as tar:
        for index in range(40):
            info = tarfile.TarInfo(f"{index:04d}.bin")
            info.size = len(noise)
            tar.addfile(info, io.BytesIO(noise))
    [part] = plan(expand(str(path)))
    tracemalloc.start()
    count = sum(1 for item in read_part(part) if isinstance(item, Sample))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 40
    assert peak < 10 << 20


@pytest.mark.parametrize(("suffix", "pack"), PACKS)
def test_any_forward_reads_give_the_bytes(suffix: str, pack: Pack) -> None:
    data = zlib.compress(random.Random(3).randbytes(50_000)) * 3
    chance = random.Random(4)
    for _ in range(30):
        unpacked = Unpacked(Bytes(pack(data)), f"x{suffix}")
        offset = 0
        while offset < len(data) + 3000:
            length = chance.randrange(9000)
            if chance.random() < 0.3:
                assert unpacked.holds(offset + length) == (offset + length <= len(data))
            assert bytes(unpacked.read(offset, length)) == data[offset : offset + length]
            offset += chance.randrange(7000)
        assert not unpacked.holds(len(data) + 1)
        assert unpacked.fault is None
        assert unpacked.size == len(data)

import io
import tarfile

import pytest

from pipeline.errors import ConfigError, LockedError, SampleError
from pipeline.shards.writing.writer import ShardSetWriter

KIB = 1024


def write(folder, samples, *, name="data", max_shard_bytes=10**9, max_shard_samples=1000):
    with ShardSetWriter(
        folder, name=name, max_shard_bytes=max_shard_bytes, max_shard_samples=max_shard_samples
    ) as writer:
        for split, key, fields in samples:
            writer.write(split, key, fields)
        return writer.publish()


def some(number, split="train", size=10):
    return [
        (split, f"k{i:03d}", {"txt": bytes([i]) * size, "jpg": b"j" * size}) for i in range(number)
    ]


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_tar_has_the_fields_and_nothing_of_the_machine(tmp_path):
    write(tmp_path, [("train", "cats/001", {"txt": b"hello", "seg.png": b"\x00\x01"})])
    with tarfile.open(tmp_path / "data-train-000000.tar") as tar:
        members = {member.name: tar.extractfile(member).read() for member in tar}
        headers = {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in tar.getmembers()}
    assert members == {"cats/001.seg.png": b"\x00\x01", "cats/001.txt": b"hello"}
    assert headers == {(0, 0, 0, "", "", 0o644)}


def test_same_samples_same_bytes_and_untouched_files(tmp_path):
    write(tmp_path, some(20), max_shard_samples=6)
    before = contents(tmp_path)
    inodes = {path.name: path.stat().st_ino for path in tmp_path.iterdir()}
    write(tmp_path, some(20), max_shard_samples=6)
    assert contents(tmp_path) == before
    assert {path.name: path.stat().st_ino for path in tmp_path.iterdir()} == inodes
    assert len(before) == 4


def test_counts_and_sizes_are_those_of_the_files(tmp_path):
    shards = write(tmp_path, [*some(7), *some(3, "test")], max_shard_samples=5)
    assert [(s.name, s.split, s.num_samples) for s in shards] == [
        ("data-test-000000.tar", "test", 3),
        ("data-train-000000.tar", "train", 5),
        ("data-train-000001.tar", "train", 2),
    ]
    assert all((tmp_path / s.name).stat().st_size == s.num_bytes for s in shards)


@pytest.mark.parametrize("size", [1, 511, 512, 513, 5000])
@pytest.mark.parametrize("letter", ["k", "长" * 60])
def test_no_shard_is_over_the_bound(tmp_path, size, letter):
    samples = [("train", f"{letter}{i}", {"txt": b"t" * size}) for i in range(60)]
    shards = write(tmp_path, samples, max_shard_bytes=40 * KIB)
    assert sum(shard.num_samples for shard in shards) == 60
    assert len(shards) > 1 or size < 600
    assert all((tmp_path / s.name).stat().st_size <= 40 * KIB for s in shards)


def test_a_sample_over_the_bound_is_a_shard_alone(tmp_path):
    samples = [
        ("train", key, {"txt": b"t" * size}) for key, size in {"a": 9, "b": 99_999, "c": 9}.items()
    ]
    shards = write(tmp_path, samples, max_shard_bytes=20 * KIB)
    assert [shard.num_samples for shard in shards] == [1, 1, 1]


def test_a_failed_job_leaves_the_earlier_set(tmp_path):
    write(tmp_path, some(4))
    before = contents(tmp_path)
    writer = ShardSetWriter(tmp_path, name="data", max_shard_bytes=10**6, max_shard_samples=2)
    for sample in some(9):
        writer.write(*sample)
    assert any(path.name.startswith(".data-train") for path in tmp_path.iterdir())
    writer.__exit__(RuntimeError, RuntimeError(), None)
    assert contents(tmp_path) == before


def test_a_smaller_set_removes_the_rest_of_the_earlier_one_only(tmp_path):
    write(tmp_path, [*some(9), *some(1, "old")], max_shard_samples=2)
    write(tmp_path, some(3), name="data-v2")
    (tmp_path / "data-train-000004.idx").write_text("")
    (tmp_path / "data-train-000000.idx").write_text("")
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / ".data-train-000009.tar.packing").write_text("left by a kill")
    write(tmp_path, some(4), max_shard_samples=2)
    assert sorted(contents(tmp_path)) == [
        "data-train-000000.idx",  # its shard came out the same
        "data-train-000000.tar",
        "data-train-000001.tar",
        "data-v2-train-000000.tar",
        "notes.txt",
    ]


def test_an_index_goes_with_the_shard_it_described(tmp_path):
    write(tmp_path, some(4))
    (tmp_path / "data-train-000000.idx").write_text("")
    write(tmp_path, some(5))
    assert sorted(contents(tmp_path)) == ["data-train-000000.tar"]


def test_two_at_once_are_refused(tmp_path):
    settings = {"name": "data", "max_shard_bytes": 10**6, "max_shard_samples": 2}
    with (
        ShardSetWriter(tmp_path, **settings),
        pytest.raises(LockedError, match="another job"),
    ):
        ShardSetWriter(tmp_path, **settings)
    ShardSetWriter(tmp_path, **settings).close()


@pytest.mark.parametrize(
    "key", ["", "/a", "a//b", "a/", "../a", "a/../b", "./a", "a.b", "c/.d", "a\nb", "a\\b",
            "__meta__/a", "__meta__", "\ud800"],
)  # fmt: skip
def test_keys_that_would_not_come_back(tmp_path, key):
    with pytest.raises(SampleError, match="key") as caught:
        write(tmp_path, [("train", key, {"txt": b"x"})])
    assert caught.value.reason == "bad_key"


@pytest.mark.parametrize("extension", ["", ".txt", "txt.", "a..b", "TXT", "_meta", "a/b", "a b"])
def test_extensions_that_would_not_come_back(tmp_path, extension):
    with pytest.raises(SampleError, match="extension"):
        write(tmp_path, [("train", "k", {extension: b"x"})])


def test_a_sample_without_fields(tmp_path):
    with pytest.raises(SampleError, match="no field"):
        write(tmp_path, [("train", "k", {})])


def test_unusable_settings(tmp_path):
    with pytest.raises(ConfigError, match="local folder"):
        write("s3://bucket/data", [])
    with pytest.raises(ConfigError, match="name shards"):
        write(tmp_path, [], name="a/b")
    with pytest.raises(ConfigError, match="at least one"):
        write(tmp_path, [], max_shard_samples=0)


def test_long_and_foreign_names_come_back(tmp_path):
    keys = ["d" * 90 + "/" + "k" * 90, "数字/零", "über", "dots.in/folders.ok/k"]
    write(tmp_path, [("train", key, {"txt": key.encode()}) for key in keys])
    data = (tmp_path / "data-train-000000.tar").read_bytes()
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert {m.name[:-4]: tar.extractfile(m).read().decode() for m in tar} == {
            key: key for key in keys
        }

"""Reading and writing through a real S3 server."""

import json
from pathlib import Path

import pytest
from support.tones import make_samples, write_tar

from pipeline import storage
from pipeline.errors import ConfigError, InputError
from pipeline.sample import Sample
from pipeline.shards.planning.plan import expand, limit, plan
from pipeline.shards.reading.reader import read_part


def put(bucket: str, name: str, path: Path) -> None:
    storage.write_bytes(f"{bucket}/{name}", path.read_bytes())


def test_patterns_name_what_is_there(bucket: str, tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", make_samples(2, seed=0))
    for name in ("a/x-000000.tar", "a/x-000001.tar", "b/x-000000.tar", "b/deep/y.tar", "b/no.txt"):
        put(bucket, name, path)

    def names(pattern: str) -> list[str]:
        return [shard.name for shard in expand(f"{bucket}/{pattern}")]

    assert names("a/x-{000000..000001}.tar") == ["x-000000.tar", "x-000001.tar"]
    assert names("a/x-*.tar") == ["x-000000.tar", "x-000001.tar"]
    assert names("a/x-00000?.tar") == ["x-000000.tar", "x-000001.tar"]
    assert names("{a,b}/x-000000.tar") == ["a/x-000000.tar", "b/x-000000.tar"]
    assert names("{a,b}/x-*[01].tar") == ["a/x-000000.tar", "a/x-000001.tar", "b/x-000000.tar"]
    assert names("b") == ["deep/y.tar", "x-000000.tar"]
    assert names("b/") == ["deep/y.tar", "x-000000.tar"]
    assert names("**/*.tar") == [
        "a/x-000000.tar",
        "a/x-000001.tar",
        "b/deep/y.tar",
        "b/x-000000.tar",
    ]
    assert names("a/x-000001.tar") == ["x-000001.tar"]
    assert names("") == ["a/x-000000.tar", "a/x-000001.tar", "b/deep/y.tar", "b/x-000000.tar"]
    for nothing in ("a/z-*.tar", "c", "a/z.tar"):
        with pytest.raises(ConfigError, match="no shard matches"):
            names(nothing)
    with pytest.raises(ConfigError, match="1 of the 3 shards"):
        names("a/x-{000000..000002}.tar")


def test_shards_read_in_parts_are_those_of_the_disk(bucket: str, tmp_path: Path) -> None:
    path = write_tar(tmp_path / "x.tar", make_samples(30, seed=1))
    put(bucket, "data/x.tar", path)
    local, remote = expand(str(path)), expand(f"{bucket}/data/*.tar")
    for part_bytes in (1, 20_000, 1 << 30):
        parts = plan(remote, part_bytes)
        assert [(p.start, p.end) for p in parts] == [
            (p.start, p.end) for p in plan(local, part_bytes)
        ]
        found = [item for part in parts for item in read_part(part)]
        wanted = [item for part in plan(local, part_bytes) for item in read_part(part)]
        assert [s.key for s in found] == [s.key for s in wanted]  # type: ignore[union-attr]
        for mine, theirs in zip(found, wanted, strict=True):
            assert isinstance(mine, Sample)
            assert isinstance(theirs, Sample)
            assert {n: bytes(f.data) for n, f in mine.fields.items()} == {
                n: bytes(f.data) for n, f in theirs.fields.items()
            }
    [part] = limit(plan(remote), 7)
    assert len(list(read_part(part))) == 7


def test_keys_of_any_letters(bucket: str) -> None:
    for name in ("plain", "with space", "per%20cent", "ha#sh", "plus+and&", "中文", "quo'te"):
        storage.write_bytes(f"{bucket}/odd/{name}", name.encode())
        assert storage.read_bytes(f"{bucket}/odd/{name}") == name.encode()
    listed = storage.list_files(f"{bucket}/odd")
    assert [storage.read_bytes(info.url).decode() for info in listed] == [
        info.url.rpartition("/")[2] for info in listed
    ]
    assert len(listed) == 7


def test_files_come_change_and_go(bucket: str) -> None:
    url = f"{bucket}/run/summary.json"
    assert storage.file_info(url) is None
    assert not storage.exists(url)
    with pytest.raises(FileNotFoundError):
        storage.read_bytes(url)
    with pytest.raises(InputError, match="not there"):
        storage.open_source(url)
    storage.remove(url)  # fine
    storage.write_bytes(url, json.dumps({"a": 1}).encode())
    info = storage.file_info(url)
    assert info is not None
    assert (info.size, info.url) == (8, url)
    assert storage.exists(f"{bucket}/run")
    storage.write_bytes(url, b"other")
    assert storage.read_bytes(url) == b"other"
    with storage.create(url, replace=False) as file:
        file.write(b"too late")
    assert storage.read_bytes(url) == b"other"
    assert [info.url for info in storage.list_files(bucket, recursive=True)] == [url]
    assert storage.list_files(f"{bucket}/nothing") == []
    storage.remove(url)
    assert not storage.exists(url)


def test_keys_that_no_library_reads_are_named_and_others_read(
    bucket: str, s3_server: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = write_tar(tmp_path / "x.tar", make_samples(1, seed=0)).read_bytes()
    good = ["x.tar", "sp ace.tar", "\u00fc.tar", "100%.tar", "a#b.tar", "a%2Fb.tar", "d/y.tar"]
    client = pytest.importorskip("boto3").client("s3", endpoint_url=s3_server)
    for key in [*good, "a//b.tar", "../up.tar", "./dot.tar", ".hidden/z.tar", "marker/"]:
        body = data if key.endswith(".tar") else b""
        client.put_object(Bucket=bucket.removeprefix("s3://"), Key=f"p/{key}", Body=body)
    caplog.set_level("INFO", logger="pipeline")
    for pattern in (f"{bucket}/p", f"{bucket}/p/**"):
        caplog.clear()
        shards = expand(pattern)
        assert [shard.name for shard in shards] == sorted(good)
        [line] = [r.getMessage() for r in caplog.records if "keys_passed_over" in r.getMessage()]
        assert "count=3" in line
        assert all(len(list(read_part(part))) == 1 for part in plan(shards))
    for read in (storage.read_bytes, storage.open_source, storage.file_info):
        with pytest.raises((InputError, FileNotFoundError)):
            read(f"{bucket}/p/a//b.tar")


def test_a_file_that_fails_halfway_is_never_seen(bucket: str) -> None:
    url = f"{bucket}/part.parquet"

    def write() -> None:
        with storage.create(url) as file:
            file.write(b"half of it")
            raise RuntimeError("the writer failed")

    with pytest.raises(RuntimeError):
        write()
    assert not storage.exists(url)


def test_large_files_are_uploaded_whole(bucket: str) -> None:
    data = bytes(range(256)) * (48 << 12)  # 48 MiB, in several pieces
    storage.write_bytes(f"{bucket}/large.bin", data)
    source = storage.open_source(f"{bucket}/large.bin", read_ahead=True)
    assert source.size == len(data)
    assert bytes(source.read(0, len(data))) == data
    source.close()

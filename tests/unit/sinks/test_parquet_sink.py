"""The Parquet output: each sample once, whatever is repeated, interrupted or added."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tones import make_samples, write_tar

from pipeline import storage
from pipeline.engine.tasks import decode_part
from pipeline.errors import ConfigError, RunError
from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.decode import Decoder
from pipeline.shards.plan import Part, expand, plan
from pipeline.sinks import ParquetConfig
from pipeline.sinks.parquet import ParquetSink
from pipeline.sinks.quarantine import read_quarantine

DECODER = Decoder.build(
    ModalitiesConfig.model_validate({"image": {"fields": ["png"], "size": 8}}),
    None,
    metadata=["json"],
)


def sink(folder: Path, **identity: object) -> ParquetSink:
    return ParquetSink(
        str(folder), ParquetConfig(), {"model": "m", **identity}, {"model": "m"}, ("image",)
    )


def shards(folder: Path, count: int, samples: int = 8) -> list[Part]:
    for index in range(count):
        if not (folder / f"x-{index}.tar").exists():
            write_tar(folder / f"x-{index}.tar", make_samples(samples, seed=index))
    return plan(expand(str(folder / "x-*.tar")))


def write(into: ParquetSink, parts: list[Part]) -> None:
    for part in parts:
        into.write(decode_part(part, DECODER))


def rows(folder: Path) -> list[tuple[str, str]]:
    """What a reader that globs sees, which must be what the manifest lists."""
    files = sorted(folder.glob("part-*.parquet"))
    manifest = json.loads((folder / "_manifest.json").read_text())
    assert [f.name for f in files] == sorted(f["name"] for f in manifest["files"])
    found = [r for f in files for r in pq.read_table(f).select(["shard", "key"]).to_pylist()]
    assert len(found) == manifest["num_rows"]
    return sorted((r["shard"], r["key"]) for r in found)


def expected(parts: list[Part]) -> list[tuple[str, str]]:
    tables = [decode_part(part, DECODER).to_pylist() for part in parts]
    return sorted((r["shard"], r["key"]) for table in tables for r in table if not r["error"])


def test_large_parts_are_files_of_their_own_and_small_ones_are_merged(tmp_path: Path) -> None:
    parts = shards(tmp_path, 4)
    tables = [decode_part(part, DECODER) for part in parts]
    out = sink(tmp_path / "out")
    large = replace(out, config=ParquetConfig(min_file_mb=1), columns=("image", "noise"))
    large.begin()
    for number, table in enumerate(tables):
        size = (1 << 18) if number == 1 else 1
        noise = np.random.default_rng(number).integers(0, 256, (len(table), size), dtype=np.uint8)
        large.write(table.append_column("noise", pa.array(list(noise))))
    large.commit(parts)
    assert rows(tmp_path / "out") == expected(parts)
    manifest = json.loads((tmp_path / "out" / "_manifest.json").read_text())
    files = [[part["id"] for part in file["parts"]] for file in manifest["files"]]
    assert files == [[parts[0].id], [parts[1].id], [parts[2].id, parts[3].id]]
    assert not list((tmp_path / "out" / "_parts").glob("*.parquet"))


def test_each_sample_once_after_repetition_and_growth(tmp_path: Path) -> None:
    parts = shards(tmp_path, 3)
    out = sink(tmp_path / "out")
    out.begin()
    assert out.done(parts) == set()
    write(out, parts[:2])
    write(out, parts[:1])  # a part done twice, as after a retry
    write(out, parts[2:])
    out.commit(parts)
    assert rows(tmp_path / "out") == expected(parts)

    again = sink(tmp_path / "out")
    again.begin()
    assert again.done(parts) == {part.id for part in parts}
    before = {f: f.stat().st_mtime_ns for f in (tmp_path / "out").rglob("*") if f.is_file()}
    again.commit(parts)
    after = {f: f.stat().st_mtime_ns for f in (tmp_path / "out").rglob("*") if f.is_file()}
    assert before == after, "a finished job changes nothing"

    more = shards(tmp_path, 5)
    again.begin()
    todo = [part for part in more if part.id not in again.done(more)]
    assert [part.shard for part in todo] == ["x-3.tar", "x-4.tar"]
    first = next((tmp_path / "out").glob("part-*.parquet"))
    write(again, todo)
    again.commit(more)
    assert rows(tmp_path / "out") == expected(more)
    assert first.exists(), "files whose parts did not change stay"


def test_a_changed_shard_replaces_its_rows(tmp_path: Path) -> None:
    parts = shards(tmp_path, 3)
    out = sink(tmp_path / "out")
    out.begin()
    write(out, parts)
    out.commit(parts)
    write_tar(tmp_path / "x-1.tar", make_samples(5, seed=99))
    changed = plan(expand(str(tmp_path / "x-*.tar")))
    todo = [part for part in changed if part.id not in out.done(changed)]
    assert [part.shard for part in todo] == ["x-1.tar"]
    write(out, todo)
    out.commit(changed)
    assert rows(tmp_path / "out") == expected(changed)


def test_interrupted_before_the_manifest_a_rerun_completes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = shards(tmp_path, 3)
    out = sink(tmp_path / "out")
    out.begin()
    write(out, parts)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(storage, "replace_if", killed)
        with pytest.raises(KeyboardInterrupt):
            out.commit(parts)
    assert list((tmp_path / "out").glob("part-*.parquet"))
    again = sink(tmp_path / "out")
    again.begin()
    assert not list((tmp_path / "out").glob("part-*.parquet")), "unpublished files are cleared"
    assert again.done(parts) == {part.id for part in parts}
    again.commit(parts)
    assert rows(tmp_path / "out") == expected(parts)


def test_an_interrupted_write_leaves_nothing_visible(tmp_path: Path) -> None:
    def interrupted() -> None:
        with storage.create(str(tmp_path / "a.bin")) as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not list(tmp_path.iterdir())


def test_another_identity_is_refused_and_named(tmp_path: Path) -> None:
    sink(tmp_path / "out", size=8).begin()
    with pytest.raises(ConfigError, match="size was 8 and is now 9"):
        sink(tmp_path / "out", size=9).begin()


def test_bad_rows_go_to_the_quarantine_and_the_manifest(tmp_path: Path) -> None:
    samples = make_samples(4, seed=1)
    samples["s0001"]["png"] = b"broken"
    path = write_tar(tmp_path / "x.tar", samples)
    path.write_bytes(path.read_bytes()[:-9000])  # cut inside the last sample
    parts = plan(expand(str(path)))
    out = sink(tmp_path / "out")
    out.begin()
    result = out.write(decode_part(parts[0], DECODER))
    out.commit(parts)
    table = read_quarantine(str(tmp_path / "out"))
    found = {(row["key"], row["reason"]) for row in table.to_pylist()}
    assert ("s0001", "bad_image") in found
    assert result.damages == sum(key is None for key, _ in found) == 1
    manifest = json.loads((tmp_path / "out" / "_manifest.json").read_text())
    assert all((tmp_path / "out" / name).exists() for name in manifest["quarantine"])
    assert len(manifest["quarantine"]) == 1


def test_columns_types_and_footer(tmp_path: Path) -> None:
    parts = shards(tmp_path, 1)
    out = sink(tmp_path / "out")
    out.begin()
    write(out, parts)
    out.commit(parts)
    [file] = (tmp_path / "out").glob("part-*.parquet")
    schema = pq.read_schema(file)
    assert schema.names == ["key", "shard", "modalities", "image", "json"]
    assert schema.field("image").type == pa.list_(pa.uint8(), 8 * 8 * 3)
    assert schema.field("image").metadata[b"shape"] == b"8,8,3"
    assert schema.metadata[b"model"] == b"m"


def test_a_block_that_lost_rows_is_a_bug(tmp_path: Path) -> None:
    parts = shards(tmp_path, 1)
    table = decode_part(parts[0], DECODER)
    with pytest.raises(RunError, match="this is a bug"):
        sink(tmp_path / "out").write(table.slice(1))


def test_a_part_whose_rows_are_gone_is_done_again(tmp_path: Path) -> None:
    """A job that is killed while it publishes may have removed rows, and not yet the record of them."""
    parts = shards(tmp_path, 2)
    out = sink(tmp_path / "out")
    out.begin()
    write(out, parts)
    record = tmp_path / "out" / "_commit" / f"{parts[1].id}.json"
    stale = record.read_bytes()
    out.commit(parts)
    out.commit(parts[:1])
    assert not record.exists(), "what is forgotten is forgotten whole"
    record.write_bytes(stale)
    assert out.done(parts) == {parts[0].id}
    write(out, parts[1:])
    out.commit(parts)
    assert rows(tmp_path / "out") == expected(parts)


def test_parts_that_are_pending_stay_done_and_are_not_seen(tmp_path: Path) -> None:
    parts = shards(tmp_path, 3)
    out = sink(tmp_path / "out")
    out.begin()
    write(out, parts)
    out.commit(parts[:1], pending=[parts[1].id, parts[2].id])
    assert rows(tmp_path / "out") == expected(parts[:1])
    out.begin()
    assert out.done(parts) == {part.id for part in parts}
    out.commit(parts[1:], keep=[parts[0].id])
    assert rows(tmp_path / "out") == expected(parts)
    assert not list((tmp_path / "out" / "_parts").glob("*.parquet"))

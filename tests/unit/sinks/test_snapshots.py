"""What stays of earlier snapshots, how much many parts leave behind, and what a finished job costs."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.tones import make_samples, write_tar

from pipeline import storage
from pipeline.engine.decoding.isolated import decode_here
from pipeline.errors import ConfigError
from pipeline.metrics.columns import ChannelMeasure
from pipeline.metrics.statistics import Measure
from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.sample import KEY, ORDINAL, PART
from pipeline.shards.planning.plan import Part, expand, plan, replan
from pipeline.sinks import ParquetConfig
from pipeline.sinks.parquet import ParquetSink
from pipeline.sinks.quarantine import read_quarantine
from pipeline.sinks.snapshots import merge
from pipeline.storage import ByteSource

DECODER = Decoder.build(
    ModalitiesConfig.model_validate({"image": {"fields": ["png"], "size": 8}}), None
)


def sink(output: str, **config: float) -> ParquetSink:
    settings = ParquetConfig.model_validate(config)
    return ParquetSink(output, {"model": "m"}, {"model": "m"}, ("image",), config=settings)


def shards(folder: Path, seeds: dict[str, int], *, bad: bool = False) -> list[Part]:
    """A shard a seed, each with three samples; the second may be bad."""
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        if path.stem not in seeds:
            path.unlink()
    for name, seed in seeds.items():
        samples = make_samples(3, seed=seed)
        if bad:
            samples["s0001"]["png"] = b"broken"
        if not (folder / f"{name}.tar").exists() or seed > 9:
            write_tar(folder / f"{name}.tar", samples)
    return plan(expand(f"{folder}/*.tar"))


def night(into: ParquetSink, parts: list[Part]) -> int:
    """Writes what is not done, publishes; how many parts were written."""
    into.begin()
    done = into.done(parts)
    todo = [part for part in parts if part.id not in done]
    for part in todo:
        into.write(decode_here(part, DECODER))
    into.commit(parts)
    return len(todo)


def manifest(folder: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(storage.read_bytes(f"{folder}/_manifest.json"))
    return found


def keys(folder: str) -> list[tuple[str, str]]:
    """By the manifest of a folder."""
    found = []
    for file in manifest(folder)["files"]:  # type: ignore[attr-defined]
        data = storage.read_bytes(f"{folder}/{file['name']}")
        found += pq.read_table(pa.BufferReader(data), columns=["shard", "key"]).to_pylist()
    return sorted((row["shard"], row["key"]) for row in found)


def names(folder: str) -> set[str]:
    infos = storage.list_files(folder, recursive=True)
    return {info.url.removeprefix(f"{folder}/") for info in infos}


@pytest.fixture(params=["disk", "store"])
def output(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "disk":
        return f"{tmp_path}/out"
    return f"{request.getfixturevalue('bucket')}/out"


def test_earlier_snapshots_are_whole_and_then_go(tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    nights = [{"a": 0}, {"a": 0, "b": 1}, {"a": 10, "b": 1}, {"b": 1}]
    seen = []
    for seeds in nights:
        night(sink(out, keep_snapshots=2), shards(tmp_path / "in", seeds))
        seen.append(keys(out))
    assert sorted(path.name for path in (tmp_path / "out" / "_snapshots").iterdir()) == ["2", "3"]
    for number in (2, 3):
        folder = f"{out}/_snapshots/{number}"
        assert keys(folder) == seen[number - 1]
        globbed = {path.name for path in Path(folder).glob("part-*.parquet")}
        assert globbed == {file["name"] for file in manifest(folder)["files"]}  # type: ignore[attr-defined]
    night(sink(out, keep_snapshots=0), shards(tmp_path / "in", {"b": 1, "c": 2}))
    assert not (tmp_path / "out" / "_snapshots").exists()


def test_many_nights_do_not_leave_many_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A night with one new shard leaves a small file; many of them are merged, and no row is touched."""
    monkeypatch.setattr(merge, "SMALL_FILES", 6)
    out, seeds, there, merged = str(tmp_path / "out"), dict[str, int](), set[str](), 0
    random = np.random.default_rng(0)
    for number in random.permutation(24):  # new shards come anywhere among the others
        seeds[f"s{number:02d}"] = int(number) % 9
        assert night(sink(out, keep_snapshots=0), shards(tmp_path / "in", seeds, bad=True)) == 1
        listed = manifest(out)
        data = {file["name"] for file in listed["files"]}  # type: ignore[attr-defined]
        assert max(len(data), len(listed["quarantine"])) <= merge.SMALL_FILES  # type: ignore[arg-type]
        assert data == {name for name in names(out) if name.startswith("part-")}
        merged += bool(there - data)
        there = data
        for name in data:
            rows = pq.read_table(f"{out}/{name}", columns=["shard", "key"]).to_pylist()
            assert rows == sorted(rows, key=lambda row: (row["shard"], row["key"]))
    assert keys(out) == [(f"s{n:02d}.tar", key) for n in range(24) for key in ("s0000", "s0002")]
    assert len(read_quarantine(out)) == 24
    assert merged == 3, "most nights leave the files of others alone"


def test_superseded_files_of_a_store_stay_for_a_while(bucket: str, tmp_path: Path) -> None:
    out = f"{bucket}/out"
    kept = sink(out, keep_snapshots=0, grace_seconds=3600)
    night(kept, shards(tmp_path / "in", {"a": 0, "b": 1}))
    [first] = [name for name in names(out) if name.startswith("part-")]
    night(kept, shards(tmp_path / "in", {"a": 0, "b": 10}))
    kept.begin()
    assert first in names(out), "a reader that has read the manifest before may still open it"
    assert first not in {file["name"] for file in manifest(out)["files"]}  # type: ignore[attr-defined]
    sink(out, keep_snapshots=0, grace_seconds=0).begin()
    assert first not in names(out)
    assert len(keys(out)) == 6


def test_a_snapshot_of_a_store_that_is_kept_keeps_its_files(bucket: str, tmp_path: Path) -> None:
    out = f"{bucket}/out"
    kept = sink(out, keep_snapshots=1, grace_seconds=0)
    night(kept, shards(tmp_path / "in", {"a": 0}))
    before = {file["name"] for file in manifest(out)["files"]}  # type: ignore[attr-defined]
    night(kept, shards(tmp_path / "in", {"a": 10}))
    kept.begin()
    assert before <= names(out)
    assert {f["name"] for f in manifest(f"{out}/_snapshots/1")["files"]} == before  # type: ignore[attr-defined]
    night(kept, shards(tmp_path / "in", {"a": 11}))
    kept.begin()
    assert not before & names(out)


def test_many_parts_leave_few_files(output: str, tmp_path: Path) -> None:
    parts = shards(tmp_path / "in", {f"{number:03}": number % 9 for number in range(30)}, bad=True)
    assert night(sink(output), parts) == 30
    found = names(output)
    assert len(found) == 5, found  # manifest, identity, records, data, quarantine
    assert len(keys(output)) == 60
    assert read_quarantine(output).num_rows == 30
    before = {info.url: info.version for info in storage.list_files(output, recursive=True)}
    assert night(sink(output), parts) == 0
    after = {info.url: info.version for info in storage.list_files(output, recursive=True)}
    assert before == after, "a finished job changes nothing"


def test_bad_samples_of_merged_parts_are_tried_again(tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    parts = shards(tmp_path / "in", {"a": 0, "b": 1, "c": 2}, bad=True)
    night(sink(out), parts)
    assert len(keys(out)) == 6

    def retry(repaired: Callable[[Part], bool]) -> None:
        """Their bytes are as bad as before; where ``repaired``, the decoder has learnt to read them."""
        again = sink(out)
        again.begin()
        for part in again.retries(parts):
            table = decode_here(part, DECODER)
            if repaired(part):
                good = decode_here(replace(part, only=(0,)), DECODER).to_pylist()[0]
                row = good | {KEY: "s0001", ORDINAL: 1, PART: part.to_json()}
                table = pa.Table.from_pylist([row], schema=table.schema)
            again.write(table)
        again.commit(parts)

    retry(lambda part: part.shard == "b.tar")
    assert len(keys(out)) == 7
    assert ("b.tar", "s0001") in keys(out)
    assert set(read_quarantine(out)["shard"].to_pylist()) == {"a.tar", "c.tar"}
    retry(lambda part: part.shard != "b.tar")
    assert len(keys(out)) == 9
    assert read_quarantine(out).num_rows == 0
    assert night(sink(out), parts) == 0


def test_sums_outlive_the_records_of_their_parts(tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    measure = Measure({"image": ChannelMeasure()}, labelled=False)
    kept = replace(sink(out), measure=measure, keep_statistics=True)
    parts = shards(tmp_path / "in", {"a": 0, "b": 1, "c": 2})
    night(kept, parts)
    wanted = {part.id: measure(decode_here(part, DECODER)) for part in parts}

    def kept_sums(ids: list[str]) -> list[str]:
        found = kept.recorded_statistics(ids)
        return sorted(json.dumps(each, sort_keys=True) for each in found)

    def sums_of(ids: list[str]) -> list[str]:
        return sorted(json.dumps(wanted[part], sort_keys=True) for part in ids)

    for ids in ([part.id for part in parts], [parts[1].id], []):
        assert kept_sums(ids) == sums_of(ids)
    changed = shards(tmp_path / "in", {"a": 0, "b": 10})
    night(kept, changed)
    wanted |= {part.id: measure(decode_here(part, DECODER)) for part in changed}
    assert kept_sums([part.id for part in changed]) == sums_of([part.id for part in changed])
    assert kept_sums([parts[2].id]) == []
    night(kept, shards(tmp_path / "in", {"d": 11}))
    files = [path for path in (tmp_path / "out" / "_commit").iterdir() if "statistics" in path.name]
    assert len(files) == 1, "sums of parts that are gone go too"


def test_an_output_of_an_earlier_version_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "_commit").mkdir(parents=True)
    (out / "_commit" / "_identity.json").write_text('{"model": "m"}')
    with pytest.raises(Exception, match="format was None and is now 2"):
        sink(str(out)).begin()


def test_a_part_whose_record_counts_is_told_as_that_record_has_it(tmp_path: Path) -> None:
    """Two workers do the same part, and one of them finds a sample bad that the other does not: it took too long."""
    out = str(tmp_path / "out")
    [part] = shards(tmp_path / "in", {"a": 0})
    slow = decode_here(part, DECODER)
    rows = slow.to_pylist()
    bad = shards(tmp_path / "bad", {"a": 0}, bad=True)
    error = decode_here(bad[0], DECODER).to_pylist()[1]["error"]
    rows[1] |= {"error": error, "image": None, "modalities": []}
    slow = pa.Table.from_pylist(rows, schema=slow.schema)
    into = sink(out)
    into.begin()
    assert into.write(slow).written == 2
    assert into.write(decode_here(part, DECODER)).written == 2, "the first record counts"
    into.commit([part])
    assert len(keys(out)) == 2
    assert read_quarantine(out).num_rows == 1


def test_reads_of_a_finished_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards that have not changed are not opened to be planned again."""
    out = str(tmp_path / "out")
    shards(tmp_path / "in", {"a": 0, "b": 1})
    found = expand(f"{tmp_path}/in/*.tar")
    parts = plan(found, part_bytes=4096)
    assert len(parts) > 2
    night(sink(out), parts)

    def opened(*_: object, **__: object) -> ByteSource:
        raise AssertionError("a shard was opened")

    monkeypatch.setattr(storage, "open_source", opened)
    known = replan(found, [record.plan for record in sink(out).recorded()])
    assert [part for name in sorted(known) for part in known[name]] == parts
    some = [record.plan for record in sink(out).recorded()][1:]
    assert len(replan(found, some)) == 1, "a shard that is not done to its end is planned again"


def test_rows_stay_in_the_partition_that_they_were_first_written_to(
    output: str, tmp_path: Path
) -> None:
    def on(date: str, seeds: dict[str, int]) -> dict[str, set[str]]:
        """Partition -> its shards, after a night of that date."""
        into = replace(sink(output, grace_seconds=0), partition=f"date={date}")
        night(into, shards(tmp_path / "in", seeds))
        into.begin()
        found: dict[str, set[str]] = {}
        for file in manifest(output)["files"]:  # type: ignore[attr-defined]
            shown = {part["shard"][0] for part in file["parts"]}
            found.setdefault(file["name"].rpartition("/")[0], set()).update(shown)
        published = {file["name"] for file in manifest(output)["files"]}  # type: ignore[attr-defined]
        there = {name for name in names(output) if name.startswith("date=")}
        assert there == published or output.startswith("s3://")
        assert len(keys(output)) == 3 * len(seeds)
        return found

    assert on("2026-11-20", {"a": 0, "b": 1}) == {"date=2026-11-20": {"a", "b"}}
    assert on("2026-11-21", {"a": 0, "b": 10, "c": 2}) == {
        "date=2026-11-20": {"a"},
        "date=2026-11-21": {"b", "c"},
    }
    assert on("2026-11-22", {"b": 11, "c": 2}) == {
        "date=2026-11-21": {"c"},
        "date=2026-11-22": {"b"},
    }


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    foreign = tmp_path / "out" / "date=2026-01-01" / "part-00000-of-spark.parquet"
    foreign.parent.mkdir(parents=True)
    foreign.write_bytes(b"somebody's")
    with pytest.raises(ConfigError, match="no job of this kind has written"):
        sink(str(tmp_path / "out")).begin()
    assert foreign.read_bytes() == b"somebody's"
    assert names(str(tmp_path / "out")) == {"date=2026-01-01/part-00000-of-spark.parquet"}

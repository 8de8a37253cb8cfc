"""Kills a job before every step of its commit protocol, twice in a row, and looks at what a rerun makes of it.

    python commit_steps.py FOLDER-OR-BUCKET SHARDS

A step is whatever changes what others see of the disk or the store. To be killed after one is to be killed before the
next: nothing else outlives the process. Children are forked from a process that has loaded everything and touched no
store yet; a child that is killed ends by ``os._exit(137)``, so that nothing of it is cleaned up.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import sys
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import obstore
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import storage
from pipeline.engine.decoding.isolated import decode_here
from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.shards.planning.plan import Part, expand, plan
from pipeline.sinks import ParquetConfig
from pipeline.sinks.parquet import ParquetSink
from pipeline.sinks.quarantine import read_quarantine
from pipeline.storage import writing
from pipeline.storage.locking import locks
from pipeline.storage.stores import ArrowStore

KILLED = 137
Night = dict[str, tuple[Part, pa.Table]]  # part -> itself and its rows
Row = tuple[str, str, str]

DECODER = Decoder.build(
    ModalitiesConfig.model_validate({"image": {"fields": ["png"], "size": 8}}), None
)
ON_DISK = [(os, "link"), (os, "unlink"), (os, "replace"), (writing, "_open_staged")]
IN_STORE = [(obstore, "put"), *((ArrowStore, name) for name in ("write", "copy", "remove"))]


def main(output: str, shards: str) -> int:
    """Tries all steps of a first night and of a second one; prints how many there were."""
    first, second = load(f"{shards}/first"), load(f"{shards}/second")
    steps = try_all_steps(f"{output}/first", None, first)
    steps += try_all_steps(f"{output}/second", first, second)
    sys.stdout.write(json.dumps({"steps": steps}))
    return 0


def try_all_steps(output: str, before: Night | None, night: Night) -> int:
    """Kills a night before each of its steps; how many it has.

    Args:
        output: Where the folders of all trials go.
        before: The night that has been there before, if any.
        night: The one that is killed.
    """
    for step in itertools.count(1):
        folder = f"{output}/{step}"
        if before is not None:
            child(partial(run, folder, before), wanted=0)
        codes = [child(partial(killed_at, step, folder, night))]
        codes.append(child(partial(killed_again_at, step, folder, before, night)))
        child(partial(complete, folder, before, night), wanted=0)
        if storage.is_local(output):
            shutil.rmtree(folder)
        assert set(codes) <= {0, KILLED}, codes
        if codes[0] == 0:
            return step
    raise AssertionError("unreachable")


def complete(output: str, before: Night | None, night: Night) -> None:
    """What readers find after a kill, and, once the job was run again, what they find then."""
    look(output, before, night)
    run(output, night)
    check(output, night)


def load(folder: str) -> Night:
    """Decodes a night's shards."""
    return {part.id: (part, decode_here(part, DECODER)) for part in plan(expand(f"{folder}/*.tar"))}


def run(output: str, night: Night) -> None:
    """A job: what is to do, written and published."""
    config = ParquetConfig(grace_seconds=0)
    sink = ParquetSink(output, {"model": "m"}, {"model": "m"}, ("image",), config=config)
    with locks.lock(output) if storage.is_local(output) else open(os.devnull):
        sink.begin()
        parts = [part for part, _ in night.values()]
        done = sink.done(parts)
        for part, table in night.values():
            if part.id not in done:
                sink.write(table)
        sink.commit(parts)


def killed_at(step: int, output: str, night: Night) -> None:
    """A job that is killed before a step."""
    count = itertools.count(1)

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if next(count) == step:
                os._exit(KILLED)
            return real(*arguments, **options)

        return call

    for owner, name in ON_DISK if storage.is_local(output) else IN_STORE:
        setattr(owner, name, counted(getattr(owner, name)))
    run(output, night)


def killed_again_at(step: int, output: str, before: Night | None, night: Night) -> None:
    """What readers find after a kill, and a rerun that is killed as well."""
    look(output, before, night)
    killed_at(step, output, night)


def look(output: str, before: Night | None, night: Night) -> None:
    """What readers find while no job works, wherever the last one was killed.

    Who follows the manifest has one of the two nights, whole. Who globs has what the manifest lists, or, while it lists
    files that wait for their names, the night before, or a part of the new one; on a disk no row is there twice.
    """
    earlier, later = good_rows(before or {}), good_rows(night)
    try:
        manifest = json.loads(storage.read_bytes(storage.join(output, "_manifest.json")))
    except FileNotFoundError:
        manifest = {"files": []}
    listed = [file["name"] for file in manifest["files"]]
    followed = rows(output, listed)
    assert followed in (earlier, later), "the manifest"
    if not storage.is_local(output):
        return
    globbed = rows(output, [path.name for path in Path(output).glob("part-*.parquet")])
    assert len({row[:2] for row in globbed}) == len(globbed), "a glob sees a row twice"
    if any(name.startswith("_snapshots/") for name in listed):
        assert followed == later
        assert globbed == earlier or set(globbed) <= set(later)
    else:
        assert globbed == followed, "a glob sees what the manifest does not list"


def good_rows(night: Night) -> list[Row]:
    return sorted(
        (row["shard"], row["key"], str(row["image"]))
        for _, table in night.values()
        for row in table.to_pylist()
        if row["error"] is None
    )


def check(output: str, night: Night) -> None:
    """What readers find, each in their way, is the night and nothing else."""
    wanted = good_rows(night)
    bad = sorted(
        (row["shard"], row["key"])
        for _, table in night.values()
        for row in table.to_pylist()
        if row["error"] is not None
    )
    manifest = json.loads(storage.read_bytes(storage.join(output, "_manifest.json")))
    listed = [file["name"] for file in manifest["files"]]
    assert rows(output, listed) == wanted, "the manifest"
    assert manifest["num_rows"] == len(wanted)
    found = read_quarantine(output).to_pylist()
    assert sorted((row["shard"], row["key"]) for row in found) == bad, "the quarantine"
    left = {
        info.url.removeprefix(output + "/") for info in storage.list_files(output, recursive=True)
    }
    earlier = {name for name in left if name.startswith("_snapshots/")}
    assert not any(name.startswith(f"_snapshots/{manifest['snapshot']}/") for name in left)
    expected = {"_manifest.json", "_commit/_identity.json", manifest["records"]}
    if storage.is_local(output):
        extra = left - earlier - expected - set(listed) - set(manifest["quarantine"])
    else:  # there, files of the earlier snapshot lie beside the others
        extra = {
            name for name in left - earlier - expected if name.startswith(("_parts", "_commit"))
        }
    assert not extra, extra


def rows(output: str, names: list[str]) -> list[Row]:
    tables = [
        pq.read_table(pa.BufferReader(storage.read_bytes(storage.join(output, name))))
        for name in names
    ]
    return sorted(
        (row["shard"], row["key"], str(row["image"]))
        for table in tables
        for row in table.to_pylist()
    )


def child(work: Callable[[], None], wanted: int | None = None) -> int:
    """Does something in a process of its own; its exit code, which is 0 where it came to its end."""
    process = os.fork()
    if not process:
        code = 1
        try:
            work()
            code = 0
        except BaseException:  # noqa: BLE001 - all of it is told, and the exit code says so
            traceback.print_exc()
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    if wanted is not None and code != wanted:
        raise AssertionError(f"a child ended with {code}")
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], str(Path(sys.argv[2]))))

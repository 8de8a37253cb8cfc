"""A machine that runs, kills and repeats jobs over shards that come, change and go: readers see each sample once."""

from __future__ import annotations

import functools
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import obstore
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from obstore.store import MemoryStore
from support.tones import make_samples, write_tar

from pipeline import storage
from pipeline.engine.decoding.isolated import decode_here
from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.nightly.inventory import Inventory
from pipeline.shards.planning.plan import Part, plan_shard
from pipeline.shards.planning.plan import Shard as Listed
from pipeline.sinks import ParquetConfig
from pipeline.sinks.parquet import ParquetSink
from pipeline.storage import conditional, stores, writing
from pipeline.storage.location import FileInfo

DECODER = Decoder.build(
    ModalitiesConfig.model_validate({"image": {"fields": ["png"], "size": 8}}), None
)
NAMES = ("a.tar", "b.tar", "c.tar", "d.tar")
VERSIONS = range(4)


class Killed(BaseException):
    """A job ends here."""


class Objects:
    """An object store in memory, whose conditions are those of a real one."""

    def __init__(self) -> None:
        self.store = MemoryStore()

    def info(self, url: str) -> FileInfo | None:
        found = list(self.files(url.rpartition("/")[0], recursive=False))
        return next((info for info in found if info.url == url), None)

    def exists(self, url: str) -> bool:
        return self.info(url) is not None

    def files(self, folder: str, *, recursive: bool) -> Iterator[FileInfo]:
        prefix = folder.removeprefix("s3://bucket").strip("/")
        for meta in obstore.list(self.store, prefix=prefix or None).collect():
            rest = meta["path"][len(prefix) :].lstrip("/")
            if recursive or "/" not in rest:
                stamp = int(meta["last_modified"].timestamp() * 1e9)
                yield FileInfo(f"s3://bucket/{meta['path']}", meta["size"], f"{stamp}")

    def read(self, url: str) -> bytes:
        return bytes(obstore.get(self.store, self._path(url)).bytes())

    def write(self, url: str, data: IO[bytes]) -> None:
        obstore.put(self.store, self._path(url), data.read())

    def copy(self, url: str, name: str) -> None:
        obstore.copy(self.store, self._path(url), self._path(name))

    def remove(self, url: str) -> None:
        obstore.delete(self.store, self._path(url))

    def _path(self, url: str) -> str:
        return url.removeprefix("s3://bucket/")


STEPS = {
    "disk": [(storage, "remove"), (writing, "_publish"), (writing, "_open_staged")],
    "store": [(obstore, "put"), (Objects, "remove"), (Objects, "copy")],
}


@functools.cache
def part_and_rows(name: str, version: int) -> tuple[Part, pa.Table]:
    """A shard's only part, decoded; its second sample is bad in odd versions."""
    with tempfile.TemporaryDirectory() as folder:
        samples = make_samples(2 + version, seed=version)
        if version % 2:
            samples["s0001"]["png"] = b"broken"
        path = write_tar(Path(folder) / name, samples)
        [part] = plan_shard(Listed(name, str(path), path.stat().st_size, f"v{version}"))
        return part, decode_here(part, DECODER)


class Commits(RuleBasedStateMachine):
    """Jobs over one output."""

    kind = "disk"

    @initialize()
    def begin(self) -> None:
        self.patches = pytest.MonkeyPatch()
        self.folder = tempfile.mkdtemp()
        self.shards: dict[str, int] = {"a.tar": 0}
        self.expected: list[tuple[str, str, str]] | None = None
        self.output = f"{self.folder}/out"
        if self.kind == "store":
            objects = Objects()
            self.output = "s3://bucket/out"
            for module in (stores, storage.files, writing):
                self.patches.setattr(module, "store_of", lambda _: objects)
            self.patches.setattr(
                conditional, "_store_and_path", lambda url: (objects.store, objects._path(url))
            )

    def teardown(self) -> None:
        if hasattr(self, "patches"):
            self.patches.undo()
            shutil.rmtree(self.folder)

    @rule(name=st.sampled_from(NAMES), version=st.sampled_from(VERSIONS))
    def put(self, name: str, version: int) -> None:
        self.shards[name] = version

    @rule(name=st.sampled_from(NAMES))
    def delete(self, name: str) -> None:
        if len(self.shards) > 1:
            self.shards.pop(name, None)

    @rule(name=st.sampled_from(NAMES), version=st.sampled_from(VERSIONS))
    def zombie(self, name: str, version: int) -> None:
        """A worker of a job that is long dead commits a part."""
        if self.expected is not None:
            self.sink().write(part_and_rows(name, version)[1])

    @rule(stop=st.one_of(st.none(), st.integers(1, 3)), reverse=st.booleans())
    def job(self, stop: int | None, reverse: bool) -> None:
        """A job that comes to its end, or to its deadline after some parts."""
        held = self.run(stop, reverse)
        if not held:
            self.expected = self.wanted()

    @rule(step=st.integers(1, 40), stop=st.one_of(st.none(), st.integers(1, 3)))
    def killed_job(self, step: int, stop: int | None) -> None:
        """A job that is killed at one of its steps."""
        left = [step]

        def counted(real: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any, **options: Any) -> Any:
                left[0] -= 1
                if left[0] == 0:
                    raise Killed
                return real(*arguments, **options)

            return call

        with self.patches.context() as patches:
            for owner, name in STEPS[self.kind]:
                patches.setattr(owner, name, counted(getattr(owner, name)))
            try:
                held = self.run(stop, False)
            except Killed:
                held = True
        if held:
            if self.manifest() is not None:
                self.expected = self.rows()  # of this night or of the one before; whole either way
        else:
            self.expected = self.wanted()

    @invariant()
    def readers_see_each_sample_once(self) -> None:
        if not hasattr(self, "shards") or self.manifest() is None:
            return
        found = self.rows()
        assert len({row[:2] for row in found}) == len(found)
        if self.expected is not None:
            assert found == self.expected
        if self.kind == "disk":
            for file in Path(self.output).glob("part-*.parquet"):
                pq.read_metadata(file)
            for file in Path(self.output).glob("_snapshots/*/part-*.parquet"):
                pq.read_metadata(file)

    def sink(self) -> ParquetSink:
        return ParquetSink(self.output, {"m": 1}, {"m": "1"}, ("image",), config=ParquetConfig())

    def run(self, stop: int | None, reverse: bool) -> bool:
        """What a batch job does, in one process; whether rows of before stay in the place of new ones."""
        sink = self.sink()
        sink.begin()
        tables = [part_and_rows(*shard) for shard in sorted(self.shards.items())]
        parts = [part for part, _ in tables]
        inventory = Inventory.take(parts, sink.recorded())
        done = sink.done(parts)
        todo = [(part, table) for part, table in tables if part.id not in done]
        for part, table in (todo[::-1] if reverse else todo)[:stop]:
            sink.write(table)
            done.add(part.id)
        held = inventory.held(parts, done)
        ready = [part for part in parts if part.id in done and part.shard not in held]
        shown = {part.id for part in ready}
        sink.commit(
            ready,
            keep=inventory.rows_of(held),
            pending=[part.id for part in parts if part.id not in shown],
        )
        if any(part.id not in done for part in parts):
            self.expected = self.rows()
            return True
        return False

    def wanted(self) -> list[tuple[str, str, str]]:
        tables = [part_and_rows(*shard)[1] for shard in self.shards.items()]
        rows = [row for table in tables for row in table.to_pylist() if row["error"] is None]
        return sorted((row["shard"], row["key"], str(row["image"])) for row in rows)

    def manifest(self) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = json.loads(storage.read_bytes(f"{self.output}/_manifest.json"))
        except FileNotFoundError:
            return None
        return found

    def rows(self) -> list[tuple[str, str, str]]:
        """As the manifest has them."""
        manifest = self.manifest()
        assert manifest is not None
        found = []
        for file in manifest["files"]:
            data = storage.read_bytes(f"{self.output}/{file['name']}")
            table = pq.read_table(pa.BufferReader(data)).to_pylist()
            assert len(table) == file["rows"]
            found += [(row["shard"], row["key"], str(row["image"])) for row in table]
        return sorted(found)


class CommitsToAStore(Commits):
    """The same in an object store."""

    kind = "store"


LIMITS = settings(
    max_examples=60,
    stateful_step_count=12,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestOnADisk = Commits.TestCase
TestOnADisk.settings = LIMITS
TestInAStore = CommitsToAStore.TestCase
TestInAStore.settings = LIMITS

"""What stands between a fault and what readers see: counts of rows, files that are opened again, the lock."""

import io
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from support.tones import make_samples, write_tar

from pipeline.engine.decoding.isolated import decode_here
from pipeline.errors import LockedError, SinkError
from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.shards.planning.plan import Part, expand, plan
from pipeline.sinks import ParquetConfig
from pipeline.sinks.files import parquet
from pipeline.sinks.files.parquet import write_tables
from pipeline.sinks.parquet import ParquetSink
from pipeline.sinks.snapshots import showing
from pipeline.storage.locking import locks
from pipeline.storage.locking.numbered import NumberedFile

DECODER = Decoder.build(
    ModalitiesConfig.model_validate({"image": {"fields": ["png"], "size": 8}}), None
)
Write = Callable[[Any, Iterable[pa.Table], int], None]


@pytest.fixture
def parts(tmp_path: Path) -> list[Part]:
    for name in ("a", "b"):
        write_tar(tmp_path / "in" / f"{name}.tar", make_samples(3, seed=ord(name)))
    return plan(expand(f"{tmp_path}/in/*.tar"))


@pytest.fixture
def sink(tmp_path: Path) -> ParquetSink:
    output = str(tmp_path / "out")
    return ParquetSink(output, {"model": "m"}, {"model": "m"}, ("image",), config=ParquetConfig())


def write(sink: ParquetSink, parts: list[Part]) -> None:
    sink.begin()
    for part in parts:
        sink.write(decode_here(part, DECODER))


def files(sink: ParquetSink, pattern: str) -> list[str]:
    return sorted(str(path.relative_to(sink.folder)) for path in Path(sink.folder).glob(pattern))


def without_a_row(file: Any, tables: Iterable[pa.Table], size: int) -> None:
    tables = list(tables)
    write_tables(file, [tables[0].slice(1), *tables[1:]], size)


def without_its_end(file: Any, tables: Iterable[pa.Table], size: int) -> None:
    whole = io.BytesIO()
    write_tables(whole, tables, size)
    file.write(whole.getvalue()[:-10])


FAULTS = [
    pytest.param(without_a_row, r"has \d rows instead of \d", id="a row is lost"),
    pytest.param(without_its_end, "cannot be read", id="the end is lost"),
]


@pytest.mark.parametrize(("fault", "words"), FAULTS)
def test_a_part_is_opened_again_before_it_is_committed(
    sink: ParquetSink, parts: list[Part], monkeypatch: pytest.MonkeyPatch, fault: Write, words: str
) -> None:
    monkeypatch.setattr(parquet, "write_tables", fault)
    with pytest.raises(SinkError, match=words) as raised:
        write(sink, parts)
    assert "check the disk" in str(raised.value)
    assert files(sink, "_parts/*") == []
    assert sink.done(parts) == set()


@pytest.mark.parametrize(("fault", "words"), FAULTS)
def test_a_merged_file_is_opened_again_before_it_is_shown(
    sink: ParquetSink, parts: list[Part], monkeypatch: pytest.MonkeyPatch, fault: Write, words: str
) -> None:
    write(sink, parts)
    monkeypatch.setattr(parquet, "write_tables", fault)
    with pytest.raises(SinkError, match=words):
        sink.commit(parts)
    assert files(sink, "**/part-*.parquet") == []
    assert files(sink, "_manifest.json") == []
    monkeypatch.undo()
    sink.commit(parts)
    assert len(files(sink, "part-*.parquet")) == 1, "two parts in one file: it was merged"


def lose(sink: ParquetSink) -> None:
    """Another host takes the lease, while this one was away."""
    register = NumberedFile(Path(sink.folder, locks.LEASE))
    for _ in range(100):
        _, version = register.read()
        if register.replace(b'{"epoch": 9, "holder": "other", "seconds": 9}', version):
            break
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            locks.check_held(sink.folder)
        except LockedError:
            return
        time.sleep(0.02)


@pytest.mark.parametrize("moment", ["before it publishes", "before it clears up"])
def test_a_job_that_has_lost_its_lease_changes_nothing(
    sink: ParquetSink, parts: list[Part], monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    monkeypatch.setattr(locks, "file_system", lambda path: "nfs4")
    monkeypatch.setattr(locks, "LEASE_SECONDS", 0.5)
    publish = showing.publish

    def publish_and_lose(*arguments: Any) -> None:
        publish(*arguments)
        lose(sink)

    with locks.lock(sink.folder):
        write(sink, parts)
        before = files(sink, "_parts/*")
        if moment == "before it publishes":
            lose(sink)
        else:
            monkeypatch.setattr(showing, "publish", publish_and_lose)
        with pytest.raises(LockedError, match="lost its lease"):
            sink.commit(parts)
    published = moment != "before it publishes"
    assert files(sink, "_manifest.json") == ["_manifest.json"] * published
    assert files(sink, "_parts/*") == before, "what another job may be at stays"

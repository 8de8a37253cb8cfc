"""What came of the samples of a part is held against what the reader counted in the archive."""

import gzip
import io
import tarfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from support.tones import make_samples, png, write_tar

from pipeline.engine.decoding.isolated import decode_here
from pipeline.engine.executors import workplace as workplace_module
from pipeline.engine.executors.batch import BatchJob
from pipeline.engine.executors.here import HereExecutor
from pipeline.engine.executors.workplace import Workplace
from pipeline.errors import RunError
from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.decoding import decoder as decode
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.runs import Summary
from pipeline.sample import Fault, Sample, Tally
from pipeline.shards.planning.plan import Part, expand, plan
from pipeline.shards.reading import reader, walk
from pipeline.shards.tar.grouping import Group
from pipeline.shards.tar.members import Damage
from pipeline.sinks.ledger import ledger
from pipeline.sinks.none import NoneSink
from pipeline.sinks.quarantine import set_bad_aside

MODALITIES = ModalitiesConfig.model_validate({"image": {"fields": ["png"], "size": 8}})


def decoder() -> Decoder:
    return Decoder.build(MODALITIES, None)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_tar(tmp_path / "x.tar", make_samples(12, seed=1))


def parts_of(path: Path, part_bytes: int = 1 << 30) -> list[Part]:
    return plan(expand(str(path)), part_bytes)


@pytest.mark.parametrize("part_bytes", [8000, 1 << 30])
def test_parts_add_up(path: Path, part_bytes: int) -> None:
    results = [ledger(decode_here(part, decoder())) for part in parts_of(path, part_bytes)]
    assert sum(result.read for result in results) == 12
    assert all(r.read == r.written + r.quarantined + r.filtered for r in results)


Groups = Callable[..., Iterator[list[Sample | Fault]]]


def _lose_one(real: Groups) -> Groups:
    def groups(*args: object) -> Iterator[list[Sample | Fault]]:
        for group in real(*args):
            yield group[1:]

    return groups


def _double_one(real: Groups) -> Groups:
    def groups(*args: object) -> Iterator[list[Sample | Fault]]:
        for group in real(*args):
            yield [*group, group[-1]]

    return groups


def _one_for_another(real: Groups) -> Groups:
    def groups(*args: object) -> Iterator[list[Sample | Fault]]:
        for group in real(*args):
            yield [*group[:-1], group[0]]

    return groups


def _lose_the_tail(real: Groups) -> Groups:
    def groups(items: Iterable[Sample | Fault], *args: object) -> Iterator[list[Sample | Fault]]:
        yield [next(iter(items))]

    return groups


@pytest.mark.parametrize("fault", [_lose_one, _double_one, _one_for_another, _lose_the_tail])
@pytest.mark.parametrize("part_bytes", [20_000, 1 << 30])
def test_decoding_that_loses_or_doubles_a_sample_ends_the_job(
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    fault: Callable[[Groups], Groups],
    part_bytes: int,
) -> None:
    part = parts_of(path, part_bytes)[-1]  # the last of the shard
    monkeypatch.setattr(decode, "groups", fault(decode.groups))
    with pytest.raises(RunError, match="this is a bug"):
        ledger(decode_here(part, decoder()))
    with pytest.raises(RunError, match="this is a bug"):  # the way of training
        set_bad_aside(decode_here(part, decoder()), str(tmp_path / "run"))


def test_rows_lost_on_the_way_to_the_sink_end_the_job(path: Path, tmp_path: Path) -> None:
    table = decode_here(parts_of(path)[0], decoder())
    for lossy in (table.slice(0, 11), table.slice(1), table.slice(0, 0)):
        with pytest.raises(RunError):
            ledger(lossy)
    with pytest.raises(RunError):
        ledger(pa.concat_tables([table, table.slice(0, 1)]))


def test_a_group_that_is_lost_in_the_reader_ends_the_job(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = walk.group_members

    def lossy(*args: object) -> Iterator[Group | Damage]:
        return iter(list(real(*args))[:-1])  # type: ignore[arg-type]

    monkeypatch.setattr(walk, "group_members", lossy)
    with pytest.raises(RunError, match="members were read"):
        decode_here(parts_of(path)[0], decoder())


def test_planning_and_reading_must_find_the_same(path: Path) -> None:
    first, *_, last = parts_of(path, 8000)
    for part in (first, last):
        assert part.num_samples is not None
        table = decode_here(part, decoder())
        other = part.to_json().replace(
            f'"num_samples":{part.num_samples}', f'"num_samples":{part.num_samples + 1}'
        )
        at = table.column_names.index("part")
        column = pa.array([other] * table.num_rows)
        with pytest.raises(RunError, match="planning found"):
            ledger(table.set_column(at, "part", column))


class Lossy(HereExecutor):
    """Forgets the last part."""

    def run(self, parts, stage, on_loss=lambda: None):
        return super().run(parts[:-1], stage)


def test_a_part_that_does_not_come_back_ends_the_job(
    path: Path, workplace_here: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = parts_of(path, 8000)
    monkeypatch.setattr(workplace_module, "HereExecutor", Lossy)
    job = BatchJob("preprocess", parts, decoder(), NoneSink(), workplace=workplace_here)
    job.begin()
    with pytest.raises(RunError, match=f"1 of {len(parts)} parts did not come back"):
        job.run(Summary("preprocess"))


def test_strays_are_counted_up_to_the_summary(tmp_path: Path) -> None:
    samples = make_samples(3, seed=1)
    path = write_tar(tmp_path / "x.tar", {**samples, "Thumbs": {"db": b"x"}, "._s": {"png": b"x"}})
    summary = Summary("preprocess")
    for part in parts_of(path, 1):
        summary.count(ledger(decode_here(part, decoder())))
    assert (summary.samples_read, summary.members_passed_over) == (3, 2)
    assert '"members_passed_over": 2' in summary.to_json()
    tally = Tally()
    list(reader.read_part(parts_of(path)[0], None, tally))
    assert tally.strays == Counter({"system": 1, "AppleDouble": 1})


@pytest.mark.parametrize("part_bytes", [1, 1 << 30])
@pytest.mark.parametrize("packed", [False, True])
def test_samples_that_are_not_side_by_side_are_bad_rows_without_values(
    tmp_path: Path, part_bytes: int, packed: bool
) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as tar:
        for name in ("a.png", "b.png", "a.txt", "c.png", "b.txt"):
            info = tarfile.TarInfo(name)
            info.size = len(png())
            tar.addfile(info, io.BytesIO(png()))
    if packed:
        path.with_suffix(".tar.gz").write_bytes(gzip.compress(path.read_bytes()))
        path = path.with_suffix(".tar.gz")
    rows = []
    for part in parts_of(path, part_bytes):
        table = decode_here(part, decoder())
        ledger(table)
        rows += table.to_pylist()
    reasons = [(row["key"], (row["error"] or {}).get("reason")) for row in rows]
    bad = "interleaved"
    assert reasons == [("a", bad), ("b", bad), ("a", bad), ("c", None), ("b", bad)]
    assert [row["image"] is not None for row in rows] == [False, False, False, True, False]
    assert [row["modalities"] for row in rows] == [[], [], [], ["image"], []]

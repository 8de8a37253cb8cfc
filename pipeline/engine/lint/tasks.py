"""Looks through shards in this process, or on Ray workers, one group of shards a task."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from functools import partial

import pyarrow as pa

from pipeline.config import ClusterConfig
from pipeline.engine.cluster import signals
from pipeline.engine.lint.findings import Follow, Inspector
from pipeline.engine.lint.inspection import Inspection
from pipeline.engine.observe.progress import Progress
from pipeline.inspection.picks import Pick
from pipeline.sample import NOTED, NOTES, OUTCOME, QUARANTINE_SCHEMA, QUARANTINED, Fault
from pipeline.shards.planning.plan import Part
from pipeline.sinks.quarantine import write_rows

HERE_BYTES = (
    1 << 30
)  # shards of together no more are looked through here: Ray takes longer to start
GROUP_BYTES = 256 << 20  # of shards in one task of a worker
RETRIES = 3  # of a task whose worker dies


@dataclass(frozen=True, slots=True)
class Stretch:
    """A shard, or the beginning of one, that is to be looked through.

    Attributes:
        split: The split it belongs to.
        part: What of it.
        size: Bytes of it.
    """

    split: str
    part: Part
    size: int


def runs_here(todo: Sequence[Stretch]) -> bool:
    """Whether this process looks through them sooner than Ray would: it takes seconds to start."""
    return len(todo) == 1 or sum(stretch.size for stretch in todo) <= HERE_BYTES


def connection(cluster: ClusterConfig, todo: Sequence[Stretch]) -> AbstractContextManager[object]:
    """Ray, if it is needed; in any case, what asks the process to stop interrupts the block."""
    if runs_here(todo):
        return signals.as_interrupt()
    from pipeline.engine.cluster.session import connect

    return connect(cluster)


def look_through(
    inspector: Inspector, todo: Sequence[Stretch], output: str, progress: Progress
) -> Iterator[tuple[str, Inspection]]:
    """Inspects all shards, and yields splits and what was found in the order of ``todo``.

    Args:
        inspector: How.
        todo: The shards.
        output: The folder of the quarantine, which is written on the way.
        progress: Told of each shard as it is done.

    Raises:
        InputError: A shard is gone, or cannot be reached.
    """
    if runs_here(todo):
        for stretch in todo:
            inspection = _inspect_group(inspector, [stretch], output, partial(progress.advance, 0))
            progress.advance(1)
            yield stretch.split, inspection
        return
    import ray

    from pipeline.engine.cluster.failures import plain_errors

    task = ray.remote(_inspect_group).options(max_retries=RETRIES)
    shared = ray.put(inspector)
    groups = list(_groups(todo))
    running = {task.remote(shared, group, output): at for at, group in enumerate(groups)}
    done: dict[int, Inspection] = {}
    with plain_errors("lint"):
        for at, group in enumerate(groups):
            while at not in done:
                [ready], _ = ray.wait(list(running))
                place = running.pop(ready)
                done[place] = ray.get(ready)
                census = done[place].census
                progress.advance(len(groups[place]), census.samples, census.bad)
            yield group[0].split, done.pop(at)


def smallest(picks: Iterable[Pick], number: int) -> list[Pick]:
    """The drawn samples of smallest hash, the smallest first: a draw from all, however they were come by."""
    return heapq.nlargest(number, picks)  # ranks are hashes turned negative


def _groups(todo: Iterable[Stretch]) -> Iterator[list[Stretch]]:
    """Neighbouring shards of a split that make one task."""
    group: list[Stretch] = []
    filled = 0
    for stretch in todo:
        if group and (group[0].split != stretch.split or filled + stretch.size > GROUP_BYTES):
            yield group
            group, filled = [], 0
        group.append(stretch)
        filled += stretch.size
    if group:
        yield group


def _inspect_group(
    inspector: Inspector, group: Sequence[Stretch], output: str, follow: Follow | None = None
) -> Inspection:
    """Looks through some shards of a split and writes their quarantine; on a worker, or here."""
    together = Inspection()
    for stretch in group:
        inspection = inspector.inspect(stretch.part, stretch.size, follow)
        if inspection.faults:
            write_rows(output, f"{stretch.split}-{stretch.part.id}", _rows(inspection.faults))
        together.census.merge(inspection.census)
        together.picks = smallest([*together.picks, *inspection.picks], inspector.num_picks)
    return together


def _rows(faults: Sequence[Fault]) -> pa.Table:
    rows = [
        {**asdict(f.source), "ordinal": f.ordinal, "reason": f.reason, "detail": f.detail}
        | {"setting": f.setting or None, OUTCOME: NOTED if f.reason in NOTES else QUARANTINED}
        for f in faults
    ]
    return pa.Table.from_pylist(rows, schema=QUARANTINE_SCHEMA)

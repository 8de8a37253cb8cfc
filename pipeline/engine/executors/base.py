"""What an executor is: whoever does the work of parts, in this process or on Ray; and the ledger of its results."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import pyarrow as pa

from pipeline.engine.decoding.part import decode_part
from pipeline.engine.infer.predictors import Predict, PredictorPool, Resources, predictor_loader
from pipeline.engine.observe.progress import Progress
from pipeline.errors import RunError
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.runs import Summary
from pipeline.shards.planning.plan import Part
from pipeline.sinks.ledger import PartResult

PARTS_REDONE = "parts_redone"  # in the summary's metrics, where a process or a node was lost
Item = TypeVar("Item")
Result = TypeVar("Result")
Written = TypeVar("Written")


@dataclass(frozen=True)
class Stage(Generic[Written]):
    """What is done with a part: it is decoded, predicted where there is a model, and written; all of it is picklable.

    Attributes:
        name: Of the job, for errors.
        decoder: How samples are decoded.
        pool: The processes that predict; None where nothing is predicted.
        load: Makes, once a process, what turns a decoded part into another table; None loads the pool's predictor.
        write: What is done with the table in the end; its small result is handed over.
    """

    name: str
    decoder: Decoder
    write: Callable[[pa.Table], Written]
    pool: PredictorPool | None = None
    load: Callable[[], Predict] | None = None

    def decode(self, part: Part) -> pa.Table:
        """The rows of a part."""
        return decode_part(part, self.decoder)

    @property
    def loader(self) -> Callable[[], Predict] | None:
        """Makes what predicts; None where nothing is predicted."""
        if self.pool is None:
            return None
        return self.load or predictor_loader(self.pool.spec)


def handed_over(table: pa.Table) -> pa.Table:
    """The ``write`` of a stage whose tables go to whoever asked for them."""
    return table


class Executor(Protocol):
    """Does the work of parts."""

    @property
    def resources(self) -> Resources:
        """What there is for it."""

    def run(
        self,
        parts: Sequence[Part],
        stage: Stage[Written],
        on_loss: Callable[[], None] = ...,
    ) -> Iterator[Written]:
        """Does a stage with every part, and yields the results in the order in which they are done.

        Whoever stops asking gives up what is in flight: of that, some may still be done.

        Args:
            parts: Which.
            stage: What is done with each.
            on_loss: Called for every part that is done again since a process or a node was lost.

        Raises:
            PipelineError: What the work raised.
        """

    def each(
        self, work: Callable[[Item], Result], items: Sequence[Item], name: str
    ) -> Iterator[Result]:
        """Does something else with each of many things, and yields the results in the order in which they are done.

        Args:
            work: Picklable.
            items: Picklable.
            name: Of the work, for errors.
        """

    def describe(self, pool: PredictorPool | None) -> str:
        """How parts will be done, in words, for a dry run."""


class PartLedger:
    """Counts what comes back of parts into the summary of a job, and sees that all of them come back.

    Args:
        name: Of the job.
        parts: Those that are done now.
        summary: Takes the counts.
        skipped: Parts that were done before.
    """

    def __init__(
        self, name: str, parts: Sequence[Part], summary: Summary, skipped: int = 0
    ) -> None:
        self._name, self._parts, self._summary, self._skipped = name, parts, summary, skipped
        self._losses = 0

    def lost(self) -> None:
        """Notes that a part is done again since a process or a node was lost."""
        self._losses += 1
        self._summary.metrics[PARTS_REDONE] = self._losses

    def enter(
        self, results: Iterable[Result], entry_of: Callable[[Result], PartResult]
    ) -> Iterator[tuple[Result, PartResult]]:
        """Counts each result, and hands it on with its entry.

        Args:
            results: One a part, in any order.
            entry_of: Result -> what became of the part's samples.

        Raises:
            RunError: Not all parts came back, which is a bug.
        """
        damaged, returned = set[str](), set[str]()
        self._summary.shards_damaged = 0
        total = self._skipped + len(self._parts)
        with Progress(self._name, total, "parts", self._skipped) as progress:
            for result in results:
                entry = entry_of(result)
                self._summary.parts_done += 1
                self._summary.count(entry)
                if entry.damages:
                    damaged.add(entry.shard)
                    self._summary.shards_damaged = len(damaged)
                returned.add(entry.part)
                progress.advance(1, entry.read, entry.quarantined)
                yield result, entry
            self._check_all(returned)

    def _check_all(self, returned: set[str]) -> None:
        missing = [part for part in self._parts if part.id not in returned]
        if missing:
            raise RunError(
                f"{len(missing)} of {len(self._parts)} parts did not come back",
                where=f"the first is shard={missing[0].shard} offset={missing[0].start}",
                fix="run the job again; if it happens again, this is a bug: report it with the log",
            )

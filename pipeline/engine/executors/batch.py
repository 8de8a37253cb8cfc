"""Batch jobs over parts: decode, optionally predict, write; each part committed alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from pipeline.config import Config
from pipeline.engine.cleaning.clean import Cleaned, Find
from pipeline.engine.executors.base import PartLedger, Stage
from pipeline.engine.executors.workplace import Workplace
from pipeline.engine.infer.predictors import PredictorPool, Resources
from pipeline.metrics.columns import Sums
from pipeline.metrics.statistics import add_sums
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.nightly.inventory import Inventory
from pipeline.runs import Summary
from pipeline.shards.planning.plan import Part
from pipeline.sinks.base import Sink
from pipeline.sinks.ledger import PartResult

T = TypeVar("T")
R = TypeVar("R")


@dataclass
class BatchJob:
    """What a batch job does with its parts.

    Attributes:
        name: Of the job.
        parts: All parts of the input.
        decoder: How they are decoded.
        sink: Where the rows go.
        workplace: Who does the work.
        pool: Says which processes predict, given what an executor has; None writes what was decoded.
        clean: Finds what is to be left out of the parts, given those that are done; None leaves nothing out.
        planned: All parts of the input, also where a retry does only some; set by :meth:`begin`.
        todo: Parts that are not done yet; set by :meth:`begin`.
        cleaned: What ``clean`` found; set by :meth:`begin`.
        sums: What the sink measured of all parts; set by :meth:`run`.
        retry: Does the bad samples of parts that are done, and nothing else.
        fingerprint: Of the model; empty where there is none.
        keep_deleted: Whether rows of shards that are gone from the input stay.
        follows: Goes where its input leads; other jobs are refused where the rows that are there are of another one.
        watch: Told of each commit; says whether to go on. What is in flight then may still be committed, and is
            published by the next job.
        publishing: Called when all is done that will be, before readers see any of it.
        done: Identities of the parts that are done; grows while the job runs.
        unpublished: Those of them that readers do not see; set by :meth:`begin`, and again by :meth:`run`.
        inventory: The shards, held against those that the output had; set by :meth:`begin`.
    """

    name: str
    parts: Sequence[Part]
    decoder: Decoder
    sink: Sink
    workplace: Workplace
    pool: Callable[[Resources], PredictorPool] | None = None
    clean: Find | None = None
    planned: Sequence[Part] = ()
    todo: list[Part] = field(default_factory=list)
    cleaned: Cleaned | None = None
    sums: Sums = field(default_factory=dict)
    retry: bool = False
    fingerprint: str = ""
    keep_deleted: bool = False
    follows: bool = False
    watch: Callable[[PartResult], bool] | None = None
    publishing: Callable[[], None] | None = None
    done: set[str] = field(default_factory=set)
    unpublished: set[str] = field(default_factory=set)
    inventory: Inventory | None = None

    def check(self) -> None:
        """Refuses an output that was made from something else; changes nothing."""
        self.sink.check(None if self.follows else self.parts)

    def begin(self) -> None:
        """Makes the output ready and finds what is still to do."""
        self.sink.begin(None if self.follows else self.parts, adds=self.retry)
        self.planned = self.parts
        recorded = self.sink.recorded()
        self.inventory = Inventory.take(self.parts, recorded)
        self.done = done = self.sink.done(self.parts)
        self.unpublished = done - {record.part for record in recorded}
        if self.retry:
            self.parts = [part for part in self.parts if part.id in done]
            self.todo = self.sink.retries(self.parts)
            return
        if self.clean is not None and any(part.id not in done for part in self.parts):
            self.cleaned = self.clean(self.parts, done)
            [self.parts] = self.cleaned.parts.values()
        self.todo = [part for part in self.parts if part.id not in done]

    def run(self, summary: Summary) -> None:
        """Does the parts that are to do, commits, and adds their counts to ``summary``."""
        summary.parts_skipped = len(self.parts) - len(self.todo)
        summary.fingerprint = self.fingerprint
        self.sums = {}
        book = PartLedger(self.name, self.todo, summary, summary.parts_skipped)
        for result, _ in book.enter(self._results(book.lost), lambda result: result):
            self.sums = add_sums(self.sums, result.statistics or {})
            self.done.add(result.part)
            if self.watch is not None and not self.watch(result):
                break
        if self.cleaned is not None and self.cleaned.report:
            summary.metrics |= self.cleaned.metrics
            summary.report["cleaning"] = self.cleaned.report.to_json()
        if self.publishing is not None:
            self.publishing()
        self._publish()

    def _publish(self) -> None:
        """Shows what is done: of a changed shard that is not, the rows of before and none of the new."""
        assert self.inventory is not None, "begin() comes first"
        held = self.inventory.held(self.planned, self.done)
        stays = held | self.inventory.deleted if self.keep_deleted or self.retry else held
        ready = [part for part in self.parts if part.id in self.done and part.shard not in held]
        shown = {part.id for part in ready}
        self.sink.commit(
            ready,
            keep=self.inventory.rows_of(stays),
            pending=[part.id for part in self.parts if part.id not in shown],
            each=partial(_each, self.workplace),
        )
        self.unpublished = self.done - shown

    def add_recorded(self) -> None:
        """Adds to ``sums`` those of the parts that were done before."""
        fresh = {part.id for part in self.todo}
        before = [part.id for part in self.parts if part.id not in fresh]
        for sums in self.sink.recorded_statistics(before):
            self.sums = add_sums(self.sums, sums)

    def _results(self, on_loss: Callable[[], None]) -> Iterator[PartResult]:
        if not self.todo:
            return
        executor = self.workplace.executor(len(self.todo))
        pool = None if self.pool is None else self.pool(executor.resources)
        stage = Stage(self.name, self.decoder, self.sink.write, pool)
        yield from executor.run(self.todo, stage, on_loss)


def _each(workplace: Workplace, work: Callable[[T], R], items: Sequence[T]) -> list[R]:
    return workplace.each(work, items, "merging")


def check_bad_fraction(config: Config, summary: Summary, where: str) -> None:
    """Raises when more is bad than the configuration allows; the good ones are committed by then.

    Raises:
        BadDataError: Too much is.
    """
    summary.check_bad(config.input.max_bad_fraction, where)

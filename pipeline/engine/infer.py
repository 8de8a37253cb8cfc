"""Batch jobs over parts: decode, optionally predict, write; each part committed alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa

from pipeline import __version__, runs
from pipeline.config import Config
from pipeline.engine.cleaning import Cleaned, Find, cleaning_of
from pipeline.engine.cluster import num_cpus, resource
from pipeline.engine.failures import plain_errors
from pipeline.engine.prepare import plan_parts
from pipeline.engine.progress import Progress
from pipeline.engine.tasks import RETRIES, decode_part, work_through
from pipeline.errors import BadDataError
from pipeline.metrics.statistics import Sums, add_sums
from pipeline.modalities.decode import Decoder
from pipeline.models.bundle import Bundle
from pipeline.objectives import prediction_fields
from pipeline.runs import Summary
from pipeline.shards.plan import Part
from pipeline.sinks import ParquetConfig
from pipeline.sinks.base import PartResult, Sink
from pipeline.sinks.none import NoneSink
from pipeline.sinks.parquet import ParquetSink

if TYPE_CHECKING:  # Ray Data's import takes half a second, and jobs without a model do without it
    from ray.data import Dataset

WRITE_CPUS = 0.05
WAVE_PARTS = 20_000  # parts of one execution: Ray makes and keeps all its tasks in the driver before the first runs
LEDGER = "ledger"  # the column of ledgers, which travel as JSON: Arrow would join their keys into one wide type
ACTOR_CPUS = 0.5  # what an actor is counted as; beside it, decode tasks keep their own share


@dataclass(frozen=True)
class PredictorPool:
    """The actors that hold a bundle.

    Attributes:
        bundle: Folder of the bundle.
        batch_size: Samples of a micro-batch.
        num_actors: How many.
        num_gpus: Of each.
        num_threads: CPU threads of each.
        float16: Embeddings in half precision.
    """

    bundle: str
    batch_size: int
    num_actors: int
    num_gpus: float
    num_threads: int = 1
    float16: bool = False

    def attach(self, blocks: Dataset) -> Dataset:
        """Adds the predictions to the plan of a data set."""
        from ray.data import ActorPoolStrategy

        return blocks.map_batches(
            _Predict,
            fn_constructor_args=(self.bundle, self.batch_size, self.num_threads),
            fn_constructor_kwargs={"float16": self.float16},
            compute=ActorPoolStrategy(size=self.num_actors),
            batch_size=None,
            batch_format="pyarrow",
            num_cpus=ACTOR_CPUS,
            num_gpus=self.num_gpus,
        )


@dataclass
class BatchJob:
    """What a batch job does with its parts.

    Attributes:
        name: Of the job.
        parts: All parts of the input.
        decoder: How they are decoded.
        sink: Where the rows go.
        pool: The actors that predict; None writes what was decoded.
        clean: Finds what is to be left out of the parts, given those that are done; None leaves nothing out.
        todo: Parts that are not done yet; set by :meth:`begin`.
        cleaned: What ``clean`` found; set by :meth:`begin`.
        sums: What the sink measured of all parts; set by :meth:`run`.
        retry: Does the bad samples of parts that are done, and nothing else.
    """

    name: str
    parts: Sequence[Part]
    decoder: Decoder
    sink: Sink
    pool: PredictorPool | None = None
    clean: Find | None = None
    todo: list[Part] = field(default_factory=list)
    cleaned: Cleaned | None = None
    sums: Sums = field(default_factory=dict)
    retry: bool = False

    def begin(self) -> None:
        """Makes the output ready and finds what is still to do."""
        self.sink.begin()
        done = self.sink.done(self.parts)
        if self.retry:
            self.parts = [part for part in self.parts if part.id in done]
            self.todo = self.sink.retries(self.parts)
            return
        if self.clean is not None and any(part.id not in done for part in self.parts):
            self.cleaned = self.clean(self.parts, done)
            [self.parts] = self.cleaned.parts.values()
        self.todo = [part for part in self.parts if part.id not in done]

    def plan(self, pool: PredictorPool, parts: Sequence[Part]) -> Dataset:
        """The lazy data set that predicts these parts; its rows are their ledgers."""
        from pipeline.engine.data import read_parts

        return pool.attach(read_parts(parts, self.decoder)).map_batches(
            cast(Any, _write_row),
            fn_args=(self.sink,),
            batch_size=None,
            batch_format="pyarrow",
            num_cpus=WRITE_CPUS,
            max_retries=RETRIES,
        )

    def run(self, summary: Summary) -> None:
        """Does the parts that are to do, commits, and adds their counts to ``summary``."""
        summary.parts_skipped = len(self.parts) - len(self.todo)
        damaged: set[str] = set()
        self.sums = {}
        with Progress(self.name, len(self.parts), "parts", summary.parts_skipped) as progress:
            for result in self._results():
                summary.parts_done += 1
                summary.count(result.written, result.quarantined, result.filtered, result.reasons)
                if result.damages:
                    damaged.add(result.shard)
                self.sums = add_sums(self.sums, result.statistics or {})
                progress.advance(1, result.read, result.quarantined)
        summary.shards_damaged = len(damaged)
        if self.cleaned is not None and self.cleaned.report:
            summary.metrics |= self.cleaned.metrics
            summary.report["cleaning"] = self.cleaned.report
        self.sink.commit(self.parts)
        fresh = {part.id for part in self.todo}
        before = [part.id for part in self.parts if part.id not in fresh]
        for sums in self.sink.recorded_statistics(before):
            self.sums = add_sums(self.sums, sums)

    def _results(self) -> Iterator[PartResult]:
        with plain_errors(self.name):
            if self.pool is None:
                work = _DecodeAndWrite(self.decoder, self.sink)
                yield from work_through(self.todo, work, num_cpus())
                return
            for start in range(0, len(self.todo), WAVE_PARTS):
                ledgers = self.plan(self.pool, self.todo[start : start + WAVE_PARTS])
                for batch in ledgers.iter_batches(batch_size=None, batch_format="pyarrow"):
                    yield from map(_result, cast(pa.Table, batch).to_pylist())


@dataclass(frozen=True)
class _DecodeAndWrite:
    """The whole way of a part that no model sees."""

    decoder: Decoder
    sink: Sink

    def __call__(self, part: Part) -> PartResult:
        return self.sink.write(decode_part(part, self.decoder))


class _Predict:
    """Builds the predictor in the actor, so that the driver need not import torch."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        from pipeline.objectives.predictor import Predictor

        self.predict = Predictor(*args, **kwargs)

    def __call__(self, table: pa.Table) -> pa.Table:
        return self.predict(table)


def _write_row(table: pa.Table, sink: Sink) -> pa.Table:
    """The last stage: hands a whole part to the sink."""
    return pa.table({LEDGER: [json.dumps(asdict(sink.write(table)))]})


def _result(row: dict[str, Any]) -> PartResult:
    """The ledger that :func:`_write_row` made a row of."""
    return PartResult(**json.loads(row[LEDGER]))


def predictor_pool(config: Config, bundle: str) -> PredictorPool:
    """As many actors as the configuration or the cluster asks for.

    On CPUs, one actor and one thread for every two cores, so that decoding has the others.
    """
    gpus = config.cluster.gpus_per_worker
    by_size = int(resource("GPU") / gpus) if gpus else max(1, num_cpus() // 2)
    return PredictorPool(
        bundle=bundle,
        batch_size=config.infer.batch_size,
        num_actors=max(1, config.infer.actors or by_size),
        num_gpus=gpus,
        float16=config.infer.float16,
    )


def inference_sink(config: Config, bundle: Bundle, output: str) -> Sink:
    """The sink of a model's predictions."""
    if not isinstance(config.sink, ParquetConfig):
        return NoneSink()
    fields = prediction_fields(bundle, float16=config.infer.float16)
    identity = {
        "model": bundle.fingerprint,
        "modalities": bundle.modalities.for_job(config.modalities).decoding(exclude_none=False),
        "metadata": list(config.input.metadata),
        "float16": config.infer.float16,
        **config.cleaning.identity(training=config.infer.input == "train"),
    }
    footer = {
        "model": bundle.fingerprint,
        "config": runs.fingerprint(identity),
        "pipeline_version": __version__,
        "classes": json.dumps(list(bundle.classes), ensure_ascii=False),
    }
    return ParquetSink(output, config.sink, identity, footer, tuple(each.name for each in fields))


def check_bad_fraction(config: Config, summary: Summary, where: str) -> None:
    """Raises when more is bad than the configuration allows; the good ones are committed by then.

    Raises:
        BadDataError: Too much is.
    """
    allowed = config.input.max_bad_fraction
    if summary.bad_fraction > allowed:
        raise BadDataError(
            f"{summary.samples_quarantined} of {summary.samples_read} samples are bad and "
            f"{summary.shards_damaged} shards are damaged, {summary.bad_fraction:.1%} of the input",
            where=where,
            fix=f"look at _quarantine there, or raise input.max_bad_fraction ({allowed})",
            reasons=summary.reasons,
        )


def inference_job(config: Config) -> BatchJob:
    """The batch inference that a configuration describes.

    The bundle says how samples are decoded, and the configuration which are left out: a model may be asked about
    samples that its training went without.

    Raises:
        ModelError: No bundle, or one that does not fit the configuration.
    """
    folder = config.folder("model", config.infer.model)
    bundle = Bundle.load(folder)
    bundle.check_modalities(config.modalities, "configuration")
    decoder = Decoder.build(
        bundle.modalities.for_job(config.modalities),
        bundle.tokenizer,
        metadata=config.input.metadata,
        **config.handling(),
    )
    return BatchJob(
        name="infer",
        parts=plan_parts(
            config,
            config.infer.input,
            "infer.input",
            tokenizer=bundle.tokenizer,
            metadata=config.input.metadata,
        ),
        decoder=decoder,
        sink=inference_sink(config, bundle, config.folder("embeddings", config.infer.output)),
        pool=predictor_pool(config, folder),
        retry=config.infer.retry_quarantined,
        clean=cleaning_of(config, "infer", config.infer.input, decoder),
    )

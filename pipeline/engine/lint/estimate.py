"""What preprocessing will cost: measured on a few samples drawn at random, and carried over to all."""

from __future__ import annotations

import itertools
import math
import os
import resource
import tempfile
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import storage
from pipeline.config import Config
from pipeline.engine.decoding.isolated import harmless
from pipeline.engine.lint.drawn import read_picks, tokenizer_for
from pipeline.inspection.picks import Pick
from pipeline.inspection.report import Estimate
from pipeline.logs import without_library_noise
from pipeline.metrics.statistics import Measure
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.sample import ERROR, ORDINAL, PART_ROWS, PART_SAMPLES, Sample
from pipeline.shards.planning.plan import Part
from pipeline.sinks import ParquetConfig
from pipeline.sinks.output import Output

TOKENIZER_SAMPLES = 1000  # drawn to train a tokenizer from, where the run has none yet
GROUPS = 8  # of samples of similar size, each measured for itself
PASSES = 4  # of each measurement at most
SECONDS = 5.0  # of decoding, after which no further pass begins
COPIES = 2  # of a part's decoded rows in a worker: the arrays, and the table made of them
PART = Part("estimate", "", "estimate")


@dataclass(frozen=True)
class Work:
    """What there is to preprocess.

    Attributes:
        splits: Of these splits.
        samples: Samples, those left out that are known to be bad.
        bytes: Content of the fields that are decoded.
        parts: Parts they are cut into.
        largest_part: Samples of the largest part.
    """

    splits: tuple[str, ...]
    samples: int
    bytes: float
    parts: int
    largest_part: int


def estimate(config: Config, picks: Sequence[Pick], work: Work) -> Estimate | None:
    """Decodes and writes some of the drawn samples, and carries their cost over to all.

    Args:
        config: The configuration.
        picks: The drawn samples.
        work: What there is to do.

    Returns:
        None where no sample was drawn.
    """
    ranked = sorted(picks, reverse=True)
    samples = read_picks(ranked[: config.lint.estimate_samples])
    if not samples:
        return None
    decoder = Decoder.build(
        config.modalities,
        tokenizer_for(config, ranked),
        metadata=config.input.metadata,
        target=config.objective.targets() if config.objective else None,
        target_optional=True,
        **config.handling(),
    )
    samples = harmless(decoder, samples)
    if not samples:
        return None
    with _one_thread(), without_library_noise():
        sizes, seconds = _time_groups(decoder, samples)
        table = decoder.decode(samples, PART.to_json())
    decode_seconds, error = carry_over(sizes, seconds, work.samples, work.bytes)

    num_good = int(table.num_rows - table[ERROR].is_valid().to_numpy().sum())
    good = work.samples * num_good / len(samples)
    one = table.filter(pc.invert(table[ERROR].is_valid())).slice(0, 1)
    small, large = _Written.of(config, decoder, one), _Written.of(config, decoder, table)
    row_bytes = max(0.0, large.bytes - small.bytes) / max(1, num_good - 1)
    row_seconds = max(0.0, large.seconds - small.seconds) / max(1, num_good - 1)
    write_seconds = work.parts * small.seconds + row_seconds * good

    cores = config.cluster.num_cpus or os.cpu_count() or 1
    busy = max(1, min(cores, work.parts))
    decoded = table.nbytes / len(samples)
    return Estimate(
        of=work.splits,
        drawn=len(samples),
        samples=work.samples,
        decode_cpu_seconds=round(decode_seconds, 4),
        error_fraction=round(error, 4),
        write_cpu_seconds=round(write_seconds, 4),
        cores=busy,
        wall_seconds=round((decode_seconds + write_seconds) / busy, 4),
        output_bytes=round(small.bytes + row_bytes * max(0.0, good - 1)),
        decoded_bytes=round(decoded * work.samples),
        peak_memory_bytes=round(busy * (_own_bytes() + COPIES * decoded * work.largest_part)),
    )


def carry_over(
    sizes: np.ndarray, seconds: np.ndarray, num_samples: int, num_bytes: float
) -> tuple[float, float]:
    """Carries the time of a few groups of samples over to all samples.

    Time is taken as so much a sample and so much a byte, neither negative, fitted to the groups.

    Args:
        sizes: (G, 2), samples and bytes of each group.
        seconds: (G,), its time.
        num_samples: All samples.
        num_bytes: All bytes.

    Returns:
        Seconds for all, and the standard error as a fraction of them.

    Source: Cochran, Sampling Techniques (1977), chapter 7, regression estimators.
    """
    counts, weights = sizes[:, 0], sizes[:, 1]
    of_bytes, of_samples = 0.0, float(seconds.sum() / counts.sum())
    if len(seconds) > 2 and np.ptp(weights / counts) > 0:
        mean_bytes, mean_seconds = weights / counts, seconds / counts
        slope, level = np.polyfit(mean_bytes, mean_seconds, 1, w=np.sqrt(counts))
        if level < 0:  # time in proportion to the bytes
            slope, level = seconds.sum() / weights.sum(), 0.0
        if slope > 0:
            of_bytes, of_samples = float(slope), float(level)
    total = of_samples * num_samples + of_bytes * num_bytes
    residuals = (seconds - of_samples * counts - of_bytes * weights) / counts
    spread = (
        math.sqrt(float(residuals @ residuals) / max(1, len(residuals) - 2) / len(residuals))
        * num_samples
    )
    return total, spread / total if total else 0.0


def _own_bytes() -> int:
    """Memory of this process, which has imported what a worker has, without what it shares with others."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            resident, shared = map(int, file.read().split()[1:3])
    except OSError:  # not Linux
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return (resident - shared) * os.sysconf("SC_PAGE_SIZE")


def _one_thread() -> AbstractContextManager[object]:
    """Keeps linear algebra to one thread, as Ray does in a task: others would burn CPU time while they wait."""
    from threadpoolctl import (  # type: ignore[import-not-found, import-untyped, unused-ignore]
        threadpool_limits,  # scikit-learn's own
    )

    limits: AbstractContextManager[object] = threadpool_limits(1)
    return limits


def _time_groups(decoder: Decoder, samples: Sequence[Sample]) -> tuple[np.ndarray, np.ndarray]:
    """CPU time of decoding groups of samples of similar size: (G, 2) samples and bytes, and (G,) seconds."""

    def weight(sample: Sample) -> int:
        used = {name for fields in decoder.fields.values() for name in fields}
        return sum(field.size for name, field in sample.fields.items() if name in used)

    ordered = sorted(samples, key=weight)
    bounds = np.linspace(0, len(ordered), min(GROUPS, len(ordered)) + 1).astype(int)
    groups = [ordered[a:b] for a, b in itertools.pairwise(bounds)]
    sizes = np.array([[len(group), sum(map(weight, group))] for group in groups], dtype=np.float64)
    passes: list[list[float]] = []
    began = time.monotonic()
    while len(passes) < PASSES and (not passes or time.monotonic() - began < SECONDS):
        passes.append([_seconds(decoder, group) for group in [*groups, samples]])
    # The first is left out where there are others: in it things are imported, and memory is got from the system.
    medians = np.median(passes[1:] or passes, axis=0)
    # Groups tell how time grows with size; all at once, as in a part, how much of it there is.
    return sizes, medians[:-1] * (medians[-1] / medians[:-1].sum())


def _seconds(decoder: Decoder, group: Sequence[Sample]) -> float:
    began = time.process_time()
    decoder.decode(group, PART.to_json())
    return time.process_time() - began


class _Written(NamedTuple):
    """What a part takes when it is written as Parquet: bytes, and CPU time."""

    bytes: int
    seconds: float

    @classmethod
    def of(cls, config: Config, decoder: Decoder, table: pa.Table) -> _Written:
        """Writes a part's rows, for a moment, and measures; the fastest of a few passes counts."""
        for name in (PART_ROWS, PART_SAMPLES):
            count = pa.array([table.num_rows] * table.num_rows, pa.int32())
            table = table.set_column(table.column_names.index(name), name, count)
        if not table.num_rows:
            return cls(0, 0.0)
        measure = Measure(config.modalities.measures(), labelled=decoder.target is not None)
        takes_rows = config.sink.keeps_rows and not config.sink.copies_members
        settings = config.sink if takes_rows else ParquetConfig()
        best = math.inf
        for _ in range(PASSES):
            with tempfile.TemporaryDirectory(prefix="lint-") as folder:
                began = time.process_time()
                sink = settings.build(
                    Output(folder, {}, {}, tuple(decoder.codecs), (ORDINAL,), measure)
                )
                sink.begin()
                sink.write(table)
                sink.commit([PART])
                best = min(best, time.process_time() - began)
                size = sum(i.size for i in storage.list_files(folder) if i.url.endswith(".parquet"))
        return cls(size, best)

"""Judges a variational autoencoder: bounds, how likely each modality is, and labels made of every subset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import JsonValue

from pipeline.metrics.record import (
    ComparedScores,
    EvaluationRecord,
    OverallScores,
    SampleScores,
    difference_json,
)
from pipeline.metrics.resampling.bootstrap import bootstrap_interval
from pipeline.metrics.resampling.estimate import Estimate, paired_difference
from pipeline.metrics.subsets import named_seed, rows_of, subset_name
from pipeline.objectives.base import Judging
from pipeline.objectives.evaluation import MadeValues
from pipeline.objectives.gathered import Gathered
from pipeline.objectives.generated.coherence import MADE, coherences
from pipeline.objectives.vae.rows import BOUND, ELBO, GENERATED_LABEL, nll
from pipeline.sample import LABEL

if TYPE_CHECKING:
    from pipeline.objectives.vae import VaeConfig

Float = NDArray[np.float64]


class VaeEvaluation(Gathered):
    """Bounds and likelihoods of whole samples, and for every subset the bound and the labels that are made of it.

    Args:
        config: The objective's section.
        made: Modalities whose values are made.
        judging: How the split is judged.

    Attributes:
        shown: Examples of what was made, and what a judge says of it; None before that is known.
    """

    shown: MadeValues | None = None

    def __init__(self, config: VaeConfig, made: Sequence[str], judging: Judging) -> None:
        super().__init__()
        self.metric, self.judging, self.made = config.metric, judging, tuple(made)
        bound = [BOUND] if config.importance_samples else []
        labels = [GENERATED_LABEL] if config.label is not None else []
        self.numbers = (ELBO, *bound, *map(nll, made))
        self.columns = (*self.numbers, *labels)

    def compute(self) -> EvaluationRecord:
        """The content of ``evaluation/metrics.json``."""
        present = self.present
        whole = subset_name(present)
        values = {name: self._values(table) for name, table in self.predictions.items()}
        rows = rows_of(whole, present, len(self._texts))
        return EvaluationRecord(
            split=self.judging.split,
            modalities=tuple(present),
            overall=OverallScores.of(
                int(rows.sum()), self._estimates(values[whole], rows, "overall")
            ),
            subsets={
                name: self._subset(
                    name, numbers, values[whole], rows_of(name, present, len(self._texts))
                )
                for name, numbers in values.items()
            },
            details={} if self.shown is None else {MADE: self.shown.to_json()},
        )

    def _values(self, rows: pa.Table) -> dict[str, Float]:
        """Metric -> (N,) float64, NaN where a sample has none."""
        values = {name: _floats(rows[name]) for name in self.numbers if name in rows.column_names}
        if GENERATED_LABEL in self.columns:
            values[self.metric] = label_hits(rows[GENERATED_LABEL], self._texts)
        return values

    def _estimates(
        self, values: Mapping[str, Float], rows: NDArray[np.bool_], name: str
    ) -> dict[str, Estimate]:
        return {
            metric: self._mean(column[rows], f"{name} {metric}")
            for metric, column in values.items()
        }

    def _mean(self, values: Float, name: str) -> Estimate:
        defined = values[~np.isnan(values)]
        if not len(defined):
            return Estimate(None, undefined="no samples")
        interval = bootstrap_interval(
            defined,
            seed=named_seed(self.judging.seed, name),
            num_resamples=self.judging.num_bootstrap,
        )
        return Estimate(float(defined.mean()), interval)

    def _subset(
        self,
        name: str,
        values: Mapping[str, Float],
        whole: Mapping[str, Float],
        rows: NDArray[np.bool_],
    ) -> ComparedScores:
        scores = OverallScores.of(int(rows.sum()), self._estimates(values, rows, name))
        first, second = values[self.metric][rows], whole[self.metric][rows]
        paired = _paired(first, second, self.judging, name)
        return ComparedScores(
            num_samples=scores.num_samples,
            metrics=scores.metrics,
            intervals=scores.intervals,
            undefined=scores.undefined,
            interval=scores.interval_of(self.metric),
            difference=paired.value,
            difference_interval=paired.interval,
        )


def label_hits(made: pa.ChunkedArray | pa.Array, labels: Sequence[str | None]) -> Float:
    """(N,) float64, 1 where the label that was made is the sample's, NaN where that has none.

    Args:
        made: Labels, (N,) strings.
        labels: Of the samples; None, or empty, for none.
    """
    pairs = zip(made.to_pylist(), labels, strict=True)
    return np.array([float(name == label) if label else np.nan for name, label in pairs])


def values_of(rows: pa.Table, metric: str) -> Float:
    """(N,) float64 of the metric of rows of ``evaluation/predictions.parquet``; NaN where a sample has none."""
    if metric in rows.column_names:
        return _floats(rows[metric])
    return label_hits(rows[GENERATED_LABEL], rows[LABEL].to_pylist())


def difference(
    first: pa.Table, second: pa.Table, metric: str, judging: Judging
) -> dict[str, JsonValue]:
    """The paired difference of two models, from their rows of the same samples."""
    ours, theirs = values_of(first, metric), values_of(second, metric)
    return difference_json(_paired(ours, theirs, judging, ""))


def sample_scores(rows: pa.Table, metric: str) -> SampleScores:
    """The metric of each sample; of one that lacks a label, that it was not made right."""
    return SampleScores(metric, np.nan_to_num(values_of(rows, metric)), "max")


def summary_metrics(evaluation: EvaluationRecord) -> dict[str, float]:
    """The flat numbers of ``summary.json``, such as ``elbo_image``; undefined ones left out."""
    numbers: dict[str, float | None] = dict(evaluation.overall.metrics)
    for subset, scores in evaluation.subsets.items():
        numbers |= {
            f"{name}_{subset}": value
            for name, value in scores.metrics.items()
            if not name.startswith(nll(""))
        }
    numbers |= coherences(evaluation.details.get(MADE))
    return {name: float(value) for name, value in numbers.items() if value is not None}


def _floats(column: pa.ChunkedArray | pa.Array) -> Float:
    values = column.to_numpy() if isinstance(column, pa.ChunkedArray) else column.to_numpy(False)
    return np.asarray(values, np.float64)


def _paired(first: Float, second: Float, judging: Judging, name: str) -> Estimate:
    both = ~np.isnan(first) & ~np.isnan(second)
    return paired_difference(
        first[both],
        second[both],
        seed=named_seed(judging.seed, name),
        num_resamples=judging.num_bootstrap,
    )

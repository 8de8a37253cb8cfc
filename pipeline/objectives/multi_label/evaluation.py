"""Judges a multi-label classifier."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.metrics.multi_label import (
    ClassScores,
    MultiLabelMetrics,
    multi_label_metrics,
    paired_map_difference,
    precision_recall,
)
from pipeline.metrics.subsets import named_seed, rows_of, subset_name
from pipeline.objectives.base import Judging
from pipeline.objectives.columns import matrix
from pipeline.objectives.gathered import Gathered
from pipeline.objectives.multi_label.labels import labels_of
from pipeline.objectives.multi_label.rows import PROBABILITIES
from pipeline.sample import LABEL

ESTIMATES = (
    "mean_average_precision",
    "f1_micro",
    "f1_macro",
    "subset_accuracy",
    "hamming_loss",
)


class MultiLabelEvaluation(Gathered):
    """Metrics of a labelled split, for the whole model and for every subset of its modalities.

    A subset is judged on the samples that have at least one of its modalities.

    Args:
        classes: The K class names.
        thresholds: The K probabilities from which on a class is predicted.
        judging: How the split is judged.
    """

    columns = (PROBABILITIES,)

    def __init__(
        self, classes: Sequence[str], thresholds: Sequence[float], judging: Judging
    ) -> None:
        super().__init__()
        self.classes, self.thresholds, self.judging = classes, thresholds, judging

    def compute(self) -> dict[str, Any]:
        """The content of ``evaluation/metrics.json``.

        Returns:
            JSON-ready: ``split``, ``classes``, ``modalities``, ``overall`` (the numbers of
            :class:`pipeline.metrics.multi_label.MultiLabelMetrics`, their ``intervals``, what is ``undefined`` and why,
            ``per_class`` and curves ``pr``), ``subsets`` (subset -> the numbers, ``interval`` of the mean average
            precision, and its paired ``difference`` from the whole model on the same samples) and an empty
            ``comparison``.
        """
        labels, present = self._labels(), self.present
        probabilities = {
            name: matrix(table[PROBABILITIES]).astype(np.float64)
            for name, table in self.predictions.items()
        }
        complete = probabilities[subset_name(present)]
        rows = rows_of(subset_name(present), present, len(labels))
        metrics = self._metrics("overall", labels[rows], complete[rows])
        curves = precision_recall(self.classes, labels[rows], complete[rows])
        subsets = {}
        for name, values in probabilities.items():
            rows = rows_of(name, present, len(labels))
            subsets[name] = self._subset(name, labels[rows], values[rows], complete[rows])
        return {
            "split": self.judging.split,
            "classes": list(self.classes),
            "modalities": list(present),
            "overall": {**_flattened(metrics), "pr": curves},
            "subsets": subsets,
            "comparison": [],
        }

    def _labels(self) -> NDArray[np.bool_]:
        return _indicators(map(labels_of, self.texts), self.classes)

    def _metrics(
        self, name: str, labels: NDArray[np.bool_], probabilities: NDArray[np.float64]
    ) -> MultiLabelMetrics:
        return multi_label_metrics(
            self.classes,
            labels,
            probabilities,
            self.thresholds,
            seed=named_seed(self.judging.seed, name),
            num_resamples=self.judging.num_bootstrap,
        )

    def _subset(
        self,
        name: str,
        labels: NDArray[np.bool_],
        probabilities: NDArray[np.float64],
        whole: NDArray[np.float64],
    ) -> dict[str, Any]:
        """The numbers of one subset, and how far they are from those of the whole model."""
        metrics = self._metrics(name, labels, probabilities)
        difference = paired_map_difference(
            labels,
            probabilities,
            whole,
            seed=named_seed(self.judging.seed, name),
            num_resamples=self.judging.num_bootstrap,
        )
        interval = metrics.mean_average_precision.interval
        return {
            "num_samples": metrics.num_samples,
            **{estimate: getattr(metrics, estimate).value for estimate in ESTIMATES},
            "interval": list(interval) if interval else None,
            "difference": difference.value,
            "difference_interval": list(difference.interval) if difference.interval else None,
        }


def difference(
    first: pa.Table, second: pa.Table, classes: Sequence[str], judging: Judging
) -> dict[str, Any]:
    """The paired difference of two models' mean average precisions, from their rows of the same samples."""
    probabilities = (matrix(rows[PROBABILITIES]).astype(np.float64) for rows in (first, second))
    paired = paired_map_difference(
        _indicators(first[LABEL].to_pylist(), classes),
        *probabilities,
        seed=judging.seed,
        num_resamples=judging.num_bootstrap,
    )
    return {
        "difference": paired.value,
        "difference_interval": list(paired.interval) if paired.interval else None,
    }


def _indicators(labels: Iterable[Sequence[str]], classes: Sequence[str]) -> NDArray[np.bool_]:
    """(N, K): which classes each of N samples has."""
    ids = {name: index for index, name in enumerate(classes)}
    rows = [np.isin(np.arange(len(ids)), [ids[name] for name in names]) for names in labels]
    return np.array(rows, bool).reshape(len(rows), len(ids))


def flat(evaluation: Mapping[str, object]) -> dict[str, float]:
    """The numbers of ``summary.json``, ``mean_average_precision_SUBSET`` included, undefined ones left out."""
    values = dict(_numbers(evaluation))
    return {name: float(value) for name, value in values.items() if value is not None}


def _numbers(evaluation: Mapping[str, Any]) -> Iterator[tuple[str, float | None]]:
    for name in ESTIMATES:
        yield name, evaluation["overall"][name]
    for subset, metrics in evaluation["subsets"].items():
        yield f"mean_average_precision_{subset}", metrics["mean_average_precision"]


def _flattened(metrics: MultiLabelMetrics) -> dict[str, Any]:
    """Metrics as JSON: each value under its name, and beside them intervals and the reasons of what is undefined."""
    estimates = {name: getattr(metrics, name) for name in ESTIMATES}
    return {
        "num_samples": metrics.num_samples,
        **{name: estimate.value for name, estimate in estimates.items()},
        "intervals": {
            name: list(estimate.interval)
            for name, estimate in estimates.items()
            if estimate.interval
        },
        "undefined": {
            name: estimate.undefined for name, estimate in estimates.items() if estimate.undefined
        },
        "per_class": {name: _class_row(scores) for name, scores in metrics.per_class.items()},
    }


def _class_row(scores: ClassScores) -> dict[str, Any]:
    row = asdict(scores)
    estimate = scores.average_precision
    row["average_precision"] = estimate.value
    row["interval"] = list(estimate.interval) if estimate.interval else None
    return row

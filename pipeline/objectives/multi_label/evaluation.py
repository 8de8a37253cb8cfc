"""Judges a multi-label classifier."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import JsonValue, TypeAdapter

from pipeline.metrics.curves import Curve
from pipeline.metrics.multi_label import (
    ClassScores,
    MultiLabelMetrics,
    multi_label_metrics,
    paired_map_difference,
    precision_recall,
)
from pipeline.metrics.record import (
    ComparedScores,
    EvaluationRecord,
    OverallScores,
    SampleScores,
    difference_json,
)
from pipeline.metrics.resampling.estimate import Estimate
from pipeline.metrics.subsets import named_seed, rows_of, subset_name
from pipeline.objectives.base import Judging
from pipeline.objectives.columns import matrix
from pipeline.objectives.gathered import Gathered
from pipeline.objectives.multi_label.labels import labels_of
from pipeline.objectives.multi_label.rows import PREDICTION, PROBABILITIES
from pipeline.sample import LABEL

ESTIMATES = (
    "mean_average_precision",
    "f1_micro",
    "f1_macro",
    "subset_accuracy",
    "hamming_loss",
)


@dataclass(frozen=True)
class LabelDetails:
    """What an evaluation tells of each class.

    Attributes:
        per_class: Class -> its metrics, in the order of the classes.
        pr: Class -> ``recall`` and ``precision``; the most frequent ones.
    """

    per_class: Mapping[str, ClassScores] = field(default_factory=dict)
    pr: Mapping[str, Curve] = field(default_factory=dict)

    def to_json(self) -> dict[str, JsonValue]:
        """For the details of :class:`pipeline.metrics.record.OverallScores`."""
        curves: JsonValue = TypeAdapter(Mapping[str, Curve]).dump_python(self.pr, mode="json")
        per_class: dict[str, JsonValue] = {
            name: scores.to_json() for name, scores in self.per_class.items()
        }
        return {"per_class": per_class, "pr": curves}

    @classmethod
    def of(cls, evaluation: EvaluationRecord) -> LabelDetails:
        """The other way round."""
        details = evaluation.overall.details
        rows = TypeAdapter(dict[str, dict[str, JsonValue]]).validate_python(
            details.get("per_class", {})
        )
        return cls(
            {name: ClassScores.from_json(row) for name, row in rows.items()},
            TypeAdapter(Mapping[str, Curve]).validate_python(details.get("pr", {})),
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

    def compute(self) -> EvaluationRecord:
        """The content of ``evaluation/metrics.json``.

        Returns:
            The numbers of :class:`pipeline.metrics.multi_label.MultiLabelMetrics`, with :class:`LabelDetails`; of each
            subset the mean average precision, which is compared, and more; and ``classes``.
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
        overall = OverallScores.of(metrics.num_samples, _estimates(metrics))
        details = LabelDetails(metrics.per_class, curves)
        return EvaluationRecord(
            split=self.judging.split,
            modalities=tuple(present),
            overall=replace(overall, details=details.to_json()),
            subsets=subsets,
            details={"classes": list(self.classes)},
        )

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
    ) -> ComparedScores:
        """The numbers of one subset, and how far they are from those of the whole model."""
        metrics = self._metrics(name, labels, probabilities)
        difference = paired_map_difference(
            labels,
            probabilities,
            whole,
            seed=named_seed(self.judging.seed, name),
            num_resamples=self.judging.num_bootstrap,
        )
        return ComparedScores(
            num_samples=metrics.num_samples,
            metrics={name: estimate.value for name, estimate in _estimates(metrics).items()},
            interval=metrics.mean_average_precision.interval,
            difference=difference.value,
            difference_interval=difference.interval,
        )


def difference(
    first: pa.Table, second: pa.Table, classes: Sequence[str], judging: Judging
) -> dict[str, JsonValue]:
    """The paired difference of two models' mean average precisions, from their rows of the same samples."""
    probabilities = (matrix(rows[PROBABILITIES]).astype(np.float64) for rows in (first, second))
    paired = paired_map_difference(
        _indicators(first[LABEL].to_pylist(), classes),
        *probabilities,
        seed=judging.seed,
        num_resamples=judging.num_bootstrap,
    )
    return difference_json(paired)


def sample_scores(rows: pa.Table) -> SampleScores:
    """Which samples have exactly their labels: mean average precision is no mean over samples."""
    pairs = zip(rows[LABEL].to_pylist(), rows[PREDICTION].to_pylist(), strict=True)
    exact = [set(labels) == set(predicted) for labels, predicted in pairs]
    return SampleScores("subset_accuracy", np.array(exact, bool), "max")


def _indicators(labels: Iterable[Sequence[str]], classes: Sequence[str]) -> NDArray[np.bool_]:
    """(N, K): which classes each of N samples has."""
    ids = {name: index for index, name in enumerate(classes)}
    rows = [np.isin(np.arange(len(ids)), [ids[name] for name in names]) for names in labels]
    return np.array(rows, bool).reshape(len(rows), len(ids))


def flat(evaluation: EvaluationRecord) -> dict[str, float]:
    """The numbers of ``summary.json``, ``mean_average_precision_SUBSET`` included, undefined ones left out."""
    metrics = {name: evaluation.overall.metrics[name] for name in ESTIMATES}
    for subset, scores in evaluation.subsets.items():
        name = "mean_average_precision"
        metrics[f"{name}_{subset}"] = scores.metrics[name]
    return {name: float(value) for name, value in metrics.items() if value is not None}


def _estimates(metrics: MultiLabelMetrics) -> dict[str, Estimate]:
    return {name: getattr(metrics, name) for name in ESTIMATES}

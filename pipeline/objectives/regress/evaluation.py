"""Judges estimated numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import JsonValue, TypeAdapter

from pipeline.metrics.record import (
    ComparedScores,
    EvaluationRecord,
    OverallScores,
    SampleScores,
    difference_json,
)
from pipeline.metrics.regression import (
    RegressionMetrics,
    RegressionScores,
    paired_mae_difference,
    regression_metrics,
)
from pipeline.metrics.resampling.estimate import Estimate
from pipeline.metrics.subsets import named_seed, rows_of, subset_name
from pipeline.objectives.base import Judging
from pipeline.objectives.gathered import Gathered
from pipeline.objectives.regress.numbers import Scale, parsed
from pipeline.objectives.regress.rows import PREDICTION, values
from pipeline.sample import LABEL

NAMES = ("mae", "rmse", "r2", "spearman")


class NumberEvaluation(Gathered):
    """Errors and correlations of a labelled split, for the whole model and for every subset of its modalities.

    A subset is judged on the samples that have at least one of its modalities, as a model of those modalities alone
    would be, and compared with the whole model on the same samples.

    Args:
        places: Where the K numbers stand, which are their names.
        scale: Their means and deviations in the training set.
        judging: How the split is judged.
    """

    columns = (PREDICTION,)

    def __init__(self, places: Sequence[str], scale: Scale, judging: Judging) -> None:
        super().__init__()
        self.places, self.scale, self.judging = places, scale, judging

    def compute(self) -> EvaluationRecord:
        """The content of ``evaluation/metrics.json``.

        Returns:
            Means over the targets, and ``mae_of_mean``, that of always saying the training set's mean; of each subset
            the mean absolute error, which is compared, and more; and ``outputs``, each target by itself.
        """
        targets = parsed(self.texts, len(self.places))
        predictions = {name: values(table[PREDICTION]) for name, table in self.predictions.items()}
        present = self.present
        complete = predictions[subset_name(present)]
        rows = rows_of(subset_name(present), present, len(targets))
        metrics = self._metrics("overall", targets[rows], complete[rows])
        mean = np.broadcast_to(np.array(self.scale.mean), targets[rows].shape)
        guessed = np.abs(targets[rows] - mean)
        of_mean = float(guessed.mean()) if guessed.size else None
        overall = _scores(metrics.overall)
        outputs: dict[str, JsonValue] = {
            place: _scores(scores).to_json()
            for place, scores in zip(self.places, metrics.outputs, strict=True)
        }
        return EvaluationRecord(
            split=self.judging.split,
            modalities=tuple(present),
            overall=replace(overall, metrics={**overall.metrics, "mae_of_mean": of_mean}),
            subsets={
                name: self._subset(name, targets, predicted, complete, present)
                for name, predicted in predictions.items()
            },
            details={"targets": list(self.places), "outputs": outputs},
        )

    def _subset(
        self,
        name: str,
        targets: NDArray[np.float64],
        predicted: NDArray[np.float64],
        whole: NDArray[np.float64],
        present: Mapping[str, NDArray[np.bool_]],
    ) -> ComparedScores:
        rows = rows_of(name, present, len(targets))
        scores = _scores(self._metrics(name, targets[rows], predicted[rows]).overall)
        paired = paired_difference(
            targets[rows], predicted[rows], whole[rows], name=name, judging=self.judging
        )
        return ComparedScores(
            num_samples=scores.num_samples,
            metrics=scores.metrics,
            intervals=scores.intervals,
            undefined=scores.undefined,
            interval=scores.interval_of("mae"),
            difference=paired.value,
            difference_interval=paired.interval,
        )

    def _metrics(
        self, name: str, targets: NDArray[np.float64], predicted: NDArray[np.float64]
    ) -> RegressionMetrics:
        return regression_metrics(
            targets,
            predicted,
            seed=named_seed(self.judging.seed, name),
            num_resamples=self.judging.num_bootstrap,
            names=self.places,
        )


def paired_difference(
    targets: NDArray[np.float64],
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    *,
    name: str,
    judging: Judging,
) -> Estimate:
    """Difference of two mean absolute errors on the same samples, with its 95 % interval."""
    return paired_mae_difference(
        targets,
        first,
        second,
        seed=named_seed(judging.seed, name),
        num_resamples=judging.num_bootstrap,
    )


def difference(first: pa.Table, second: pa.Table, judging: Judging) -> dict[str, JsonValue]:
    """:func:`paired_difference` of two models' rows of the same samples."""
    pair = (values(rows[PREDICTION]) for rows in (first, second))
    paired = paired_difference(values(first[LABEL]), *pair, name="", judging=judging)
    return difference_json(paired)


def sample_scores(rows: pa.Table) -> SampleScores:
    """The absolute error of each sample, the mean over its targets."""
    errors = np.abs(values(rows[PREDICTION]) - values(rows[LABEL]))
    return SampleScores("mae", errors.reshape(len(errors), -1).mean(axis=1), "min")


def summary_metrics(evaluation: EvaluationRecord) -> dict[str, float]:
    """The flat numbers of ``summary.json``, ``mae_SUBSET`` included, undefined left out."""
    numbers = {name: evaluation.overall.metrics[name] for name in NAMES}
    numbers |= {f"mae_{name}": scores.metrics["mae"] for name, scores in evaluation.subsets.items()}
    return {name: float(value) for name, value in numbers.items() if value is not None}


def outputs_of(evaluation: EvaluationRecord) -> dict[str, OverallScores]:
    """Target -> the metrics of it alone."""
    rows = TypeAdapter(dict[str, dict[str, JsonValue]]).validate_python(
        evaluation.details.get("outputs", {})
    )
    return {place: OverallScores.from_json(row) for place, row in rows.items()}


def _scores(scores: RegressionScores) -> OverallScores:
    return OverallScores.of(scores.num_samples, {name: getattr(scores, name) for name in NAMES})

"""Judges a classifier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import JsonValue

from pipeline.metrics.calibration import at_temperature, calibration
from pipeline.metrics.evaluation import evaluate_predictions, summary_metrics
from pipeline.metrics.record import EvaluationRecord, SampleScores, difference_json
from pipeline.metrics.resampling.estimate import paired_difference
from pipeline.metrics.subsets import rows_of, subset_name
from pipeline.objectives.base import Judging
from pipeline.objectives.classify.rows import (
    CALIBRATION_ERROR,
    PREDICTION,
    PROBABILITIES,
    TEMPERATURE,
    UNSCALED,
)
from pipeline.objectives.columns import matrix
from pipeline.objectives.gathered import Gathered
from pipeline.sample import LABEL


class ClassEvaluation(Gathered):
    """Metrics of a labelled split; see :func:`pipeline.metrics.evaluation.evaluate_predictions`.

    Args:
        classes: The K class names.
        judging: How the split is judged.
        temperature: That the probabilities are of.
    """

    columns = (PROBABILITIES,)

    def __init__(self, classes: Sequence[str], judging: Judging, temperature: float = 1.0) -> None:
        super().__init__()
        self.classes, self.judging, self.temperature = classes, judging, temperature

    def compute(self) -> EvaluationRecord:
        """The content of ``evaluation/metrics.json``."""
        ids = {name: index for index, name in enumerate(self.classes)}
        labels = np.array([ids[name] for name in self.texts], dtype=np.int64)
        probabilities = {
            name: matrix(table[PROBABILITIES]) for name, table in self.predictions.items()
        }
        record = evaluate_predictions(
            self.classes,
            labels,
            probabilities,
            self.present,
            seed=self.judging.seed,
            num_bootstrap=self.judging.num_bootstrap,
            split=self.judging.split,
        )
        scaling = self._scaling(labels, probabilities[subset_name(self.present)])
        return replace(record, details={**record.details, **scaling})

    def _scaling(
        self, labels: NDArray[np.int64], probabilities: NDArray[np.floating]
    ) -> dict[str, JsonValue]:
        """The temperature, and how calibrated the probabilities would be without it; nothing where there is none."""
        if self.temperature == 1.0:
            return {}
        rows = rows_of(subset_name(self.present), self.present, len(labels))
        before = at_temperature(probabilities[rows], 1 / self.temperature)
        errors = calibration(labels[rows], before)
        return {
            TEMPERATURE: self.temperature,
            f"{CALIBRATION_ERROR}{UNSCALED}": errors.expected_calibration_error,
            f"brier_score{UNSCALED}": errors.brier_score,
        }


def difference(first: pa.Table, second: pa.Table, judging: Judging) -> dict[str, JsonValue]:
    """The paired difference of two models' accuracies, from their rows of the same samples."""
    right = (sample_scores(rows).values for rows in (first, second))
    paired = paired_difference(*right, seed=judging.seed, num_resamples=judging.num_bootstrap)
    return difference_json(paired)


def sample_scores(rows: pa.Table) -> SampleScores:
    """Which samples are right."""
    right = pc.equal(rows[LABEL], rows[PREDICTION]).to_numpy()
    return SampleScores("accuracy", right.astype(bool), "max")


def flat(evaluation: EvaluationRecord) -> dict[str, float]:
    """The numbers of ``summary.json``, with those of an evaluation without temperature scaling, where there is one."""
    scaling = {
        name: float(value)
        for name, value in evaluation.details.items()
        if isinstance(value, float) and (name == TEMPERATURE or name.endswith(UNSCALED))
    }
    return {**summary_metrics(evaluation), **scaling}

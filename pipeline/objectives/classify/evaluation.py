"""Judges a classifier."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import JsonValue

from pipeline.metrics.evaluation import evaluate_predictions
from pipeline.metrics.record import EvaluationRecord, SampleScores, difference_json
from pipeline.metrics.resampling.estimate import paired_difference
from pipeline.objectives.base import Judging
from pipeline.objectives.classify.rows import PREDICTION, PROBABILITIES
from pipeline.objectives.columns import matrix
from pipeline.objectives.gathered import Gathered
from pipeline.sample import LABEL


class ClassEvaluation(Gathered):
    """Metrics of a labelled split; see :func:`pipeline.metrics.evaluation.evaluate_predictions`.

    Args:
        classes: The K class names.
        judging: How the split is judged.
    """

    columns = (PROBABILITIES,)

    def __init__(self, classes: Sequence[str], judging: Judging) -> None:
        super().__init__()
        self.classes, self.judging = classes, judging

    def compute(self) -> EvaluationRecord:
        """The content of ``evaluation/metrics.json``."""
        ids = {name: index for index, name in enumerate(self.classes)}
        return evaluate_predictions(
            self.classes,
            np.array([ids[name] for name in self.texts], dtype=np.int64),
            {name: matrix(table[PROBABILITIES]) for name, table in self.predictions.items()},
            self.present,
            seed=self.judging.seed,
            num_bootstrap=self.judging.num_bootstrap,
            split=self.judging.split,
        )


def difference(first: pa.Table, second: pa.Table, judging: Judging) -> dict[str, JsonValue]:
    """The paired difference of two models' accuracies, from their rows of the same samples."""
    right = (sample_scores(rows).values for rows in (first, second))
    paired = paired_difference(*right, seed=judging.seed, num_resamples=judging.num_bootstrap)
    return difference_json(paired)


def sample_scores(rows: pa.Table) -> SampleScores:
    """Which samples are right."""
    right = pc.equal(rows[LABEL], rows[PREDICTION]).to_numpy()
    return SampleScores("accuracy", right.astype(bool), "max")

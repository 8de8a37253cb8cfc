"""Some samples of an evaluation, judged by themselves as the whole of them is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.metrics.record import EvaluationRecord, Scores
from pipeline.metrics.subsets import subset_name
from pipeline.objectives.base import Judging, Learned, ObjectiveSection


@dataclass(frozen=True)
class JudgedSamples:
    """What it takes to judge some of N samples again.

    Attributes:
        objective: What the model was trained for.
        learned: What that has learned of the targets.
        judging: How the split is judged.
        texts: Canonical texts of the N targets; None where there are none.
        present: Modality -> (N,) bool.
        contents: Of :meth:`pipeline.objectives.base.Evaluation.update`, where the objective asks for them.
    """

    objective: ObjectiveSection
    learned: Learned
    judging: Judging
    texts: Sequence[str | None]
    present: Mapping[str, NDArray[np.bool_]]
    contents: Mapping[str, NDArray[np.int64]] | None = None

    def record(self, rows: NDArray[np.int64], predicted: pa.Table) -> EvaluationRecord:
        """The evaluation of the whole model on some of the samples.

        Args:
            rows: (n,) places of the samples, at least one.
            predicted: What the model says of them, in the same order.
        """
        evaluation = self.objective.evaluation(self.learned, self.judging)
        present = {name: column[rows] for name, column in self.present.items()}
        contents = []
        if evaluation.by_content and self.contents is not None:
            contents = [{name: column[rows] for name, column in self.contents.items()}]
        texts = [self.texts[row] for row in rows]
        evaluation.update(texts, {subset_name(present): predicted}, present, *contents)
        return evaluation.compute()

    def scores(self, rows: NDArray[np.int64], predicted: pa.Table) -> Scores:
        """The numbers of :meth:`record` alone, each with its interval where it has one."""
        record = self.record(rows, predicted)
        overall, name = record.overall, self.objective.metric
        intervals = dict(overall.intervals or {})
        compared = record.subsets.get(subset_name(self.present))
        if name not in intervals and compared is not None and compared.interval is not None:
            intervals[name] = compared.interval
        return Scores(num_samples=overall.num_samples, metrics=overall.metrics, intervals=intervals)

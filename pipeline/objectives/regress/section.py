"""What estimated numbers put on the page of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from pipeline.metrics.record import EvaluationRecord
from pipeline.models.record import Score
from pipeline.objectives.regress.error_plots import prediction_scatter, residual_plot
from pipeline.objectives.regress.evaluation import outputs_of
from pipeline.objectives.regress.numbers import parsed
from pipeline.objectives.regress.plots import histogram
from pipeline.objectives.regress.rows import PREDICTION, values
from pipeline.reports.comparison import best_single, comparison_rows, gain_over
from pipeline.reports.content import Example
from pipeline.reports.section import Group, Judgement, KeyFigure, Measure, Part, Targets
from pipeline.sample import KEY, LABEL, SHARD

MAE = Measure("mae", "Mean absolute error", "min")
TITLES = {
    "mae": "Mean absolute error",
    "rmse": "Root mean squared error",
    "r2": "R²",
    "spearman": "Spearman's rank correlation",
}
DECIMALS = 3
MAX_PLOTTED = 4  # targets that have figures of their own


class NumberSection:
    """See :class:`pipeline.reports.section.Section`.

    Args:
        places: Names of the numbers.
        score: What chose the epoch that was kept.
    """

    measure, titles = MAE, TITLES
    curves: Mapping[str, str] = {"Mean absolute error": "mae", "R²": "r2"}

    def __init__(self, places: Sequence[str], score: Score) -> None:
        self.places, self.score = places, score

    def figures(self, evaluation: EvaluationRecord) -> list[KeyFigure]:
        overall = evaluation.overall
        return [
            KeyFigure(title, value, "number", ends=overall.interval_of(name))
            for name, title in TITLES.items()
            if (value := overall.metrics.get(name)) is not None and name != "rmse"
        ]

    def lede(self, evaluation: EvaluationRecord) -> Part | None:
        metrics = evaluation.overall.metrics
        if metrics.get("mae") is None:
            return None
        rows = comparison_rows(evaluation, MAE.name)
        single = best_single(rows, MAE) if len(rows) > 1 else None
        values = {
            "mae": metrics["mae"],
            "of_mean": metrics.get("mae_of_mean"),
            "num_samples": evaluation.overall.num_samples,
            "split": evaluation.split,
            "single": single,
            "gain": gain_over(single, evaluation, MAE) if single is not None else None,
        }
        return Part("objectives/regress/lede.html", values)

    def reference(self, evaluation: EvaluationRecord) -> tuple[float, str] | None:
        of_mean = evaluation.overall.metrics.get("mae_of_mean")
        return (of_mean, "always the mean") if of_mean is not None else None

    def metrics(self, evaluation: EvaluationRecord, predicted: pa.Table | None) -> Part | None:
        overall = evaluation.overall
        plots = []
        if predicted is not None and predicted.num_rows:
            targets, numbers = values(predicted[LABEL]), values(predicted[PREDICTION])
            for k, place in enumerate(self.places[:MAX_PLOTTED]):
                name = place if len(self.places) > 1 else ""
                for draw in (prediction_scatter, residual_plot):
                    plots.append(draw(targets[:, k], numbers[:, k], name))
        content = {
            "numbers": [(title, overall.metrics[name]) for name, title in TITLES.items()],
            "undefined": [
                (TITLES[name], words) for name, words in (overall.undefined or {}).items()
            ],
            "plots": [plot for plot in plots if plot],
            "titles": TITLES,
            "outputs": outputs_of(evaluation) if len(self.places) > 1 else {},
        }
        return Part("objectives/regress/metrics.html", content)

    def targets(self, splits: Mapping[str, Mapping[str, int]]) -> Targets:
        numbers = {name: self._numbers(counted) for name, counted in splits.items()}
        one = len(self.places) == 1
        columns = [
            (title if one else f"{title} of {place}", DECIMALS)
            for place in self.places
            for title in ("Mean", "Deviation")
        ]
        rows = {
            name: np.stack([array.mean(axis=0), array.std(axis=0)], axis=1).ravel().tolist()
            for name, array in numbers.items()
        }
        first = {name: array[:, 0] for name, array in numbers.items()}
        return Targets(columns=columns, rows=rows, plot=histogram(first, self.places[0]))

    def _numbers(self, counted: Mapping[str, int]) -> np.ndarray:
        """(N, K) float64, a row a sample."""
        distinct = parsed(list(counted), len(self.places))
        return np.repeat(distinct, list(counted.values()), axis=0)

    def label(self, text: str) -> str:
        return _words(parsed([text], len(self.places))[0])

    def choose(
        self, predicted: pa.Table, evaluation: EvaluationRecord, count: int
    ) -> list[Judgement]:
        """The largest errors, each target's in its own deviations, and others spread over the split."""
        targets, numbers = values(predicted[LABEL]), values(predicted[PREDICTION])
        deviation = targets.std(axis=0)
        errors = np.abs(numbers - targets) / np.where(deviation > 0, deviation, 1.0)
        order = np.argsort(-errors.mean(axis=1), kind="stable")
        remaining = order[count:]
        spread = remaining[:: max(1, len(remaining) // max(1, count))][:count]
        keys, shards = predicted[KEY], predicted[SHARD]
        return [
            Judgement(
                shard=shards[row].as_py(),
                key=keys[row].as_py(),
                label=_words(targets[row]),
                prediction=_words(numbers[row]),
            )
            for row in [*order[:count].tolist(), *spread.tolist()]
        ]

    def groups(self, examples: Sequence[Example]) -> list[Group]:
        """In the order of :meth:`choose`."""
        labelled = [example for example in examples if example.label is not None]
        return [
            Group("The largest errors first, then others", labelled),
            Group("Without a label", [example for example in examples if example.label is None]),
        ]


def _words(numbers: np.ndarray) -> str:
    return ", ".join(f"{number:.4g}" for number in numbers)

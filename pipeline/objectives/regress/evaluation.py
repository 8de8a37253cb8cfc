"""Judges estimated numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.metrics.regression import RegressionScores, paired_mae_difference, regression_metrics
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

    def compute(self) -> dict[str, Any]:
        """The content of ``evaluation/metrics.json``.

        Returns:
            JSON-ready: ``split``, ``targets``, ``modalities``, ``overall`` (means over the targets, with
            ``intervals``, ``undefined`` in words, and ``mae_of_mean``, that of always saying the training set's
            mean), ``outputs`` (each target by itself), ``subsets`` (subset -> the same numbers, and the paired
            ``difference`` of the mean absolute error from the whole model's on the same samples) and an empty
            ``comparison``.
        """
        targets = parsed(self.texts, len(self.places))
        predictions = {name: values(table[PREDICTION]) for name, table in self.predictions.items()}
        present = self.present
        complete = predictions[subset_name(present)]
        rows = rows_of(subset_name(present), present, len(targets))
        metrics = self._metrics("overall", targets[rows], complete[rows])
        overall = _numbers(metrics.overall)
        mean = np.broadcast_to(np.array(self.scale.mean), targets[rows].shape)
        guessed = np.abs(targets[rows] - mean)
        overall["mae_of_mean"] = float(guessed.mean()) if guessed.size else None
        return {
            "split": self.judging.split,
            "targets": list(self.places),
            "modalities": list(present),
            "overall": overall,
            "outputs": {
                place: _numbers(scores)
                for place, scores in zip(self.places, metrics.outputs, strict=True)
            },
            "subsets": {
                name: self._subset(name, targets, predicted, complete, present)
                for name, predicted in predictions.items()
            },
            "comparison": [],
        }

    def _subset(
        self,
        name: str,
        targets: NDArray[np.float64],
        predicted: NDArray[np.float64],
        whole: NDArray[np.float64],
        present: Mapping[str, NDArray[np.bool_]],
    ) -> dict[str, Any]:
        rows = rows_of(name, present, len(targets))
        numbers = _numbers(self._metrics(name, targets[rows], predicted[rows]).overall)
        return {
            **numbers,
            "interval": numbers["intervals"].get("mae"),
            **paired_difference(
                targets[rows], predicted[rows], whole[rows], name=name, judging=self.judging
            ),
        }

    def _metrics(
        self, name: str, targets: NDArray[np.float64], predicted: NDArray[np.float64]
    ) -> Any:
        return regression_metrics(
            targets,
            predicted,
            seed=named_seed(self.judging.seed, name),
            num_resamples=self.judging.num_bootstrap,
        )


def paired_difference(
    targets: NDArray[np.float64],
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    *,
    name: str,
    judging: Judging,
) -> dict[str, Any]:
    """``difference`` of two mean absolute errors on the same samples, and its 95 % ``difference_interval``."""
    paired = paired_mae_difference(
        targets,
        first,
        second,
        seed=named_seed(judging.seed, name),
        num_resamples=judging.num_bootstrap,
    )
    return {
        "difference": paired.difference if paired else None,
        "difference_interval": [paired.low, paired.high] if paired else None,
    }


def difference(first: pa.Table, second: pa.Table, judging: Judging) -> dict[str, Any]:
    """:func:`paired_difference` of two models' rows of the same samples."""
    pair = (values(rows[PREDICTION]) for rows in (first, second))
    return paired_difference(values(first[LABEL]), *pair, name="", judging=judging)


def summary_metrics(evaluation: Mapping[str, Any]) -> dict[str, float]:
    """The flat numbers of ``summary.json``, ``mae_SUBSET`` included, undefined left out."""
    numbers = {name: evaluation["overall"][name] for name in NAMES}
    numbers |= {f"mae_{name}": subset["mae"] for name, subset in evaluation["subsets"].items()}
    return {name: float(value) for name, value in numbers.items() if value is not None}


def _numbers(scores: RegressionScores) -> dict[str, Any]:
    """Scores, ready for JSON: numbers or null, with their intervals, and why there is none."""
    estimates = {name: getattr(scores, name) for name in NAMES}
    return {
        "num_samples": scores.num_samples,
        **{name: estimate.value for name, estimate in estimates.items()},
        "intervals": {
            name: list(estimate.interval)
            for name, estimate in estimates.items()
            if estimate.interval
        },
        "undefined": {
            name: estimate.undefined for name, estimate in estimates.items() if estimate.undefined
        },
    }

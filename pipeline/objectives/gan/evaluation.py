"""Judges made values by the distance of their features from those of real ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import JsonValue

from pipeline.metrics.generated.diversity import diversity_ratio
from pipeline.metrics.generated.frechet import frechet_distance
from pipeline.metrics.generated.quality import qualities
from pipeline.metrics.record import (
    ComparedScores,
    EvaluationRecord,
    OverallScores,
    difference_json,
)
from pipeline.metrics.resampling.estimate import Estimate, estimate
from pipeline.metrics.subsets import named_seed, rows_of, subset_name
from pipeline.objectives.base import Judging
from pipeline.objectives.columns import matrix
from pipeline.objectives.evaluation import JudgedFeatures, MadeValues
from pipeline.objectives.gan.conditions import values_of
from pipeline.objectives.gan.rows import ASKED, FRECHET, REALISM, YARDSTICK, YARDSTICK_REAL
from pipeline.objectives.gathered import Gathered
from pipeline.objectives.generated.coherence import MADE, coherences

Features = NDArray[np.floating]
MOST_RESAMPLES = 200  # each takes the eigenvalues of two matrices
OF_REAL = "_of_real"  # what real values reach among themselves
JUDGE, COVERED = "judge_", "classes_covered"
PRECISION, RECALL, DIVERSITY, QUALITY = "precision", "recall", "diversity", "quality_distance"


class GanEvaluation(Gathered):
    """The distance of made values from real ones for every subset, and of the whole more.

    A subset is judged on the samples that have one of its modalities, the whole model on the same ones. Values are held
    against the samples' own; a sample that has none, or is not what was asked for, judges nothing.

    Args:
        judging: How the split is judged.

    Attributes:
        shown: Examples of what was made, and what a judge says of it; None before that is known.
    """

    shown: MadeValues | None = None
    columns = (ASKED, REALISM, YARDSTICK, YARDSTICK_REAL)

    def __init__(self, judging: Judging) -> None:
        super().__init__()
        self.judging = judging

    def compute(self) -> EvaluationRecord:
        """The content of ``evaluation/metrics.json``.

        Returns:
            ``frechet_distance`` of all made values and all real ones; ``quality_distance``, ``precision`` and
            ``recall`` of sets of one size, and beside each, with ``_of_real`` behind its name, what real values reach
            among themselves; ``diversity`` of values asked for the same over that of the real ones; ``realism``, the
            mean of the discriminator's logits. With a judge also the same with ``judge_`` before their names, by its
            embeddings, and ``classes_covered``, the share of its answers that some value got that was to.
        """
        present, predictions = self.present, self.predictions
        whole = subset_name(present)
        real, has_real = _real(predictions[whole])
        has_real &= _as_asked(self._texts, predictions[whole][ASKED].to_pylist())
        made = {name: matrix(table[YARDSTICK]) for name, table in predictions.items()}
        judged = {name: rows_of(name, present, len(self._texts)) & has_real for name in predictions}
        distances = {
            name: self._distance(real[rows], made[name][rows], name)
            for name, rows in judged.items()
        }
        rows = judged[whole]
        asked = predictions[whole][ASKED].to_pylist()
        overall = {FRECHET: distances[whole], **self._more(real, made[whole], rows, asked)}
        logits = predictions[whole][REALISM].to_numpy()[rows]
        if self.shown is not None:
            overall |= self._judged(self.shown.features, rows)
        overall[REALISM] = _known(float(logits.mean()) if len(logits) else float("nan"))
        return EvaluationRecord(
            split=self.judging.split,
            modalities=tuple(present),
            overall=OverallScores.of(int(rows.sum()), overall),
            subsets={
                name: self._subset(name, real, made[name], made[whole], rows)
                for name, rows in judged.items()
            },
            details={} if self.shown is None else {MADE: self.shown.to_json()},
        )

    def _judged(
        self, features: Mapping[str, JudgedFeatures], rows: NDArray[np.bool_]
    ) -> dict[str, Estimate]:
        """What the judge's embeddings and answers say of the one modality that is made."""
        estimates: dict[str, Estimate] = {}
        for seen in features.values():
            names = [text or "" for text in seen.truths]
            numbers = self._more(seen.real, seen.made, rows & seen.present, names)
            estimates |= {JUDGE + name: value for name, value in numbers.items()}
            if seen.answers is not None:
                pairs = zip(names, seen.answers, rows, strict=True)
                right = {name for name, answer, row in pairs if row and name == answer}
                wanted = {name for name, row in zip(names, rows, strict=True) if row and name}
                estimates[COVERED] = _known(len(right & wanted) / max(1, len(wanted)))
        return estimates

    def _more(
        self,
        real: Features,
        made: Features,
        rows: NDArray[np.bool_],
        asked: Sequence[str | None],
    ) -> dict[str, Estimate]:
        """How near features of made values are to those of real ones, and how different those of one label are."""
        ours, theirs = qualities(real[rows], made[rows], named_seed(self.judging.seed, "halves"))
        numbers: dict[str, float] = {}
        for suffix, quality in (("", ours), (OF_REAL, theirs)):
            numbers |= {
                QUALITY + suffix: quality.frechet_distance,
                PRECISION + suffix: quality.precision,
                RECALL + suffix: quality.recall,
            }
        names = [text or "" for text, row in zip(asked, rows, strict=True) if row]
        numbers[DIVERSITY] = diversity_ratio(made[rows], names, real[rows], names)
        return {name: _known(value) for name, value in numbers.items()}

    def _distance(self, real: Features, made: Features, name: str) -> Estimate:
        return _distance_of(real, made, self.judging, name)

    def _subset(
        self,
        name: str,
        real: Features,
        made: Features,
        by_whole: Features,
        rows: NDArray[np.bool_],
    ) -> ComparedScores:
        distance = self._distance(real[rows], made[rows], name)
        paired = _paired(real[rows], made[rows], real[rows], by_whole[rows], self.judging, name)
        scores = OverallScores.of(int(rows.sum()), {FRECHET: distance})
        return ComparedScores(
            num_samples=scores.num_samples,
            metrics=scores.metrics,
            intervals=scores.intervals,
            undefined=scores.undefined,
            interval=distance.interval,
            difference=paired.value,
            difference_interval=paired.interval,
        )


def _real(rows: pa.Table) -> tuple[Features, NDArray[np.bool_]]:
    """Features of the samples' own values (N, D), zeros where there is none, and which have one (N,)."""
    column = rows[YARDSTICK_REAL].combine_chunks()
    present = np.asarray(column.is_valid())
    features = np.zeros((len(column), column.type.list_size), dtype=np.float32)
    if present.any():
        features[present] = matrix(column.drop_null())
    return features, present


def _as_asked(texts: Sequence[str | None], asked: Sequence[str | None]) -> NDArray[np.bool_]:
    """(N,) bool: whether a sample is itself what was asked for."""
    pairs = zip(map(values_of, texts), map(values_of, asked), strict=True)
    return np.array(
        [
            all(values.get(place, ()) == names for place, names in wishes.items())
            for values, wishes in pairs
        ]
    )


def _known(value: float) -> Estimate:
    """A number without an interval."""
    if np.isnan(value):
        return Estimate(None, undefined="too few samples")
    return Estimate(value)


def _resampled(count: int, judging: Judging, name: str) -> list[NDArray[np.int64]]:
    """Rows of each resample."""
    rng = np.random.default_rng(named_seed(judging.seed, name))
    rounds = min(judging.num_bootstrap, MOST_RESAMPLES) if count > 1 else 0
    return [rng.integers(0, count, count) for _ in range(rounds)]


def _distance_of(real: Features, made: Features, judging: Judging, name: str) -> Estimate:
    value = frechet_distance(real, made)
    if np.isnan(value):
        return Estimate(None, undefined="fewer than two samples have a value of their own")
    distances = [
        frechet_distance(real[rows], made[rows]) for rows in _resampled(len(real), judging, name)
    ]
    return estimate(value, np.array(distances, dtype=np.float64))


def _paired(
    real: Features,
    made: Features,
    other_real: Features,
    other_made: Features,
    judging: Judging,
    name: str,
) -> Estimate:
    """The distance of the one set minus that of the other, on the same samples."""
    value = frechet_distance(real, made) - frechet_distance(other_real, other_made)
    if np.isnan(value):
        return Estimate(None, undefined="fewer than two samples have a value of their own")
    differences = [
        frechet_distance(real[rows], made[rows])
        - frechet_distance(other_real[rows], other_made[rows])
        for rows in _resampled(len(real), judging, name)
    ]
    return estimate(value, np.array(differences, dtype=np.float64))


def difference(first: pa.Table, second: pa.Table, judging: Judging) -> dict[str, JsonValue]:
    """The difference of two models' distances, from their rows of the same samples."""
    (real, has_real), (other_real, other_has) = _real(first), _real(second)
    both = has_real & other_has
    made, other_made = (matrix(rows[YARDSTICK])[both] for rows in (first, second))
    return difference_json(_paired(real[both], made, other_real[both], other_made, judging, ""))


def summary_metrics(evaluation: EvaluationRecord) -> dict[str, float]:
    """The flat numbers of ``summary.json``, ``frechet_distance_SUBSET`` included; undefined ones left out."""
    numbers = dict(evaluation.overall.metrics)
    numbers |= {
        f"{FRECHET}_{name}": scores.metrics[FRECHET] for name, scores in evaluation.subsets.items()
    }
    numbers |= coherences(evaluation.details.get(MADE))
    return {name: float(value) for name, value in numbers.items() if value is not None}

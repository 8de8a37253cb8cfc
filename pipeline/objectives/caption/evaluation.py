"""Judges captions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

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
from pipeline.metrics.resampling.estimate import Estimate
from pipeline.metrics.resampling.estimate import paired_difference as paired_means
from pipeline.metrics.subsets import named_seed, rows_of, subset_name
from pipeline.metrics.texts.scores import NAMES, References, TextScores
from pipeline.objectives.base import Judging
from pipeline.objectives.caption.rows import CAPTION
from pipeline.objectives.gathered import Gathered
from pipeline.objectives.texts.targets import references_of
from pipeline.sample import LABEL

METRIC = "cider"
OF_MOST_FREQUENT = f"{METRIC}_of_most_frequent"
MOST_FREQUENT, MEAN_WORDS = "most_frequent", "mean_words"


class CaptionEvaluation(Gathered):
    """How near captions are to the references of a split, for the whole model and for subsets of its modalities.

    A subset is judged on the samples that have at least one of its modalities, and compared with the whole model on the
    same samples. How rare words are is counted over all samples of the split, whatever is judged.

    Args:
        most_frequent: The caption that most training samples have.
        judging: How the split is judged.
    """

    columns = (CAPTION,)

    def __init__(self, most_frequent: str, judging: Judging) -> None:
        super().__init__()
        self.most_frequent, self.judging = most_frequent, judging

    def compute(self) -> EvaluationRecord:
        """The content of ``evaluation/metrics.json``.

        Returns:
            The metrics of :data:`pipeline.metrics.texts.scores.NAMES`, ``mean_words``, how long captions are on
            average, and ``cider_of_most_frequent``, what always saying the caption that most training samples have
            reaches; of each subset the same metrics; and ``most_frequent``, all metrics of that caption.
        """
        references = References.of([references_of(text) or () for text in self.texts])
        scores = {
            name: TextScores.of(table[CAPTION].to_pylist(), references)
            for name, table in self.predictions.items()
        }
        present = self.present
        complete = scores[subset_name(present)]
        rows = rows_of(subset_name(present), present, len(self.texts))
        guess = TextScores.of([self.most_frequent] * len(self.texts), references).at(rows)
        guessed = self._estimates("most frequent", guess)
        overall = _scores(complete.at(rows), self._estimates("overall", complete.at(rows)))
        metrics = {**overall.metrics, OF_MOST_FREQUENT: guessed[METRIC].value}
        return EvaluationRecord(
            split=self.judging.split,
            modalities=tuple(present),
            overall=replace(overall, metrics=metrics),
            subsets={
                name: self._subset(name, judged, complete, rows_of(name, present, len(self.texts)))
                for name, judged in scores.items()
            },
            details={
                MOST_FREQUENT: {
                    CAPTION: self.most_frequent,
                    **{name: found.value for name, found in guessed.items()},
                }
            },
        )

    def _subset(
        self, name: str, judged: TextScores, whole: TextScores, rows: NDArray[np.bool_]
    ) -> ComparedScores:
        chosen = judged.at(rows)
        scores = _scores(chosen, self._estimates(name, chosen))
        paired = paired_difference(chosen, whole.at(rows), name=name, judging=self.judging)
        return ComparedScores(
            num_samples=scores.num_samples,
            metrics=scores.metrics,
            intervals=scores.intervals,
            undefined=scores.undefined,
            interval=scores.interval_of(METRIC),
            difference=paired.value,
            difference_interval=paired.interval,
        )

    def _estimates(self, name: str, scores: TextScores) -> dict[str, Estimate]:
        return scores.estimates(
            seed=named_seed(self.judging.seed, name), num_resamples=self.judging.num_bootstrap
        )


def paired_difference(
    first: TextScores, second: TextScores, *, name: str, judging: Judging
) -> Estimate:
    """Difference of two mean CIDEr-D on the same samples, with its 95 % interval."""
    return paired_means(
        first.cider,
        second.cider,
        seed=named_seed(judging.seed, name),
        num_resamples=judging.num_bootstrap,
    )


def difference(first: pa.Table, second: pa.Table, judging: Judging) -> dict[str, JsonValue]:
    """:func:`paired_difference` of two models' rows of the same samples."""
    references = References.of(first[LABEL].to_pylist())
    pair = (TextScores.of(rows[CAPTION].to_pylist(), references) for rows in (first, second))
    return difference_json(paired_difference(*pair, name="", judging=judging))


def ciders(rows: pa.Table) -> NDArray[np.float64]:
    """(N,) float64: CIDEr-D of rows of ``evaluation/predictions.parquet``."""
    references = References.of(rows[LABEL].to_pylist())
    return TextScores.of(rows[CAPTION].to_pylist(), references).cider


def sample_scores(rows: pa.Table) -> SampleScores:
    """CIDEr-D of each sample."""
    return SampleScores(METRIC, ciders(rows), "max")


def summary_metrics(evaluation: EvaluationRecord) -> dict[str, float]:
    """The flat numbers of ``summary.json``, ``cider_SUBSET`` included, undefined left out."""
    metrics = evaluation.overall.metrics
    numbers = {name: metrics.get(name) for name in (*NAMES, OF_MOST_FREQUENT)}
    numbers |= {
        f"{METRIC}_{name}": scores.metrics[METRIC] for name, scores in evaluation.subsets.items()
    }
    return {name: float(value) for name, value in numbers.items() if value is not None}


def _scores(scores: TextScores, estimates: Mapping[str, Estimate]) -> OverallScores:
    lengths = [len(words) for words in scores.written]
    overall = OverallScores.of(len(lengths), estimates)
    mean = float(np.mean(lengths)) if lengths else None
    return replace(overall, metrics={**overall.metrics, MEAN_WORDS: mean})


def most_frequent_of(evaluation: EvaluationRecord) -> tuple[str, Mapping[str, float | None]]:
    """The caption that most training samples have, and its metrics; empty of an older record."""
    details = evaluation.details.get(MOST_FREQUENT)
    if not isinstance(details, dict):
        return "", {}
    numbers = {
        name: float(value) if isinstance(value, int | float) else None
        for name in NAMES
        for value in [details.get(name)]
    }
    return str(details.get(CAPTION, "")), numbers


def joined(references: Sequence[str]) -> str:
    """References in words."""
    return " / ".join(references)

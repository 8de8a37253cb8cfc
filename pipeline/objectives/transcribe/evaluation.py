"""Judges transcripts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

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
from pipeline.metrics.resampling.bootstrap import bootstrap_interval
from pipeline.metrics.resampling.estimate import Estimate
from pipeline.metrics.subsets import named_seed, rows_of, subset_name
from pipeline.metrics.texts.errors import (
    Errors,
    errors_of,
    paired_rate_difference,
    rate_estimate,
)
from pipeline.objectives.base import Judging
from pipeline.objectives.gathered import Gathered
from pipeline.objectives.texts.targets import references_of
from pipeline.objectives.texts.vocabulary import Vocabulary
from pipeline.objectives.transcribe.lacking import lacking_characters
from pipeline.objectives.transcribe.rows import TRANSCRIPT
from pipeline.sample import LABEL

NAMES = ("cer", "wer", "exact_match")
OF_FREQUENT = "cer_of_most_frequent"
TOLD_CHARACTERS = 20  # the most frequent ones that the vocabulary lacks


@dataclass(frozen=True)
class Transcripts:
    """What was written of N samples, beside what is right.

    Attributes:
        references: Of each sample, one text or several.
        transcripts: Of each sample.
    """

    references: Sequence[Sequence[str]]
    transcripts: Sequence[str]

    @cached_property
    def characters(self) -> Errors:
        """Errors of each sample."""
        return errors_of(self.references, self.transcripts, "characters")

    @cached_property
    def words(self) -> Errors:
        """Errors of each sample."""
        return errors_of(self.references, self.transcripts, "words")

    @cached_property
    def exact(self) -> NDArray[np.bool_]:
        """(N,): which are one of their references."""
        pairs = zip(self.references, self.transcripts, strict=True)
        return np.array([text in references for references, text in pairs], dtype=np.bool_)


class TranscriptEvaluation(Gathered):
    """Error rates of a split with texts.

    Args:
        vocabulary: What the model writes with.
        most_frequent: The text that most training samples have, which a model that hears nothing says.
        judging: How the split is judged.
    """

    columns = (TRANSCRIPT,)

    def __init__(self, vocabulary: Vocabulary, most_frequent: str, judging: Judging) -> None:
        super().__init__()
        self.vocabulary, self.most_frequent, self.judging = vocabulary, most_frequent, judging

    def compute(self) -> EvaluationRecord:
        """The content of ``evaluation/metrics.json``.

        Returns:
            ``cer`` and ``wer`` of all texts together, ``exact_match``, and ``cer_of_most_frequent``; and
            ``lacking_characters``, those of the references that the model cannot write.
        """
        references = [references_of(text) or () for text in self.texts]
        present = self.present
        said = {
            name: Transcripts(references, table[TRANSCRIPT].to_pylist())
            for name, table in self.predictions.items()
        }
        whole = said[subset_name(present)]
        rows = rows_of(subset_name(present), present, len(references))
        overall = self._scores("overall", whole, rows)
        guessed = Transcripts(references, [self.most_frequent] * len(references))
        of_frequent = guessed.characters.of(rows).rate
        lacking = lacking_characters(
            self.vocabulary, (text for texts in references for text in texts)
        )
        return EvaluationRecord(
            split=self.judging.split,
            modalities=tuple(present),
            overall=replace(overall, metrics={**overall.metrics, OF_FREQUENT: of_frequent}),
            subsets={
                name: self._subset(name, transcripts, whole, present)
                for name, transcripts in said.items()
            },
            details={
                "most_frequent": self.most_frequent,
                "lacking_characters": dict(lacking.most_common(TOLD_CHARACTERS)),
            },
        )

    def _subset(
        self,
        name: str,
        said: Transcripts,
        whole: Transcripts,
        present: Mapping[str, NDArray[np.bool_]],
    ) -> ComparedScores:
        rows = rows_of(name, present, len(said.transcripts))
        scores = self._scores(name, said, rows)
        paired = paired_rate_difference(
            said.characters.of(rows),
            whole.characters.of(rows),
            seed=named_seed(self.judging.seed, name),
            num_resamples=self.judging.num_bootstrap,
        )
        return ComparedScores(
            num_samples=scores.num_samples,
            metrics=scores.metrics,
            intervals=scores.intervals,
            undefined=scores.undefined,
            interval=scores.interval_of("cer"),
            difference=paired.value,
            difference_interval=paired.interval,
        )

    def _scores(self, name: str, said: Transcripts, rows: NDArray[np.bool_]) -> OverallScores:
        seed, resamples = named_seed(self.judging.seed, name), self.judging.num_bootstrap
        exact = said.exact[rows]
        estimates = {
            "cer": rate_estimate(said.characters.of(rows), seed=seed, num_resamples=resamples),
            "wer": rate_estimate(said.words.of(rows), seed=seed, num_resamples=resamples),
            "exact_match": Estimate(float(exact.mean()), _interval(exact, seed, resamples))
            if len(exact)
            else Estimate(None, undefined="no samples"),
        }
        return OverallScores.of(len(exact), estimates)


def difference(first: pa.Table, second: pa.Table, judging: Judging) -> dict[str, JsonValue]:
    """By how much the character error rates of two models differ, by their rows of the same samples."""
    references = first[LABEL].to_pylist()
    ours, theirs = (
        Transcripts(references, rows[TRANSCRIPT].to_pylist()).characters for rows in (first, second)
    )
    return difference_json(
        paired_rate_difference(
            ours,
            theirs,
            seed=named_seed(judging.seed, ""),
            num_resamples=judging.num_bootstrap,
        )
    )


def sample_scores(rows: pa.Table) -> SampleScores:
    """Each sample's edits by the mean length of all references, so that their mean is the rate of the corpus."""
    said = Transcripts(rows[LABEL].to_pylist(), rows[TRANSCRIPT].to_pylist())
    errors = said.characters
    mean = errors.lengths.mean() if len(errors.lengths) else 1.0
    return SampleScores("cer", errors.edits / mean, "min")


def summary_metrics(evaluation: EvaluationRecord) -> dict[str, float]:
    """The flat numbers of ``summary.json``, ``cer_SUBSET`` included, undefined left out."""
    numbers = {name: evaluation.overall.metrics[name] for name in NAMES}
    numbers |= {f"cer_{name}": scores.metrics["cer"] for name, scores in evaluation.subsets.items()}
    return {name: float(value) for name, value in numbers.items() if value is not None}


def _interval(exact: NDArray[np.bool_], seed: int, resamples: int) -> tuple[float, float] | None:
    return bootstrap_interval(exact, seed=seed, num_resamples=resamples)

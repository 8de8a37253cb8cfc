"""Error rates of transcripts: characters and words that were put in another's place, left out or put in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.resampling.bootstrap import resample_counts
from pipeline.metrics.resampling.estimate import Estimate, estimate

Unit = Literal["characters", "words"]
Fault = Literal["equal", "substitute", "delete", "insert"]


@dataclass(frozen=True)
class Errors:
    """Of N transcripts, each against the nearest of its references.

    Attributes:
        edits: (N,) int64, what was put in another's place, left out or put in.
        lengths: (N,) int64, characters or words of that reference.
    """

    edits: NDArray[np.int64]
    lengths: NDArray[np.int64]

    @property
    def rate(self) -> float | None:
        """Edits by units of the references, of all transcripts together; None without any."""
        total = int(self.lengths.sum())
        return float(self.edits.sum() / total) if total else None

    def of(self, rows: NDArray[np.bool_]) -> Errors:
        """Those of some of the transcripts."""
        return Errors(self.edits[rows], self.lengths[rows])


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a transcript beside the part of the reference that it stands for.

    Attributes:
        fault: What it is.
        reference: Empty where it was put in.
        transcript: Empty where it was left out.
    """

    fault: Fault
    reference: str
    transcript: str


def errors_of(
    references: Sequence[Sequence[str]], transcripts: Sequence[str], unit: Unit
) -> Errors:
    """Counts the errors of N transcripts; words are what blanks part.

    Args:
        references: Of each transcript, the texts that are right; at least one, none of them empty.
        transcripts: What was written, at most nothing.
        unit: What is counted.

    Source:
        Levenshtein 1966, "Binary codes capable of correcting deletions, insertions, and reversals".
    """
    pairs = [
        (right, said)
        for texts, said in zip(references, transcripts, strict=True)
        for right in texts
    ]
    if not pairs:
        return Errors(np.zeros(0, np.int64), np.zeros(0, np.int64))
    compared = _compared([right for right, _ in pairs], [said for _, said in pairs], unit)
    edits = np.array(
        [
            sum(
                max(
                    chunk.ref_end_idx - chunk.ref_start_idx, chunk.hyp_end_idx - chunk.hyp_start_idx
                )
                for chunk in chunks
                if chunk.type != "equal"
            )
            for chunks in compared.alignments
        ],
        dtype=np.int64,
    )
    lengths = np.array([len(units) for units in compared.references], dtype=np.int64)
    first = np.concatenate([[0], np.cumsum([len(texts) for texts in references])])
    nearest = [
        min(range(start, end), key=lambda pair: (edits[pair] / lengths[pair], edits[pair]))
        for start, end in pairwise(first.tolist())
    ]
    return Errors(edits[nearest], lengths[nearest])


def rate_estimate(errors: Errors, *, seed: int, num_resamples: int) -> Estimate:
    """The rate of a corpus, with the interval of resampled transcripts.

    Args:
        errors: Of N transcripts.
        seed: Same seed, same interval.
        num_resamples: 0: none, and no interval.

    Source:
        Bisani & Ney 2004, "Bootstrap estimates for confidence intervals in ASR performance evaluation", section 3.
    """
    if errors.rate is None:
        return Estimate(None, undefined="no samples")
    rates = [
        (counts @ errors.edits) / (counts @ errors.lengths)
        for counts in _resamples(errors, seed, num_resamples)
    ]
    return estimate(errors.rate, np.concatenate(rates) if rates else np.zeros(0))


def paired_rate_difference(
    first: Errors, second: Errors, *, seed: int, num_resamples: int
) -> Estimate:
    """The rate of one model minus that of another, of the same samples; pairs are resampled.

    Args:
        first: Of N transcripts.
        second: Of the other model's, of the same samples.
        seed: Same seed, same interval.
        num_resamples: 0: none, and no interval.

    Source:
        Bisani & Ney 2004, section 4.
    """
    if first.rate is None or second.rate is None:
        return Estimate(None, undefined="no samples")
    differences = [
        (counts @ first.edits) / (counts @ first.lengths)
        - (counts @ second.edits) / (counts @ second.lengths)
        for counts in _resamples(first, seed, num_resamples)
    ]
    resampled = np.concatenate(differences) if differences else np.zeros(0)
    return estimate(first.rate - second.rate, resampled)


def stretches(reference: str, transcript: str) -> list[Stretch]:
    """A transcript laid beside its reference, character by character."""
    compared = _compared([reference], [transcript], "characters")
    right, said = compared.references[0], compared.hypotheses[0]
    return [
        Stretch(
            chunk.type,
            "".join(right[chunk.ref_start_idx : chunk.ref_end_idx]),
            "".join(said[chunk.hyp_start_idx : chunk.hyp_end_idx]),
        )
        for chunk in compared.alignments[0]
    ]


def _compared(references: Sequence[str], transcripts: Sequence[str], unit: Unit) -> Any:
    import jiwer

    compare = jiwer.process_characters if unit == "characters" else jiwer.process_words
    return compare(list(references), list(transcripts))


def _resamples(errors: Errors, seed: int, num_resamples: int) -> Any:
    return resample_counts(len(errors.edits), seed=seed, num_resamples=num_resamples)

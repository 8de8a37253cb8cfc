"""All metrics of written texts, their intervals, and the difference of two models on the same samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.resampling.bootstrap import resample_counts
from pipeline.metrics.resampling.estimate import Estimate, estimate
from pipeline.metrics.texts.bleu import ORDERS, bleu, bleu_counts
from pipeline.metrics.texts.cider import Rarity, cider_d
from pipeline.metrics.texts.overlap import meteor, rouge_l
from pipeline.metrics.texts.tokens import Words, ngrams, words_of

BLEU = tuple(f"bleu_{order}" for order in range(1, ORDERS + 1))
MEANS = ("rouge_l", "cider", "meteor", "exact_match")
DISTINCT = ("distinct_1", "distinct_2")
NAMES = (*BLEU, *MEANS, *DISTINCT)


@dataclass(frozen=True)
class References:
    """What is right of N samples, as words.

    Attributes:
        samples: Of each, its references, at least one.
        rarity: Of runs of words among the samples.
    """

    samples: Sequence[Sequence[Words]]
    rarity: Rarity

    @classmethod
    def of(cls, samples: Sequence[Sequence[str]]) -> References:
        """The references of texts."""
        worded = [[words_of(text) for text in texts] for texts in samples]
        return cls(worded, Rarity(worded))


@dataclass(frozen=True)
class TextScores:
    """What is known of N texts that were written, enough for every metric of any resample of them.

    Attributes:
        written: Their words.
        counts: (N, 10) float64 of :func:`pipeline.metrics.texts.bleu.bleu_counts`.
        means: (N, 4) float64, what the metrics ``MEANS`` are means of.
    """

    written: Sequence[Words]
    counts: NDArray[np.float64]
    means: NDArray[np.float64]

    @classmethod
    def of(cls, texts: Sequence[str], references: References) -> TextScores:
        """Judges N texts."""
        written = [words_of(text) for text in texts]
        # Many samples share a text and its references: each such pair is judged once.
        judged: dict[tuple[Words, tuple[Words, ...]], tuple[NDArray[np.float64], list[float]]] = {}
        counts, means = np.zeros((len(texts), 2 * ORDERS + 2)), np.zeros((len(texts), len(MEANS)))
        for row, (words, right) in enumerate(zip(written, references.samples, strict=True)):
            pair = (words, tuple(right))
            if pair not in judged:
                judged[pair] = (
                    bleu_counts(words, right),
                    [
                        rouge_l(words, right),
                        cider_d(words, right, references.rarity),
                        meteor(words, right),
                        float(words in pair[1]),
                    ],
                )
            counts[row], means[row] = judged[pair]
        return cls(written, counts, means)

    @property
    def cider(self) -> NDArray[np.float64]:
        """(N,) float64, CIDEr-D of each sample."""
        return self.means[:, MEANS.index("cider")]

    def at(self, rows: NDArray[np.bool_]) -> TextScores:
        """Those of some samples, (N,) bool."""
        chosen = [words for words, is_chosen in zip(self.written, rows, strict=True) if is_chosen]
        return TextScores(chosen, self.counts[rows], self.means[rows])

    def estimates(self, *, seed: int, num_resamples: int) -> dict[str, Estimate]:
        """Metric -> its value and interval; ``DISTINCT`` have none, since a resample repeats texts.

        Args:
            seed: Same seed, same intervals.
            num_resamples: Bootstrap resamples; 0: none, and no intervals.
        """
        count = len(self.written)
        if not count:
            return {name: Estimate(None, undefined="no samples") for name in NAMES}
        names = [*BLEU, *MEANS]
        values = np.concatenate([bleu(self.counts.sum(axis=0)), self.means.mean(axis=0)])
        runs = [
            np.concatenate([bleu(drawn @ self.counts), drawn @ self.means / count], axis=1)
            for drawn in resample_counts(count, seed=seed, num_resamples=num_resamples)
        ]
        resampled = np.concatenate(runs) if runs else np.zeros((0, len(names)))
        estimates = {
            name: estimate(float(values[k]), resampled[:, k]) for k, name in enumerate(names)
        }
        return estimates | {
            name: Estimate(*distinct(self.written, size)) for size, name in enumerate(DISTINCT, 1)
        }


def distinct(texts: Sequence[Words], size: int) -> tuple[float | None, None, str | None]:
    """Share of the runs of ``size`` words of all texts that are different ones, no interval, and why there is none.

    Source: Li et al. 2016, "A diversity-promoting objective function for neural conversation models", section 5.3.
    """
    runs = [run for words in texts for run in ngrams(words, size)]
    if not runs:
        return None, None, f"no text has {size} words" if size > 1 else "no text has a word"
    return len(set(runs)) / len(runs), None, None

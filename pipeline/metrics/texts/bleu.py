"""BLEU: how many of the runs of words are in a reference, over a whole corpus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.texts.tokens import Words, ngrams

ORDERS = 4


def bleu_counts(written: Words, references: Sequence[Words]) -> NDArray[np.float64]:
    """What a sample adds to a corpus.

    Args:
        written: What the model says.
        references: At least one.

    Returns:
        (2 * 4 + 2,) float64: of runs of 1 to 4 words those that a reference has, as often as it has them at most; all
        of them; words written; and words of the reference that is nearest in length, the shorter of two.

    Source: Papineni et al. 2002, "BLEU: a method for automatic evaluation of machine translation", section 2.
    """
    matched, total = [], []
    for size in range(1, ORDERS + 1):
        counts = Counter(ngrams(written, size))
        most: Counter[Words] = Counter()
        for reference in references:
            most |= Counter(ngrams(reference, size))
        matched.append((counts & most).total())
        total.append(counts.total())
    nearest = min(map(len, references), key=lambda length: (abs(length - len(written)), length))
    return np.array([*matched, *total, len(written), nearest], dtype=np.float64)


def bleu(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """BLEU-1 to BLEU-4 of corpora.

    Args:
        counts: (..., 10) float64, sums of :func:`bleu_counts`.

    Returns:
        (..., 4) float64, from 0 to 1; 0 where no run of some length is right.

    Source: Papineni et al. 2002, section 2.3, with equal weights.
    """
    matched, total = counts[..., :ORDERS], counts[..., ORDERS : 2 * ORDERS]
    precision = np.divide(matched, total, out=np.zeros_like(matched), where=total > 0)
    with np.errstate(divide="ignore"):
        logs = np.log(precision).cumsum(axis=-1) / np.arange(1, ORDERS + 1)
    written, nearest = counts[..., -2], counts[..., -1]
    ratio = np.divide(nearest, written, out=np.full_like(nearest, np.inf), where=written > 0)
    brevity = np.exp(np.minimum(0.0, 1.0 - ratio))
    scores: NDArray[np.float64] = np.exp(logs) * brevity[..., None]
    return scores

"""CIDEr-D: how near a text is to references, where words that few samples have count most."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from pipeline.metrics.texts.tokens import Words, ngrams

ORDERS = 4
DEVIATION = 6.0  # words by which lengths may differ, sigma
FACTOR = 10.0

_Weights = Mapping[Words, float]


class Rarity:
    """How many samples have which runs of words in any of their references.

    Args:
        samples: Of each sample, its references.
    """

    def __init__(self, samples: Iterable[Sequence[Words]]) -> None:
        self.samples_with: Counter[Words] = Counter()
        count = 0
        for references in samples:
            count += 1
            self.samples_with.update(
                {
                    run
                    for reference in references
                    for size in range(1, ORDERS + 1)
                    for run in ngrams(reference, size)
                }
            )
        self._log_count = math.log(max(1, count))

    def weights(self, words: Words) -> list[_Weights]:
        """Of each length, run of words -> how often it is there, times the logarithm of its rarity."""
        return [
            {
                run: times * (self._log_count - math.log(max(1, self.samples_with[run])))
                for run, times in Counter(ngrams(words, size)).items()
            }
            for size in range(1, ORDERS + 1)
        ]


def cider_d(written: Words, references: Sequence[Words], rarity: Rarity) -> float:
    """CIDEr-D of a sample, from 0 to 10; that of a corpus is the mean over its samples.

    Words are compared as they stand, without stems, as everybody's program does.

    Args:
        written: What the model says.
        references: At least one.
        rarity: Of the samples that are judged.

    Source: Vedantam et al. 2015, "CIDEr: consensus-based image description evaluation", sections 3 and 6 (CIDEr-D).
    """
    ours = rarity.weights(written)
    similarity = 0.0
    for reference in references:
        theirs = rarity.weights(reference)
        penalty = math.exp(-((len(written) - len(reference)) ** 2) / (2 * DEVIATION**2))
        similarity += penalty * sum(map(_clipped_cosine, ours, theirs)) / ORDERS
    return FACTOR * similarity / len(references)


def _clipped_cosine(ours: _Weights, theirs: _Weights) -> float:
    """The cosine of two texts, where what one says more often than the other counts as often as the other's."""
    norms = math.hypot(*ours.values()) * math.hypot(*theirs.values())
    if not norms:
        return 0.0
    return (
        sum(min(weight, theirs[run]) * theirs[run] for run, weight in ours.items() if run in theirs)
        / norms
    )

"""How much of a text is in a reference, sample by sample: ROUGE-L, and METEOR of equal words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise

from pipeline.metrics.texts.tokens import Words

RECALL_WEIGHT = 1.2  # beta of ROUGE-L
SHARE_OF_PRECISION = 0.9  # alpha of METEOR
FRAGMENTS, FRAGMENTS_POWER = 0.5, 3.0  # gamma and beta of METEOR


def rouge_l(written: Words, references: Sequence[Words]) -> float:
    """The F-measure of the longest common subsequence; precision and recall are each the best of all references.

    Source: Lin 2004, "ROUGE: a package for automatic evaluation of summaries", section 3; of several references as in
    Chen et al. 2015, "Microsoft COCO captions", section 3.2.
    """
    common = [_longest_common(written, reference) for reference in references]
    precision = max(length / max(1, len(written)) for length in common)
    recall = max(
        length / max(1, len(reference))
        for length, reference in zip(common, references, strict=True)
    )
    if not precision or not recall:
        return 0.0
    squared = RECALL_WEIGHT**2
    return (1 + squared) * precision * recall / (recall + squared * precision)


def _longest_common(first: Words, second: Words) -> int:
    lengths = [0] * (len(second) + 1)
    for word in first:
        diagonal = 0
        for place, other in enumerate(second, 1):
            above = lengths[place]
            lengths[place] = diagonal + 1 if word == other else max(above, lengths[place - 1])
            diagonal = above
    return lengths[-1]


def meteor(written: Words, references: Sequence[Words]) -> float:
    """METEOR with equal words alone, the best of all references: neither stems nor synonyms are matched.

    Of words that are there several times, the last ones are matched first.

    Source: Banerjee & Lavie 2005, "METEOR: an automatic metric for MT evaluation", section 2.
    """
    return max(_meteor(written, reference) for reference in references)


def _meteor(written: Words, reference: Words) -> float:
    places: dict[str, list[int]] = defaultdict(list)
    for place, word in enumerate(reference):
        places[word].append(place)
    matches = [
        (place, places[word].pop())
        for place, word in reversed(list(enumerate(written)))
        if places.get(word)
    ][::-1]
    if not matches:
        return 0.0
    precision, recall = len(matches) / len(written), len(matches) / len(reference)
    mean = precision * recall / (SHARE_OF_PRECISION * precision + (1 - SHARE_OF_PRECISION) * recall)
    together = sum(
        (right - left, other - one) == (1, 1) for (left, one), (right, other) in pairwise(matches)
    )
    chunks = len(matches) - together
    penalty: float = FRAGMENTS * (chunks / len(matches)) ** FRAGMENTS_POWER
    return mean * (1 - penalty)

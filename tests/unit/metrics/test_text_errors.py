"""Error rates of transcripts, against counts by hand and against a table of all edits."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from pipeline.metrics.texts.errors import (
    Errors,
    errors_of,
    paired_rate_difference,
    rate_estimate,
    stretches,
)


def distance(left: str, right: str) -> int:
    """Fewest characters that are put in another's place, left out or put in, by the table of all beginnings."""
    table = {(i, 0): i for i in range(len(left) + 1)} | {(0, j): j for j in range(len(right) + 1)}
    for i, j in itertools.product(range(1, len(left) + 1), range(1, len(right) + 1)):
        swapped = table[i - 1, j - 1] + (left[i - 1] != right[j - 1])
        table[i, j] = min(swapped, table[i - 1, j] + 1, table[i, j - 1] + 1)
    return table[len(left), len(right)]


def test_edits_are_the_fewest_there_are() -> None:
    random = np.random.default_rng(0)
    words = ["".join(random.choice(list("abc"), random.integers(1, 9))) for _ in range(60)]
    said = ["".join(random.choice(list("abc"), random.integers(0, 9))) for _ in range(60)]
    errors = errors_of([[word] for word in words], said, "characters")
    assert errors.edits.tolist() == list(map(distance, words, said))
    assert errors.lengths.tolist() == list(map(len, words))


def test_rates_are_of_a_corpus_and_not_means_of_samples() -> None:
    references = [["one two three"], ["four"]]
    words = errors_of(references, ["one to", "four"], "words")
    assert (words.edits.tolist(), words.lengths.tolist()) == ([2, 0], [3, 1])
    assert words.rate == pytest.approx(2 / 4)
    assert errors_of(references, ["", ""], "characters").rate == 1.0
    assert errors_of([["一二三"]], ["一二"], "characters").rate == pytest.approx(1 / 3)
    assert errors_of([], [], "words").rate is None


def test_of_several_references_the_nearest_counts() -> None:
    errors = errors_of([["a b c d", "a x", "a y z"], ["q"]], ["a y", "q"], "words")
    assert (errors.edits.tolist(), errors.lengths.tolist()) == ([1, 0], [3, 1])


def test_intervals_are_those_of_resampled_samples() -> None:
    random = np.random.default_rng(1)
    errors = Errors(random.integers(0, 4, 80), random.integers(3, 9, 80))
    found = rate_estimate(errors, seed=3, num_resamples=2000)
    drawn = random.integers(0, 80, (2000, 80))
    rates = errors.edits[drawn].sum(axis=1) / errors.lengths[drawn].sum(axis=1)
    assert found.value == errors.edits.sum() / errors.lengths.sum()
    assert found.interval == pytest.approx(np.percentile(rates, [2.5, 97.5]), abs=0.015)
    assert rate_estimate(errors, seed=3, num_resamples=0).interval is None
    better = Errors(np.maximum(errors.edits - 1, 0), errors.lengths)
    paired = paired_rate_difference(errors, better, seed=3, num_resamples=500)
    assert paired.value == pytest.approx(errors.rate - better.rate)
    assert paired.interval[0] > 0, "each pair differs in one direction"


def test_a_transcript_lies_beside_its_reference() -> None:
    pieces = stretches("seven", "sieven")
    assert "".join(piece.reference for piece in pieces) == "seven"
    assert "".join(piece.transcript for piece in pieces) == "sieven"
    assert [piece.transcript for piece in pieces if piece.fault == "insert"] == ["i"]
    [piece] = stretches("ab", "")
    assert (piece.fault, piece.reference, piece.transcript) == ("delete", "ab", "")

"""When a training has got no better for too long, in either direction of its score."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.models.record import Score
from pipeline.training.callbacks.early_stop import epochs_without_gain

SCORES = st.lists(st.integers(-5, 5).map(float), max_size=12)


def rows(scores: list[float]) -> list[dict[str, float]]:
    return [{"train_score": score} for score in scores]


@given(SCORES, st.sampled_from([0.0, 1.0, 2.5]))
def test_it_counts_since_the_last_epoch_that_was_better(scores: list[float], delta: float) -> None:
    best, better = -math.inf, -1
    for epoch, score in enumerate(scores):
        if score > best + delta:
            best, better = score, epoch
    expected = len(scores) - 1 - better
    assert epochs_without_gain(rows(scores), Score("score", "max"), delta) == expected
    mirrored = rows([-score for score in scores])
    assert epochs_without_gain(mirrored, Score("score", "min"), delta) == expected


@pytest.mark.parametrize("direction", ["max", "min"])
def test_a_score_that_is_no_number_is_no_gain(direction) -> None:
    history = rows([1.0, math.nan, math.nan])
    assert epochs_without_gain(history, Score("score", direction), 0.0) == 2
    assert epochs_without_gain([], Score("score", direction), 0.0) == 0

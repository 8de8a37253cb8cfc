"""Retrieval and probes against brute force: one query, one candidate at a time."""

import itertools
import math

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from pipeline.metrics import retrieval
from pipeline.metrics.probes import (
    Labelled,
    by_prototypes,
    linear_probe,
    mean_directions,
    nearest_neighbours,
)
from pipeline.metrics.retrieval import RECALLS, asked_samples, median_estimate, rank, row_means

N, D = 40, 6


def unit(values: np.ndarray) -> np.ndarray:
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


@pytest.fixture
def space() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    found = unit(random.normal(size=(N, D)))
    found[7] = found[3]  # equal things, one of them an answer to the other's query
    found[9] = found[4]  # and two that are not
    asked = unit(found + 0.8 * random.normal(size=(N, D)))
    groups = np.arange(N)
    groups[[3, 7, 20]] = 3
    return {
        "asked": asked,
        "found": found,
        "has_query": random.random(N) > 0.2,
        "has_candidate": random.random(N) > 0.2,
        "groups": groups,
    }


def test_ranks_precision_and_chance_by_brute_force(space: dict[str, np.ndarray]) -> None:
    groups, has = space["groups"], space["has_candidate"]
    ranking = rank(
        space["asked"],
        space["found"],
        space["has_query"],
        has,
        lambda rows: groups[rows][:, None] == groups[None],
    )
    candidates = [j for j in range(N) if has[j]]
    assert ranking.num_candidates == len(candidates)
    for i in range(N):
        if not (space["has_query"][i] and has[i]):
            assert np.isnan([ranking.ranks[i], ranking.precision[i]]).all()
            assert np.isnan(ranking.recall(5)[i])
            assert (ranking.nearest[i] == -1).all()
            continue
        similar = {j: round(float(space["asked"][i] @ space["found"][j]), 9) for j in candidates}
        answers = [j for j in candidates if groups[j] == groups[i]]
        best = max(similar[j] for j in answers)
        ahead = sum(similar[j] >= best for j in candidates if j not in answers)
        assert ranking.ranks[i] == 1 + ahead
        truth = [groups[j] == groups[i] for j in candidates]
        expected = average_precision_score(truth, [similar[j] for j in candidates])
        assert ranking.precision[i] == pytest.approx(expected, abs=1e-12)
        for place, count in enumerate(RECALLS):
            assert ranking.recall(count)[i] == (ahead < count)
            missed = math.comb(len(candidates) - len(answers), count)
            of_all = math.comb(len(candidates), count)
            assert ranking.chance[i, place] == pytest.approx(1 - missed / of_all)
        order = sorted(candidates, key=lambda j: -similar[j])
        assert ranking.scores[i] == pytest.approx([similar[j] for j in order[:3]])
        assert sorted(similar[j] for j in ranking.nearest[i]) == sorted(
            similar[j] for j in order[:3]
        )


def test_a_space_in_which_all_is_equal_finds_nothing() -> None:
    ones = np.ones((20, 2)) / 2**0.5
    every = np.ones(20, bool)
    ranking = rank(
        ones, ones, every, every, lambda rows: rows[:, None] == np.arange(20)[None], top=30
    )
    assert (ranking.ranks == 20).all()
    assert ranking.precision == pytest.approx(np.full(20, 1 / 20))
    assert ranking.chance[0] == pytest.approx([1 / 20, 5 / 20, 10 / 20])
    assert (ranking.nearest[0] >= 0).sum() == 20, "no more than there are"


def test_of_a_large_split_some_ask_and_all_are_found_in_blocks(
    space: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    def ranked(asked: np.ndarray | None) -> retrieval.Ranking:
        groups = space["groups"]
        sides = (space["asked"], space["found"], space["has_query"], space["has_candidate"])
        return rank(*sides, lambda rows: groups[rows][:, None] == groups[None], asked=asked)

    whole = ranked(None)
    assert asked_samples(N).all()
    monkeypatch.setattr(retrieval, "MAX_QUERIES", 15)
    monkeypatch.setattr(retrieval, "_BLOCK_ELEMENTS", 70)  # two queries a block
    asked = asked_samples(N)
    assert asked.sum() == 15
    some = ranked(asked)
    assert some.num_candidates == whole.num_candidates
    assert np.isnan(some.ranks[~asked]).all()
    for name in ("ranks", "precision", "chance", "nearest", "scores"):
        np.testing.assert_array_equal(getattr(some, name)[asked], getattr(whole, name)[asked])


def test_medians_have_intervals_and_means_leave_out_what_is_not_there() -> None:
    values = np.array([np.nan, 1, 2, 3, 40, np.nan])
    estimate = median_estimate(values, seed=1, num_resamples=500)
    assert estimate.value == 2.5
    random = np.random.default_rng(1)
    drawn = np.median(values[1:5][random.integers(0, 4, size=(500, 4))], axis=1)
    assert estimate.interval == pytest.approx(np.percentile(drawn, [2.5, 97.5]))
    assert median_estimate(values, seed=1, num_resamples=0).interval is None
    assert median_estimate(values[:1], seed=1, num_resamples=9).value is None
    means = row_means([np.array([1.0, np.nan, np.nan]), np.array([3.0, 5.0, np.nan])])
    np.testing.assert_array_equal(means, [2.0, 5.0, np.nan])


def test_neighbours_vote_by_their_similarity() -> None:
    random = np.random.default_rng(0)
    values = unit(random.normal(size=(30, 4)))
    labels = [str(int(name)) for name in random.integers(0, 3, 30)]
    others = Labelled(values[10:], labels[10:])
    within = nearest_neighbours(Labelled(values, labels))
    of_others = nearest_neighbours(Labelled(values[:10], labels[:10]), others)
    for right, pool in ((within, range(30)), (of_others, range(10, 30))):
        for i in range(len(right)):
            nearest = sorted(
                (j for j in pool if j != i), key=lambda j: -round(float(values[i] @ values[j]), 9)
            )
            votes = dict.fromkeys(sorted(set(labels)), 0.0)
            for j in nearest[:5]:
                votes[labels[j]] += math.exp(float(values[i] @ values[j]) / 0.07)
            assert right[i] == (max(votes, key=lambda name: votes[name]) == labels[i])
    assert not nearest_neighbours(Labelled(values[:1], ["x"]), others).any(), "in no other split"


def test_a_linear_probe_learns_from_the_other_folds_only() -> None:
    random = np.random.default_rng(0)
    labels = [name for name in "abc" for _ in range(20)]
    corners = np.repeat(np.eye(3), 20, axis=0)
    apart = unit(corners + 0.1 * random.normal(size=(60, 3)))
    right = linear_probe(Labelled(apart, labels), seed=0)
    assert right is not None
    assert right.mean() > 0.95
    noise = unit(random.normal(size=(60, 40)))
    chance = linear_probe(Labelled(noise, labels), seed=0)
    assert chance is not None
    assert chance.mean() < 0.6, "40 channels fit 60 samples that they have seen"
    assert linear_probe(Labelled(apart, [str(i) for i in range(60)]), seed=0) is None
    assert linear_probe(Labelled(apart[:4], ["a", "a", "b", "b"]), seed=0) is not None


def test_a_linear_probe_of_another_split_learns_from_all_of_it() -> None:
    from sklearn.linear_model import LogisticRegression

    random = np.random.default_rng(1)
    labels = np.array(list("abc") * 20)
    values = unit(np.tile(np.eye(3), (20, 1)) + 0.8 * random.normal(size=(60, 3)))
    judged, fitted = Labelled(values[:20], labels[:20]), Labelled(values[20:], labels[20:])
    right = linear_probe(judged, 0, fitted)
    twin = LogisticRegression(C=10 / 0.07, max_iter=200).fit(values[20:], labels[20:])
    np.testing.assert_array_equal(right, twin.predict(values[:20]) == labels[:20])
    assert linear_probe(judged, 0, Labelled(values[:1], ["a"])) is None


def test_classes_are_the_directions_of_their_prompts() -> None:
    random = np.random.default_rng(0)
    prompts = unit(random.normal(size=(5, D)))
    names = ["a", "b", "a", "c", "b"]
    prototypes = mean_directions(prompts, names, ["b", "a", "c"])
    for place, name in enumerate(["b", "a", "c"]):
        total = [0.0] * D
        for prompt, its in zip(prompts, names, strict=True):
            if its == name:
                total = [t + p for t, p in zip(total, prompt, strict=True)]
        length = math.sqrt(sum(t * t for t in total))
        assert prototypes[place] == pytest.approx([t / length for t in total])
    values = unit(random.normal(size=(20, D)))
    said = by_prototypes(values, prototypes)
    for row, place in itertools.product(range(20), range(3)):
        assert values[row] @ prototypes[said[row]] >= values[row] @ prototypes[place] - 1e-9

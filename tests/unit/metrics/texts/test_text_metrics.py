"""Metrics of texts against other people's programs, and against the papers' formulas written out."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from types import SimpleNamespace

import numpy as np
import pytest
from nltk.translate.meteor_score import meteor_score
from sacrebleu.metrics import BLEU

from pipeline.metrics.texts.cider import Rarity, cider_d
from pipeline.metrics.texts.overlap import meteor, rouge_l
from pipeline.metrics.texts.scores import NAMES, References, TextScores
from pipeline.metrics.texts.tokens import words_of

Corpus = tuple[list[str], list[list[str]]]


def corpora(count: int = 12) -> Iterator[Corpus]:
    """Texts of few words, so that much is equal, repeated and turned round; some of one word, some of none."""
    draw = random.Random(0)

    def text(most: int) -> str:
        return " ".join(draw.choices(["a", "b", "c", "d", "e"], k=draw.randint(0, most)))

    for _ in range(count):
        size = draw.randint(1, 6)
        written = [text(9) for _ in range(size)]
        yield written, [[text(9) or "a" for _ in range(draw.randint(1, 3))] for _ in range(size)]


def scores_of(written: Sequence[str], references: Sequence[Sequence[str]]) -> TextScores:
    return TextScores.of(written, References.of(references))


def metrics_of(
    written: Sequence[str], references: Sequence[Sequence[str]]
) -> dict[str, float | None]:
    estimates = scores_of(written, references).estimates(seed=0, num_resamples=0)
    return {name: found.value for name, found in estimates.items()}


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_bleu_is_sacrebleus(order: int) -> None:
    theirs = BLEU(
        max_ngram_order=order, tokenize="none", smooth_method="none", effective_order=False
    )
    for written, references in corpora():
        most = max(map(len, references))
        columns = [[row[k] if k < len(row) else None for row in references] for k in range(most)]
        expected = theirs.corpus_score(written, columns).score / 100
        assert metrics_of(written, references)[f"bleu_{order}"] == pytest.approx(expected, abs=1e-9)


def test_meteor_is_nltks_without_stems_and_synonyms() -> None:
    no_words = SimpleNamespace(synsets=lambda word: [])
    as_it_is = SimpleNamespace(stem=lambda word: word)
    for written, references in corpora(40):
        for text, right in zip(written, references, strict=True):
            words, worded = words_of(text), [words_of(other) for other in right]
            expected = meteor_score(
                [list(other) for other in worded], list(words), stemmer=as_it_is, wordnet=no_words
            )
            assert meteor(words, worded) == pytest.approx(expected, abs=1e-12)


def longest_common(first: Sequence[str], second: Sequence[str]) -> int:
    """By its definition: of all subsequences of the one, the longest that the other has."""
    best = 0
    for chosen in range(1 << len(first)):
        words = [word for place, word in enumerate(first) if chosen >> place & 1]
        rest = iter(second)
        if all(word in rest for word in words):
            best = max(best, len(words))
    return best


def test_rouge_is_the_papers() -> None:
    for written, references in corpora():
        for text, right in zip(written, references, strict=True):
            words, worded = words_of(text), [words_of(other) for other in right]
            common = [longest_common(words, other) for other in worded]
            p = max(c / len(words) for c in common) if words else 0.0
            r = max(c / len(other) for c, other in zip(common, worded, strict=True))
            expected = 2.44 * p * r / (r + 1.44 * p) if p else 0.0
            assert rouge_l(words, worded) == pytest.approx(expected, abs=1e-12)


def cider_by_the_paper(written: list[str], references: list[list[str]]) -> list[float]:
    """Vedantam et al. 2015, equations 1 to 5 with the clipping and the penalty of CIDEr-D, over dense vectors."""

    def runs(text: str, n: int) -> Counter[str]:
        words = text.split()
        return Counter(" ".join(words[i : i + n]) for i in range(len(words) - n + 1))

    totals = np.zeros(len(written))
    for n in (1, 2, 3, 4):
        known = sorted(
            {run for texts in [*references, written] for text in texts for run in runs(text, n)}
        )
        with_run = {
            run: sum(any(run in runs(t, n) for t in ts) for ts in references) for run in known
        }
        idf = np.array([math.log(len(references) / max(1, with_run[run])) for run in known])

        def vector(text: str) -> np.ndarray:
            return np.array([runs(text, n)[run] for run in known]) * idf  # noqa: B023

        for i, (text, right) in enumerate(zip(written, references, strict=True)):
            for other in right:
                g, s = vector(text), vector(other)
                norms = np.linalg.norm(g) * np.linalg.norm(s)
                cosine = np.minimum(g, s) @ s / norms if norms else 0.0
                distance = len(text.split()) - len(other.split())
                totals[i] += 10 * math.exp(-(distance**2) / 72) * cosine / len(right) / 4
    return totals.tolist()


def test_cider_is_the_papers() -> None:
    above_zero = 0
    for written, references in corpora(20):
        expected = cider_by_the_paper(written, references)
        np.testing.assert_allclose(scores_of(written, references).cider, expected, atol=1e-9)
        above_zero += sum(value > 0 for value in expected)
    assert above_zero > 10


def test_words_that_few_samples_have_count_most() -> None:
    references = [[words_of(f"a dog {name}")] for name in ("runs", "sits", "eats", "sleeps")]
    rarity = Rarity(references)
    assert cider_d(words_of("runs"), references[0], rarity) > cider_d(
        words_of("a dog"), references[0], rarity
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Two DOGS, running; and don’t\tstop!", ("two", "dogs", "running", "and", "don't", "stop")),
        ("这是一只猫。 OK", ("这", "是", "一", "只", "猫", "ok")),
        ("กิน", ("กิ", "น")),
        ("नमस्ते दुनिया", ("नमस्ते", "दुनिया")),
        ("한국어 단어", ("한국어", "단어")),
        ("e\u0301t\u00e9 3.5", ("\u00e9t\u00e9", "3", "5")),
        ("…, '", ()),
    ],
)
def test_texts_are_cut_into_words(text: str, words: tuple[str, ...]) -> None:
    assert words_of(text) == words


def test_exact_match_and_distinct_runs() -> None:
    found = metrics_of(
        ["A cat.", "a cat", "a dog runs"], [["a cat"], ["the cat"], ["x", "A dog runs!"]]
    )
    assert found["exact_match"] == pytest.approx(2 / 3)
    assert found["distinct_1"] == pytest.approx(4 / 7)
    assert found["distinct_2"] == pytest.approx(3 / 4)
    assert metrics_of(["a"], [["a"]])["distinct_2"] is None


def test_a_resample_is_judged_as_its_samples_would_be() -> None:
    """The interval comes from statistics that are added up; here each resample is judged anew."""
    written = ["a b c d", "a b", "c c d e", "e", "a b c d e"]
    references = [["a b c d"], ["a c b", "b"], ["c d e"], ["d"], ["a b c e d", "a b"]]
    scores = scores_of(written, references)
    estimates = scores.estimates(seed=3, num_resamples=50)
    rng = np.random.default_rng(3)
    draws = rng.integers(0, 5, size=(50, 5))
    for order in (1, 2):
        theirs = BLEU(
            max_ngram_order=order, tokenize="none", smooth_method="none", effective_order=False
        )
        again = []
        for drawn in draws:
            rows = [references[i] for i in drawn]
            columns = [[row[k] if k < len(row) else None for row in rows] for k in range(2)]
            columns = [column for column in columns if any(column)]
            again.append(theirs.corpus_score([written[i] for i in drawn], columns).score / 100)
        expected = np.percentile(again, [2.5, 97.5])
        np.testing.assert_allclose(estimates[f"bleu_{order}"].interval, expected, atol=1e-9)
    ends = np.percentile(scores.cider[draws].mean(axis=1), [2.5, 97.5])
    np.testing.assert_allclose(estimates["cider"].interval, ends, atol=1e-9)


def test_without_samples_nothing_is_defined() -> None:
    estimates = scores_of([], []).estimates(seed=0, num_resamples=10)
    assert set(estimates) == set(NAMES)
    assert all(found.value is None and found.undefined for found in estimates.values())

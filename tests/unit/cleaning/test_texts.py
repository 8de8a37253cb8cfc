"""MinHash: the estimate against the sets themselves, edited copies, and texts that differ in one word."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.cleaning.groups import equal_pairs
from pipeline.modalities.text.likeness import SHINGLE, Texts, resemblance, shingles, text_signature

STORY = (
    "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness, "
    "it was the epoch of belief, it was the epoch of incredulity, it was the season of Light, it was the season of "
    "Darkness, it was the spring of hope, it was the winter of despair."
)
CHINESE = (
    "天地玄黄宇宙洪荒日月盈昃辰宿列张寒"
    "来暑往秋收冬藏闰余成岁律吕调阳云腾致雨露结为霜金生丽水玉出昆冈剑号巨阙珠称夜光"
)


def estimate(first: str, second: str) -> float:
    return float(resemblance(text_signature(first)[None], text_signature(second)[None])[0])


def jaccard(first: str, second: str) -> float:
    a, b = (
        {text[at : at + SHINGLE] for at in range(len(text) - SHINGLE + 1)}
        for text in (first, second)
    )
    return len(a & b) / len(a | b)


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000), kept=st.floats(0, 1))
def test_the_estimate_is_near_the_similarity(seed: int, kept: float) -> None:
    chance = np.random.default_rng(seed)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    first = "".join(letters[chance.integers(0, 26, 600)])
    cut = int(600 * kept)
    second = first[:cut] + "".join(letters[chance.integers(0, 26, 600 - cut)])
    assert estimate(first, second) == pytest.approx(jaccard(first, second), abs=5 * 0.045)


def test_the_estimate_is_right_on_average() -> None:
    chance = np.random.default_rng(1)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    errors = []
    for _ in range(60):
        first = "".join(letters[chance.integers(0, 26, 300)])
        second = first[:200] + "".join(letters[chance.integers(0, 26, 100)])
        errors.append(estimate(first, second) - jaccard(first, second))
    assert abs(np.mean(errors)) < 3 * 0.045 / np.sqrt(60)
    assert np.std(errors) < 0.06


@pytest.mark.parametrize(
    ("edited", "least"),
    [
        (STORY.upper(), 1.0),
        (STORY.replace(", ", " -- ").replace(".", "\n"), 1.0),
        (STORY.replace("wisdom", "wisdum"), 0.9),
        (STORY + " THE END", 0.9),
        (STORY.replace("season of Light", "reason of Light"), 0.9),
    ],
)
def test_edited_copies(edited: str, least: float) -> None:
    assert estimate(STORY, edited) >= least


def test_scripts_without_spaces() -> None:
    assert estimate(CHINESE, CHINESE.replace("秋", "春")) > 0.8
    assert estimate(CHINESE, CHINESE[::-1]) < 0.2


def test_of_short_texts_one_letter_is_all_the_difference() -> None:
    assert estimate("The number is seven.", "the number IS seven") == 1.0
    assert estimate("The number is seven.", "The number is eleven.") < 0.3
    assert estimate("a photo of a cat", "a photo of a car") < 0.3
    assert estimate("", " !?") == 1.0
    assert len(shingles("")) == 1


@pytest.mark.parametrize("similarity", [0.5, 0.8])
def test_tables_find_what_they_promise(similarity: float) -> None:
    chance = np.random.default_rng(7)
    rows = chance.integers(0, 256, (400, 128), dtype=np.uint8)
    rows[200:] = np.where(chance.random((200, 128)) < similarity, rows[:200], rows[200:])
    pairs = {
        pair
        for keys in Texts(rows, similarity).tables()
        for left, right in equal_pairs(keys)
        for pair in zip(left.tolist(), right.tolist(), strict=True)
    }
    share = np.mean([(at, at + 200) in pairs for at in range(200)])
    assert share == pytest.approx(1 - (1 - similarity**4) ** 32, abs=0.06)

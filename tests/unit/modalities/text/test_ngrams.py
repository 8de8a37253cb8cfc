"""Hashed runs of characters: by definition, and their weights as scikit-learn has them."""

from __future__ import annotations

import json
import math
from collections import Counter

import numpy as np
import pytest
import torch
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer

from pipeline.errors import SampleError
from pipeline.modalities.text import TextConfig
from pipeline.modalities.text.encoders.ngrams import TextNgrams
from pipeline.modalities.text.ngrams import (
    BASE,
    FACTOR,
    NUM_BUCKETS,
    PRIME,
    TERM,
    NgramStatistics,
    hashed_runs,
)

TEXTS = ("a tone", "音楽 and a tone", "tone tone tone", "\U0001f3b5")


def config(**settings: object) -> TextConfig:
    return TextConfig.model_validate({"encoder": {"kind": "ngrams", **settings}})


def column(*texts: str | None, **settings: object) -> tuple[TextConfig, object]:
    section = config(**settings)
    codec = section.codec(None)
    values = [
        None if text is None else codec.decode(memoryview(text.encode()), "txt") for text in texts
    ]
    return section, codec.to_arrow(values)


def bucket_of(run: str) -> int:
    """The bucket of a run, in whole numbers of any size."""
    value = sum(ord(letter) * BASE ** (len(run) - 1 - at) for at, letter in enumerate(run))
    return ((value + len(run) * BASE ** len(run)) % PRIME * FACTOR + TERM) % PRIME % NUM_BUCKETS


def runs(text: str, longest: int) -> list[str]:
    return [text[at : at + n] for n in range(1, longest + 1) for at in range(len(text) - n + 1)]


def test_hashed_by_definition() -> None:
    text = " tone 音\U0001f3b5 "
    characters = np.array([[ord(letter) for letter in text]], dtype=np.int64)
    for length in (1, 2, 5):
        buckets, real = hashed_runs(characters, length)
        expected = [bucket_of(text[at : at + length]) for at in range(len(text) - length + 1)]
        assert buckets[0].tolist() == expected
        assert real.all()
        tensors = hashed_runs(torch.from_numpy(characters), length)
        assert np.array_equal(tensors[0].numpy(), buckets), "tensors and arrays alike"
    characters[0, 3] = 0
    assert hashed_runs(characters, 2)[1][0].tolist() == [True] * 2 + [False] * 2 + [True] * 4


def test_buckets_are_even() -> None:
    characters = torch.randint(32, 0x30000, (1, 40_000))
    buckets, _ = hashed_runs(characters, 3)
    counts = torch.bincount(buckets[0] * 16 // NUM_BUCKETS, minlength=16) / buckets.shape[1]
    assert (counts - 1 / 16).abs().max() < 0.01
    assert buckets.unique().numel() > 0.9 * NUM_BUCKETS * (1 - math.exp(-40_000 / NUM_BUCKETS))


@pytest.mark.parametrize("num_inputs", [16, 512])
def test_weights_by_definition(num_inputs: int) -> None:
    section, texts = column(*TEXTS, None)
    collector = NgramStatistics(3, num_inputs)
    collector.add(texts[:2])
    collector.add(texts[2:])
    found = json.loads(json.dumps(collector.result()))
    counted = [Counter(map(bucket_of, runs(f" {text} ", 3))) for text in TEXTS]
    texts_with = Counter(bucket for counts in counted for bucket in counts)
    shared = sorted(texts_with, key=lambda bucket: (-texts_with[bucket], bucket))
    kept = [bucket for bucket in shared if texts_with[bucket] > 1][:num_inputs]
    assert found["buckets"] == kept
    presence = np.array([[bucket in counts for bucket in kept] for counts in counted], dtype=float)
    idf = TfidfTransformer().fit(presence).idf_
    np.testing.assert_allclose(found["idf"], idf)

    model = TextNgrams(8, 3, num_inputs, hidden=0, dropout=0.0).double()
    model.fit(found)
    weights = model.weights(torch.from_numpy(section.codec(None).collate(texts).values))
    for row, counts in enumerate(counted):
        expected = np.log1p([counts[bucket] for bucket in kept]) * idf
        expected /= math.sqrt((expected**2).sum())
        np.testing.assert_allclose(weights[row, : len(kept)].numpy(), expected, atol=1e-12)
    assert not weights[len(TEXTS)].any()
    assert not weights[:, len(kept) :].any()


@pytest.mark.parametrize("text", ["a tone of Ärger", "音楽 and a tone", "it is a b c", "tone"])
def test_runs_within_words_are_those_of_scikit_learn(text: str) -> None:
    """As ``char_wb`` has them, but for words that are shorter than a run, which it counts whole."""
    characters = np.array([[ord(letter) for letter in f" {text} "]], dtype=np.int64)
    for length in range(2, 7):
        buckets, real = hashed_runs(characters, length, within="words")
        analyze = CountVectorizer(
            analyzer="char_wb", ngram_range=(length, length), lowercase=False
        ).build_analyzer()
        expected = Counter(bucket_of(run) for run in analyze(text) if len(run) == length)
        assert Counter(buckets[real].tolist()) == expected
        tensors = hashed_runs(torch.from_numpy(characters), length, within="words")
        assert np.array_equal(tensors[1].numpy(), real), "tensors and arrays alike"


def test_what_is_counted_and_what_is_looked_at_keep_within_words() -> None:
    section, texts = column("a tone", "a tone", within="words")
    encoder = section.encoder
    collector = encoder.training_statistics(section)
    collector.add(texts)
    found = collector.result()
    assert bucket_of(" a ") in found["buckets"]
    assert bucket_of("a t") not in found["buckets"]
    model = encoder.build(section, 8)
    model.fit({"buckets": [bucket_of("a t"), bucket_of("ton")], "idf": [1.0, 1.0]})
    weights = model.weights(torch.from_numpy(section.codec(None).collate(texts).values))
    assert weights[0, :2].tolist() == [0.0, 1.0], "two words meet in the first"


def test_characters_as_they_are_cleaned() -> None:
    codec = config(max_characters=8).codec(None)
    value = codec.decode(memoryview("  Zürich 音楽 is long".encode()), "txt")
    assert "".join(map(chr, value)) == " zürich "
    assert codec.decode(memoryview(b" \n "), "txt").size == 0, "a text of nothing has nothing"
    as_written = config(lower=False).codec(None).decode(memoryview(b"A tone"), "txt")
    assert "".join(map(chr, as_written)) == " A tone "
    with pytest.raises(SampleError):
        codec.decode(memoryview(b"\xff\xfe\xfd"), "txt")


def test_dropped_characters_are_marked() -> None:
    codec = config().codec(None)
    ids = codec.decode(memoryview(b"tone"), "txt").astype(np.int64)
    dropped = ids.copy()
    dropped[2] = 0
    assert codec.marked(ids, dropped) == [(" t", True), ("o", False), ("ne ", True)]


def test_no_tokenizer_is_asked_for() -> None:
    assert config().tokenizing() is None
    assert config().encoder.decoding() == {"inputs": {"max_characters": 512, "lower": True}}

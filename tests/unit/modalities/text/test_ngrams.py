"""Hashed runs of characters: by definition, and their weights as scikit-learn has them."""

from __future__ import annotations

import json
import math
from collections import Counter

import numpy as np
import pytest
import torch
from sklearn.feature_extraction.text import TfidfTransformer

from pipeline.errors import SampleError
from pipeline.modalities.text import TextConfig
from pipeline.modalities.text.encoders.ngrams import TextNgrams
from pipeline.modalities.text.ngrams import (
    BASE,
    BUCKET_FACTOR,
    BUCKET_TERM,
    PRIME,
    SIGN_FACTOR,
    SIGN_TERM,
    NgramStatistics,
    hashed_runs,
)

TEXTS = ("a tone", "音楽 and a tone", "tone tone tone", "\U0001f3b5")
BUCKETS = 512


def config(**settings: object) -> TextConfig:
    return TextConfig.model_validate({"encoder": {"kind": "ngrams", **settings}})


def column(*texts: str | None, **settings: object) -> tuple[TextConfig, object]:
    section = config(**settings)
    codec = section.codec(None)
    values = [
        None if text is None else codec.decode(memoryview(text.encode()), "txt") for text in texts
    ]
    return section, codec.to_arrow(values)


def places(run: str) -> tuple[int, int]:
    """The bucket and the sign of a run, in whole numbers of any size."""
    value = sum(ord(letter) * BASE ** (len(run) - 1 - at) for at, letter in enumerate(run))
    value = (value + len(run) * BASE ** len(run)) % PRIME
    bucket = (value * BUCKET_FACTOR + BUCKET_TERM) % PRIME % BUCKETS
    return bucket, (value * SIGN_FACTOR + SIGN_TERM) % PRIME % 2 * 2 - 1


def runs(text: str, longest: int) -> list[str]:
    return [text[at : at + n] for n in range(1, longest + 1) for at in range(len(text) - n + 1)]


def test_hashed_by_definition() -> None:
    text = " tone 音\U0001f3b5 "
    characters = np.array([[ord(letter) for letter in text]], dtype=np.int64)
    for length in (1, 2, 5):
        buckets, signs, real = hashed_runs(characters, length, BUCKETS)
        expected = [places(text[at : at + length]) for at in range(len(text) - length + 1)]
        assert list(zip(buckets[0].tolist(), signs[0].tolist(), strict=True)) == expected
        assert real.all()
        for ours, theirs in zip(
            hashed_runs(torch.from_numpy(characters), length, BUCKETS),
            (buckets, signs, real),
            strict=True,
        ):
            assert np.array_equal(ours.numpy(), theirs), "tensors and arrays alike"


def test_buckets_and_signs_are_even() -> None:
    characters = torch.randint(32, 0x30000, (1, 40_000))
    buckets, signs, _ = hashed_runs(characters, 3, 16)
    counts = torch.bincount(buckets[0], minlength=16) / buckets.shape[1]
    assert (counts - 1 / 16).abs().max() < 0.01
    assert signs.double().mean().abs() < 0.02
    assert (buckets * signs).double().mean().abs() < 0.2, "they are independent"


def test_weights_by_definition() -> None:
    section, texts = column(*TEXTS, None)
    collector = NgramStatistics(3, BUCKETS)
    collector.add(texts[:2])
    collector.add(texts[2:])
    frequencies = json.loads(json.dumps(collector.result()))
    counted = [Counter(places(run) for run in runs(f" {text} ", 3)) for text in TEXTS]
    presence = np.zeros((len(TEXTS), BUCKETS))
    for row, counts in enumerate(counted):
        presence[row, [bucket for bucket, _ in counts]] = 1
    idf = TfidfTransformer().fit(presence).idf_
    np.testing.assert_allclose(frequencies["idf"], idf)

    model = TextNgrams(8, 3, BUCKETS, hidden=0, dropout=0.0).double()
    model.fit(frequencies)
    weights = model.weights(torch.from_numpy(section.codec(None).collate(texts).values))
    for row, counts in enumerate(counted):
        expected = np.zeros(BUCKETS)
        for (bucket, sign), count in counts.items():
            expected[bucket] += sign * count
        expected = np.sign(expected) * np.log1p(np.abs(expected)) * idf
        expected /= math.sqrt((expected**2).sum())
        np.testing.assert_allclose(weights[row].numpy(), expected, atol=1e-12)
    assert not weights[len(TEXTS)].any()


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

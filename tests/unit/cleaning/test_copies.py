"""Copies among many samples, against a comparison of all pairs."""

import itertools
from collections.abc import Mapping
from functools import partial

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.cleaning.content import content_hash, row_hashes
from pipeline.cleaning.copies import TRAIN, Compare, Copies, Signatures, find_copies
from pipeline.modalities.audio.likeness import AudioLikeness
from pipeline.modalities.image.likeness import ImageLikeness
from pipeline.modalities.text.likeness import TextLikeness

COMPARISONS: dict[str, Compare] = {
    "image": partial(ImageLikeness().compare, nearness=6),
    "text": partial(TextLikeness().compare, nearness=0.8),
    "audio": partial(AudioLikeness().compare, nearness=0.97),
}
WIDTHS = {"image": 10, "text": 128, "audio": 258}


def samples(count: int, seed: int, names: tuple[str, ...]) -> Signatures:
    """Few originals and many copies of them: exact, near in all modalities, near in one only."""
    chance = np.random.default_rng(seed)
    originals = max(1, count // 3)
    rows = {
        name: chance.integers(0, 256, (originals, WIDTHS[name]), dtype=np.uint8) for name in names
    }
    of = chance.integers(0, originals, count)
    rows = {name: each[of] for name, each in rows.items()}
    content = of.astype(np.uint64)
    present = {name: (chance.random(originals) < 0.8)[of] for name in names}
    for row in range(count):
        if chance.random() < 0.6:
            content[row] = count + row
            for name in names:
                _change(rows[name][row], name, chance, far=chance.random() < 0.3)
                present[name][row] ^= chance.random() < 0.1
    return Signatures(
        np.stack([content, content], axis=1),
        chance.integers(0, 3, count).astype(np.uint8),
        rows,
        present,
    )


def _change(row: np.ndarray, name: str, chance: np.random.Generator, *, far: bool) -> None:
    if name == "image":
        for bit in chance.choice(64, 20 if far else 3, replace=False):
            row[bit // 8] ^= 1 << (bit % 8)
    elif name == "text":
        places = chance.choice(128, 64 if far else 6, replace=False)
        row[places] = chance.integers(0, 256, len(places))
    elif far:
        row[:256] = chance.integers(0, 256, 256)
    else:
        row[:256] = np.clip(row[:256] + chance.integers(-2, 3, 256), 0, 255)


def brute_force(
    found: Signatures, comparisons: Mapping[str, Compare] | None
) -> tuple[list[int], list[int]]:
    """First samples and leaks, from all pairs."""
    count = len(found.content)
    first, leak = list(range(count)), [-1] * count
    kinds = (
        {name: comparisons[name](rows) for name, rows in found.rows.items()} if comparisons else {}
    )
    for a, b in itertools.combinations(range(count), 2):
        having = [[name for name in found.rows if found.present[name][each]] for each in (a, b)]
        same = (found.content[a] == found.content[b]).all()
        near = bool(having[0]) and having[0] == having[1] and comparisons is not None
        near = near and all(
            kinds[name].alike(np.array([a]), np.array([b]))[0] for name in having[0]
        )
        if not (same or near):
            continue
        if found.split[a] == found.split[b]:
            low, high = sorted((first[a], first[b]))
            first = [low if each == high else each for each in first]
        for mine, other in ((a, b), (b, a)):
            if found.split[mine] == TRAIN != found.split[other]:
                leak[mine] = other if leak[mine] < 0 else min(leak[mine], other)
    return first, leak


@settings(max_examples=60)
@given(
    count=st.integers(1, 30),
    seed=st.integers(0, 10_000),
    names=st.sampled_from([("image",), ("text",), ("image", "text", "audio"), ("audio", "image")]),
    near=st.booleans(),
)
def test_as_comparing_all_pairs(count: int, seed: int, names: tuple[str, ...], near: bool) -> None:
    comparisons = COMPARISONS if near else None
    given_samples = samples(count, seed, names)
    found = find_copies(given_samples, comparisons)
    first, leak = brute_force(given_samples, comparisons)
    assert found.first.tolist() == first
    assert [one >= 0 for one in found.leak] == [one >= 0 for one in leak]
    content = given_samples.content[:, 0]
    assert found.same.tolist() == (content == content[found.first]).tolist()
    for sample, other in enumerate(found.leak):
        assert other < 0 or given_samples.split[other] != TRAIN == given_samples.split[sample]


def few(content: list[int], split: list[int]) -> Copies:
    keys = np.array(content, dtype=np.uint64)
    return find_copies(
        Signatures(np.stack([keys, keys], axis=1), np.array(split, dtype=np.uint8), {}, {})
    )


def test_leaks_name_the_first_other_sample() -> None:
    found = few([1, 2, 1, 1, 2], [0, 0, 1, 2, 0])
    assert found.first.tolist() == [0, 1, 2, 3, 1]
    assert found.leak.tolist() == [2, -1, -1, -1, -1]


def test_content_hash_tells_members_apart() -> None:
    def digest(**members: bytes) -> bytes:
        return content_hash({name: memoryview(data) for name, data in members.items()})

    assert digest(text=b"ab", image=b"c") == digest(image=b"c", text=b"ab")
    assert len({digest(text=b"ab"), digest(text=b"a"), digest(image=b"ab"), digest()}) == 4
    assert digest(image=b"a", text=b"b") != digest(image=b"ab", text=b"")


def test_row_hashes_are_those_of_the_rows() -> None:
    rows = np.random.default_rng(0).integers(0, 2, (4000, 10), dtype=np.uint8)
    distinct = {
        row.tobytes(): int(value) for row, value in zip(rows, row_hashes(rows), strict=True)
    }
    assert len(set(distinct.values())) == len(distinct)
    assert [distinct[row.tobytes()] for row in rows] == row_hashes(rows).tolist()

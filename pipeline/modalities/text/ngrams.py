"""Runs of characters, hashed to buckets: of NumPy arrays and of tensors alike.

Nothing here but operators that both have, so that what training counts before the first step, where there may be no
torch, and what the network looks at are the same.

Source:
    Rolling hashes after Karp & Rabin 1987, "Efficient randomized pattern-matching algorithms", section 2, mixed as in
    Carter & Wegman 1979, "Universal classes of hash functions", proposition 7; hashed features as in Weinberger et al.
    2009, "Feature hashing for large scale multitask learning". Of the buckets only those are looked at that many texts
    have, so that hardly two of them are one, and no signs are needed against that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypedDict, TypeVar

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from torch import Tensor

PAD = 0  # the character that stands for none; no text has it
SPACE = ord(" ")  # the only white space of a cleaned text
Extent = Literal["text", "words"]
NUM_BUCKETS = 1 << 18
MIN_TEXTS = (
    2  # that have a run which is looked at: of what one text has, nothing is learned of others
)
PRIME = (1 << 31) - 1  # products of two numbers below it, and a character, fit into 64 bits
BASE = 1_103_515_245  # of the polynomial that a run is the value of
FACTOR, TERM = 1_640_531_527, 374_761_393
Array = TypeVar("Array", np.ndarray, "Tensor")


def hashed_runs(characters: Array, length: int, *, within: Extent = "text") -> tuple[Array, Array]:
    """The bucket of every run of ``length`` neighbouring characters.

    Args:
        characters: int64 (B, L), code points; PAD where there is none.
        length: Characters of a run, n <= L.
        within: Runs within ``words`` have a space at their ends alone, as ``char_wb`` of scikit-learn's
            ``CountVectorizer``; those within a ``text`` have it anywhere.

    Returns:
        int64 (B, L - n + 1), below ``NUM_BUCKETS``; and bool, whether a run counts: all of its characters are real, and
        no two words meet in it.
    """
    count = characters.shape[1] - length + 1
    hashes = characters[:, :count] * 0 + length
    real = characters[:, :count] != PAD
    for step in range(length):
        neighbours = characters[:, step : step + count]
        hashes = (hashes * BASE + neighbours) % PRIME
        real = real & (neighbours != PAD)
        if within == "words" and 0 < step < length - 1:
            real = real & (neighbours != SPACE)
    return (hashes * FACTOR + TERM) % PRIME % NUM_BUCKETS, real


class Runs(TypedDict):
    """Which runs of the training set's texts are looked at; JSON.

    Attributes:
        buckets: Those that most texts have, and two at least, the most frequent first.
        idf: How rare each is: 1 + ln((1 + N) / (1 + n)), where n of N texts have it.
    """

    buckets: list[int]
    idf: list[float]


class NgramStatistics:
    """Counts in how many texts each bucket occurs.

    Args:
        max_length: Characters of the longest runs.
        num_inputs: Buckets that are looked at, at most.
        within: What runs do not leave, as of :func:`hashed_runs`.

    Source:
        Spärck Jones 1972, "A statistical interpretation of term specificity"; smoothed as if one more text had every
        bucket, as ``sklearn.feature_extraction.text.TfidfTransformer`` does.
    """

    def __init__(self, max_length: int, num_inputs: int, within: Extent = "text") -> None:
        self.max_length, self.num_inputs, self.within = max_length, num_inputs, within
        self._num_texts = 0
        self._counts = np.zeros(NUM_BUCKETS, dtype=np.int64)

    def add(self, column: pa.Array) -> None:
        """Adds a column of code points; nulls do not count."""
        for text in column.drop_null():
            characters = text.values.to_numpy().astype(np.int64)[None]
            self._num_texts += 1
            self._counts[self._buckets(characters)] += 1

    def _buckets(self, characters: np.ndarray) -> np.ndarray:
        """The buckets of one text, int64 (1, L), each once."""
        lengths = range(1, min(self.max_length, characters.shape[1]) + 1)
        runs = [hashed_runs(characters, length, within=self.within) for length in lengths]
        return np.unique(
            np.concatenate([np.zeros(0, np.int64), *(run[real] for run, real in runs)])
        )

    def result(self) -> Mapping[str, Any]:
        """What was found, :class:`Runs`."""
        order = np.argsort(-self._counts, kind="stable")[: self.num_inputs]
        buckets = order[self._counts[order] >= MIN_TEXTS]
        idf = 1.0 + np.log((1.0 + self._num_texts) / (1.0 + self._counts[buckets]))
        return Runs(buckets=buckets.tolist(), idf=idf.tolist())

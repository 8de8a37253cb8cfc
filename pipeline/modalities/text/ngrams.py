"""Runs of characters, hashed to buckets: of NumPy arrays and of tensors alike.

Nothing here but operators that both have, so that what training counts before the first step, where there may be no
torch, and what the network looks at are the same.

Source:
    Weinberger et al. 2009, "Feature hashing for large scale multitask learning", equation 2 (a bucket and a sign, from
    two hash functions); rolling hashes after Karp & Rabin 1987, "Efficient randomized pattern-matching algorithms",
    section 2; mixed as in Carter & Wegman 1979, "Universal classes of hash functions", proposition 7.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from torch import Tensor

PAD = 0  # the character that stands for none; no text has it
PRIME = (1 << 31) - 1  # products of two numbers below it, and a character, fit into 64 bits
BASE = 1_103_515_245  # of the polynomial that a run is the value of
BUCKET_FACTOR, BUCKET_TERM = 1_640_531_527, 374_761_393
SIGN_FACTOR, SIGN_TERM = 1_540_483_477, 668_265_263
Array = TypeVar("Array", np.ndarray, "Tensor")


def hashed_runs(characters: Array, length: int, num_buckets: int) -> tuple[Array, Array, Array]:
    """Where every run of ``length`` neighbouring characters is counted.

    Args:
        characters: int64 (B, L), code points; PAD where there is none.
        length: Characters of a run, n <= L.
        num_buckets: Of the hash.

    Returns:
        Buckets, int64 (B, L - n + 1); signs, the same, -1 or 1; and bool, whether all characters of a run are real.
    """
    count = characters.shape[1] - length + 1
    hashes = characters[:, :count] * 0 + length
    real = characters[:, :count] != PAD
    for step in range(length):
        neighbours = characters[:, step : step + count]
        hashes = (hashes * BASE + neighbours) % PRIME
        real = real & (neighbours != PAD)
    buckets = (hashes * BUCKET_FACTOR + BUCKET_TERM) % PRIME % num_buckets
    signs = (hashes * SIGN_FACTOR + SIGN_TERM) % PRIME % 2 * 2 - 1
    return buckets, signs, real


class Frequencies(TypedDict):
    """What is known of the training set's texts; JSON.

    Attributes:
        idf: Of each bucket, how rare it is: 1 + ln((1 + N) / (1 + n)), where n of N texts have it.
    """

    idf: list[float]


class NgramStatistics:
    """Counts in how many texts each bucket occurs.

    Args:
        max_length: Characters of the longest runs.
        num_buckets: Of the hash.

    Source:
        Spärck Jones 1972, "A statistical interpretation of term specificity"; smoothed as if one more text had every
        bucket, as ``sklearn.feature_extraction.text.TfidfTransformer`` does.
    """

    def __init__(self, max_length: int, num_buckets: int) -> None:
        self.max_length, self.num_buckets = max_length, num_buckets
        self._num_texts = 0
        self._counts = np.zeros(num_buckets, dtype=np.int64)

    def add(self, column: pa.Array) -> None:
        """Adds a column of code points; nulls do not count."""
        for text in column.drop_null():
            characters = text.values.to_numpy().astype(np.int64)[None]
            self._num_texts += 1
            self._counts[self._buckets(characters)] += 1

    def _buckets(self, characters: np.ndarray) -> np.ndarray:
        """The buckets of one text, int64 (1, L), each once."""
        lengths = range(1, min(self.max_length, characters.shape[1]) + 1)
        runs = [hashed_runs(characters, length, self.num_buckets) for length in lengths]
        return np.unique(np.concatenate([np.zeros(0, np.int64), *(run[0][0] for run in runs)]))

    def result(self) -> Mapping[str, Any]:
        """What was found, :class:`Frequencies`."""
        idf = 1.0 + np.log((1.0 + self._num_texts) / (1.0 + self._counts))
        return Frequencies(idf=idf.tolist())

"""Texts that read alike, by MinHash over their shingles."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np

from pipeline.modalities.base import Codec
from pipeline.modalities.hashing import mixed

SHINGLE = (
    4  # characters; words would need spaces, and one typo would spoil all shingles of a short text
)
SHORT = 40  # characters below which one letter may be all the difference, and texts are alike only where they are equal
SIGNATURE_BYTES = 128  # hash functions, of which the low 8 bits of the smallest value are kept
CHANCE = 1 / 256  # that two texts with nothing in common agree in one of these
BAND = 4  # of these that make a key
AT_A_TIME = 2048  # shingles hashed together, which bounds what a long text takes: 2 MB
_NO_WORD = re.compile(r"[\W_]+")


def text_signature(text: str) -> np.ndarray:
    """MinHash of a text's shingles of four characters, (128,) uint8.

    Case, punctuation, spaces and forms of the same character do not count.

    Source: Broder 1997, "On the resemblance and containment of documents"; of each smallest value the low 8 bits are
    kept, as in Li and König 2010, "b-bit minwise hashing". The hash functions are the high halves of ``a x + b``
    modulo 2**64, as in Dietzfelbinger 1996.
    """
    factors, terms = _functions()
    values = shingles(text)
    smallest = np.full(SIGNATURE_BYTES, 0xFFFFFFFF, dtype=np.uint32)
    for start in range(0, len(values), AT_A_TIME):
        hashed = values[start : start + AT_A_TIME, None] * factors + terms
        np.minimum(smallest, (hashed >> np.uint64(32)).astype(np.uint32).min(axis=0), out=smallest)
    return (smallest & np.uint32(0xFF)).astype(np.uint8)


def shingles(text: str) -> np.ndarray:
    """64 bits of every run of four characters of a normalised text, (S,) uint64; of a short text, of all of it."""
    folded = _NO_WORD.sub(" ", unicodedata.normalize("NFKC", text).casefold()).strip()
    characters = np.frombuffer(folded.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)
    short = len(characters) < SHORT
    length = len(characters) if short else SHINGLE
    count = 1 if short else len(characters) - SHINGLE + 1
    hashes = np.full(count, 1 if short else 0, dtype=np.uint64)
    for step in range(length):
        hashes = mixed(hashes + characters[step : step + count] + np.uint64(1))
    return hashes


def resemblance(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Jaccard similarity of the texts' shingles, estimated.

    Args:
        left: (P, 128) uint8.
        right: (P, 128) uint8.

    Returns:
        (P,) float64 up to 1, with a standard deviation of at most 0.045; slightly below 0 for some that share nothing.

    Source: Li and König 2010, theorem 1, for sets much smaller than the range of the hashes.
    """
    agreeing = (left == right).mean(axis=1)
    estimate: np.ndarray = (agreeing - CHANCE) / (1 - CHANCE)
    return estimate


@cache
def _functions() -> tuple[np.ndarray, np.ndarray]:
    chance = np.random.default_rng(0x7E175)  # fixed: signatures are kept and compared later
    factors = chance.integers(0, 1 << 63, SIGNATURE_BYTES, dtype=np.uint64) * np.uint64(2)
    return factors + np.uint64(1), chance.integers(0, 1 << 63, SIGNATURE_BYTES, dtype=np.uint64)


@dataclass(frozen=True)
class Texts:
    """Signatures of texts, and which are alike.

    Attributes:
        rows: (N, 128) uint8, of :func:`text_signature`.
        min_similarity: Estimated Jaccard similarity of texts that are alike, at least.
    """

    rows: np.ndarray
    min_similarity: float

    def tables(self) -> Iterator[np.ndarray]:
        """Keys, (N,) uint32 each; texts of similarity s share one with a chance of ``1 - (1 - s**4)**32``.

        That is 0.876 for 0.5 and more than 0.99999 for 0.8.

        Source: Leskovec, Rajaraman, Ullman, Mining of Massive Datasets, 3.4.2.
        """
        for start in range(0, SIGNATURE_BYTES, BAND):
            yield np.ascontiguousarray(self.rows[:, start : start + BAND]).view(np.uint32)[:, 0]

    def alike(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Whether the texts at two places are alike: (P,) places each -> (P,) bool."""
        similar: np.ndarray = resemblance(self.rows[left], self.rows[right]) >= self.min_similarity
        return similar


@dataclass(frozen=True)
class TextLikeness:
    """How near copies of texts are found; see :class:`pipeline.modalities.facets.Likeness`."""

    num_bytes: int = SIGNATURE_BYTES
    setting: str = "text_similarity"

    def sign(self, codec: Codec, data: memoryview, field: str) -> np.ndarray:
        return text_signature(str(codec.show(data, field)))

    def compare(self, rows: np.ndarray, nearness: float) -> Texts:
        return Texts(rows, nearness)

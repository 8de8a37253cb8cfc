"""Images that look alike, by a perceptual hash."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image

from pipeline.modalities.base import Codec

SIDE, KEPT = 32, 8  # pixels that the hash is made from and frequencies that it keeps, each way
HASH_BYTES = KEPT * KEPT // 8
SIGNATURE_BYTES = HASH_BYTES + 2  # the hash, then blue and red against the brightness
STEADY = 8.0  # a frequency's weight below it, half a grey level of a wave, is noise
MAX_TINT = 24  # difference of the mean colour, of 256
EXACT_BLOCKS = 3  # blocks of the hash that a table compares
# Cb and Cr of red, green and blue. Source: ITU-R BT.601-7, 2.5.
_TO_TINT = np.array([[-0.168736, 0.5], [-0.331264, -0.418688], [0.5, -0.081312]])
_TO_LUMA = np.array([0.299, 0.587, 0.114])


def picture_signature(pixels: np.ndarray) -> np.ndarray:
    """What a picture looks like, in 10 bytes: 64 bits of a perceptual hash, and the mean colour.

    The hash is of the brightness, and which of its lowest frequencies are above their median: enlarging, compressing
    and brightening keep that. It knows no colours, and of a picture of one colour nothing at all; so the mean colour,
    without its brightness, is compared too.

    Args:
        pixels: (H, W, 3) uint8.

    Returns:
        (10,) uint8.

    Source: Zauner 2010, "Implementation and benchmarking of perceptual image hash functions", 3.2.1: the hash by the
    discrete cosine transform. The mean is left out of the median, and frequencies that are noise count as none.
    """
    small = Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BOX)
    colours = np.asarray(small, dtype=np.float64)
    waves = _cosines() @ (colours @ _TO_LUMA) @ _cosines().T
    waves[np.abs(waves) < STEADY] = 0.0
    weights = waves.reshape(-1)
    bits = weights > np.median(weights[1:])
    bits[0] = False  # the mean brightness
    tint = np.clip(np.round(colours.mean(axis=(0, 1)) @ _TO_TINT + 128), 0, 255)
    joined: np.ndarray = np.concatenate([np.packbits(bits), tint.astype(np.uint8)])
    return joined


@cache
def _cosines() -> np.ndarray:
    """The first ``KEPT`` rows of the orthonormal DCT-II of ``SIDE`` values. Source: Ahmed et al. 1974."""
    places = (np.arange(SIDE) + 0.5) * math.pi / SIDE
    rows: np.ndarray = np.cos(np.outer(np.arange(KEPT), places)) * math.sqrt(2 / SIDE)
    rows[0] /= math.sqrt(2)
    return rows


@dataclass(frozen=True)
class Pictures:
    """Signatures of pictures, and which are alike.

    Attributes:
        rows: (N, 10) uint8, of :func:`picture_signature`.
        max_distance: Bits of the hash in which pictures that are alike differ, at most.
    """

    rows: np.ndarray
    max_distance: int

    def tables(self) -> Iterator[np.ndarray]:
        """Keys, (N,) uint64 each; two pictures that are alike share their key in at least one of the tables.

        Of ``max_distance + 3`` blocks of bits, at least three are the same in both: each table takes three.

        Source: Manku et al. 2007, "Detecting near-duplicates for web crawling", 3.
        """
        hashes = self._hashes(slice(None))
        bounds = np.linspace(0, 8 * HASH_BYTES, self.max_distance + EXACT_BLOCKS + 1).round()
        masks = [
            (1 << int(end)) - (1 << int(start))
            for start, end in itertools.pairwise(bounds.astype(int))
        ]
        for chosen in itertools.combinations(masks, EXACT_BLOCKS):
            yield hashes & np.uint64(sum(chosen))

    def alike(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Whether the pictures at two places are alike: (P,) places each -> (P,) bool."""
        near = distances(self._hashes(left), self._hashes(right)) <= self.max_distance
        tints = self.rows[:, HASH_BYTES:]
        colours = np.abs(tints[left].astype(np.int16) - tints[right])
        same: np.ndarray = near & (colours <= MAX_TINT).all(axis=1)
        return same

    def _hashes(self, places: np.ndarray | slice) -> np.ndarray:
        hashes: np.ndarray = np.ascontiguousarray(self.rows[places, :HASH_BYTES]).view(np.uint64)
        return hashes[:, 0]


def distances(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Bits in which two arrays of uint64 differ, (N,) uint8.

    Source: Hamming 1950; counting bits as in Warren, Hacker's Delight, 5-1.
    """
    bits = left ^ right
    bits = bits - ((bits >> np.uint64(1)) & np.uint64(0x5555555555555555))
    two = np.uint64(0x3333333333333333)
    bits = (bits & two) + ((bits >> np.uint64(2)) & two)
    bits = (bits + (bits >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    count: np.ndarray = ((bits * np.uint64(0x0101010101010101)) >> np.uint64(56)).astype(np.uint8)
    return count


@dataclass(frozen=True)
class ImageLikeness:
    """How near copies of pictures are found; see :class:`pipeline.modalities.facets.Likeness`."""

    num_bytes: int = SIGNATURE_BYTES
    setting: str = "image_distance"

    def sign(self, codec: Codec, data: memoryview, field: str) -> np.ndarray:
        return picture_signature(codec.decode(data, field))

    def compare(self, rows: np.ndarray, nearness: float) -> Pictures:
        return Pictures(rows, int(nearness))

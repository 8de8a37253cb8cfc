"""Sounds that are heard as the same, by a coarse spectrogram."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pipeline.modalities.base import Codec

BANDS, STEPS = (
    32,
    8,
)  # of the coarse spectrogram: along the pitch, and along the time in which there is sound
SIGNATURE_BYTES = BANDS * STEPS + 2  # the spectrogram, then how long there is sound
RANGE_DB = 60.0  # below the loudest part, all is silence: there, codecs differ most
MAX_FRAMES = 65535
LENGTH_FRACTION = 0.05  # by which the lengths of two sounds that are alike differ at most
LENGTH_FRAMES = 8  # or by so many frames, of short sounds: codecs add silence at both ends
TABLES, TABLES_AT_A_TIME = 40, 8
FEW = 256  # sounds that are all compared: their mean says little of what sounds have in common
SEED = 0x50D
AT_A_TIME = 1 << 14  # sounds projected together


def sound_signature(decibels: np.ndarray) -> np.ndarray:
    """What a sound is like, in 258 bytes: its spectrogram in 32 bands and 8 steps of time, and its length in frames.

    The silence before and after it is left out, so that it may begin later; loudness is relative to its loudest part,
    so that it may be louder; and what is 60 dB below that is silence.

    Args:
        decibels: (F, N) log-mel spectrogram in dB.

    Returns:
        (258,) uint8: 256 levels of 60/255 dB, then the length as a little-endian number.
    """
    levels = np.asarray(decibels, dtype=np.float32)
    floor = levels.max() - np.float32(RANGE_DB)
    levels = np.maximum(levels, floor) - floor
    heard = np.flatnonzero(levels.max(axis=0) > RANGE_DB / 3)
    first, last = (int(heard[0]), int(heard[-1]) + 1) if len(heard) else (0, levels.shape[1])
    coarse = _means(_means(levels[:, first:last], BANDS, 0), STEPS, 1)
    quantised = np.round(coarse * (255 / RANGE_DB)).astype(np.uint8).reshape(-1)
    length = np.array([min(last - first, MAX_FRAMES)], dtype="<u2").view(np.uint8)
    return np.concatenate([quantised, length])


def _means(values: np.ndarray, count: int, axis: int) -> np.ndarray:
    """Means of ``count`` stretches of an axis that are as long as each other, parts of values counted in part."""
    size = values.shape[axis]
    cumulated = np.cumsum(values, axis=axis, dtype=np.float64)
    cumulated = np.concatenate([np.zeros_like(cumulated.take([0], axis)), cumulated], axis=axis)
    ends = np.linspace(0, size, count + 1)
    below = np.minimum(ends.astype(int), size - 1)
    share = (ends - below).reshape(
        [-1 if dimension == axis else 1 for dimension in range(values.ndim)]
    )
    sums = cumulated.take(below, axis) + share * values.take(below, axis)
    means: np.ndarray = np.diff(sums, axis=axis) * (count / size)
    return means


def correlations(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Pearson's correlation of rows, (P, 256) uint8 each -> (P,) float64; 1 where both rows are of one value.

    Source: Pearson 1895.
    """
    return _correlations(left, right, _moments(left), _moments(right))


def _correlations(
    left: np.ndarray, right: np.ndarray, moments: np.ndarray, others: np.ndarray
) -> np.ndarray:
    """As :func:`correlations`, of rows of 256 levels and what :func:`_moments` says of each."""
    # Sums of 256 products of bytes are whole numbers that float32 holds.
    products = np.einsum("pw,pw->p", left.astype(np.float32), right.astype(np.float32))
    width = left.shape[1]
    shared = products - moments[:, 0] * others[:, 0] / width
    spreads = [sums[:, 1] - sums[:, 0] ** 2 / width for sums in (moments, others)]
    lengths = np.sqrt(spreads[0] * spreads[1])
    flat = np.where((spreads[0] == 0) & (spreads[1] == 0), 1.0, 0.0)
    correlation: np.ndarray = np.divide(shared, lengths, out=flat, where=lengths > 0)
    return correlation


def _moments(rows: np.ndarray) -> np.ndarray:
    """Sums of each row's values and of their squares, (N, 2) float64."""
    moments = np.empty((len(rows), 2))
    for start in range(0, len(rows), AT_A_TIME):
        values = rows[start : start + AT_A_TIME].astype(np.float32)
        moments[start : start + AT_A_TIME, 0] = values.sum(axis=1)
        moments[start : start + AT_A_TIME, 1] = np.einsum("pw,pw->p", values, values)
    return moments


def _normal(rows: np.ndarray) -> np.ndarray:
    """Rows with mean 0 and length 1, (P, W) float32; zeros for a row of one value."""
    rows = rows.astype(np.float32)
    rows -= rows.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    normal: np.ndarray = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 1e-3)
    return normal


@dataclass(frozen=True)
class Sounds:
    """Signatures of sounds, and which are alike.

    Attributes:
        rows: (N, 258) uint8, of :func:`sound_signature`.
        min_similarity: Correlation of the coarse spectrograms of sounds that are alike, at least.
    """

    rows: np.ndarray
    min_similarity: float

    def tables(self) -> Iterator[np.ndarray]:
        """Keys, (N,) uint64 each: on which sides of random planes through the middle of all sounds a sound lies.

        There are about as many keys as sounds. What all sounds have in common, such as more power in low bands, would
        put them on one side, so it is taken away first.

        Source: Charikar 2002, "Similarity estimation techniques from rounding algorithms", 3.
        """
        count = len(self.rows)
        if count <= FEW:
            yield np.zeros(count, dtype=np.uint32)
            return
        spectra = self.rows[:, : BANDS * STEPS]
        middle = _normal(spectra[:: max(1, count // AT_A_TIME)]).mean(axis=0)
        bits = min(24, max(4, math.ceil(math.log2(max(2, count)))))
        chance = np.random.default_rng(SEED)
        weights = (1 << np.arange(bits)).astype(np.float32)
        for _ in range(TABLES // TABLES_AT_A_TIME):
            shape = (BANDS * STEPS, TABLES_AT_A_TIME * bits)
            planes = chance.standard_normal(shape, dtype=np.float32)
            keys = np.empty((TABLES_AT_A_TIME, count), dtype=np.uint32)
            for start in range(0, count, AT_A_TIME):
                stretch = slice(start, start + AT_A_TIME)
                sides = (_normal(spectra[stretch]) - middle) @ planes > 0
                # Numbers of 24 bits are whole in float32.
                keys[:, stretch] = (sides.reshape(-1, TABLES_AT_A_TIME, bits) @ weights).T
            yield from keys

    def alike(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Whether the sounds at two places are alike: (P,) places each -> (P,) bool."""
        lengths = [self._lengths(places) for places in (left, right)]
        slack = np.maximum(LENGTH_FRAMES, LENGTH_FRACTION * np.maximum(*lengths))
        at = np.flatnonzero(np.abs(lengths[0] - lengths[1]) <= slack)
        spectra = self.rows[:, : BANDS * STEPS]
        alike = np.zeros(len(left), dtype=bool)
        first, second = left[at], right[at]
        similar = _correlations(
            spectra[first], spectra[second], self._all_moments[first], self._all_moments[second]
        )
        alike[at] = similar >= self.min_similarity
        return alike

    @cached_property
    def _all_moments(self) -> np.ndarray:
        return _moments(self.rows[:, : BANDS * STEPS])

    def _lengths(self, places: np.ndarray) -> np.ndarray:
        stored = np.ascontiguousarray(self.rows[places, BANDS * STEPS :])
        lengths: np.ndarray = stored.view("<u2")[:, 0].astype(np.int64)
        return lengths


@dataclass(frozen=True)
class AudioLikeness:
    """How near copies of sounds are found; see :class:`pipeline.modalities.facets.Likeness`."""

    num_bytes: int = SIGNATURE_BYTES
    setting: str = "audio_similarity"

    def sign(self, codec: Codec, data: memoryview, field: str) -> np.ndarray:
        return sound_signature(codec.decode(data, field))

    def compare(self, rows: np.ndarray, nearness: float) -> Sounds:
        return Sounds(rows, nearness)

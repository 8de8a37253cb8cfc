"""Clips that look alike, by the perceptual hashes of some of their frames."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.modalities.base import Codec
from pipeline.modalities.image.likeness import SIGNATURE_BYTES, Pictures, picture_signature
from pipeline.modalities.video.frames import are_there

NUM_FRAMES = 4  # that are compared, evenly over those that are decoded
COMPARED = 1  # which of them a table compares: the first of many clips is black


@dataclass(frozen=True)
class Clips:
    """Signatures of clips, and which are alike: those all of whose frames are, in their order.

    Attributes:
        pictures: Of each frame, all clips' signatures.
    """

    pictures: tuple[Pictures, ...]

    def tables(self) -> Iterator[np.ndarray]:
        """Keys, (N,) uint64 each, of one frame; clips that are alike are alike in it."""
        return self.pictures[COMPARED].tables()

    def alike(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Whether the clips at two places are alike: (P,) places each -> (P,) bool."""
        same = [pictures.alike(left, right) for pictures in self.pictures]
        together: np.ndarray = np.logical_and.reduce(same)
        return together


@dataclass(frozen=True)
class VideoLikeness:
    """How near copies of clips are found; see :class:`pipeline.modalities.facets.Likeness`."""

    num_bytes: int = NUM_FRAMES * SIGNATURE_BYTES
    setting: str = "image_distance"

    def sign(self, codec: Codec, data: memoryview, field: str) -> np.ndarray:
        values = codec.decode(data, field)
        frames = values[are_there(values)]
        places = np.linspace(0, len(frames) - 1, NUM_FRAMES).round().astype(int)
        signature: np.ndarray = np.concatenate([picture_signature(frames[p]) for p in places])
        return signature

    def compare(self, rows: np.ndarray, nearness: float) -> Clips:
        frames = np.split(rows, NUM_FRAMES, axis=1)
        return Clips(tuple(Pictures(np.ascontiguousarray(row), int(nearness)) for row in frames))

"""Which frames of a clip are kept, by when they are shown."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# A frame that begins so shortly after a moment is shown at it: times in seconds are rounded.
ROUNDING_SECONDS = 1e-6


class Sampling(NamedTuple):
    """How many frames are kept, and how far apart.

    Attributes:
        frames: T, that the network sees.
        candidates: k, that are kept for each of them.
        rate_hz: Frames that the network sees a second; None spreads them over the whole clip.
    """

    frames: int
    candidates: int = 1
    rate_hz: float | None = None

    @property
    def places(self) -> int:
        """T * k, places for frames that a clip has."""
        return self.frames * self.candidates

    def choose(self, begins: np.ndarray, end: float) -> np.ndarray:
        """The frame that is shown in the middle of each of T * k stretches of time.

        Args:
            begins: (N,) float64, ascending: when each frame of the clip is first shown, in seconds. N > 0.
            end: When the last one is no longer shown.

        Returns:
            (T * k,) int64, frames in ascending order, -1 where there is none: the clip has ended, or the frame is that
            of an earlier stretch.
        """
        stretch = (
            (end - begins[0]) / self.places
            if self.rate_hz is None
            else 1.0 / (self.rate_hz * self.candidates)
        )
        moments = begins[0] + (np.arange(self.places) + 0.5) * stretch
        chosen: np.ndarray = np.searchsorted(begins, moments + ROUNDING_SECONDS, side="right") - 1
        chosen = np.maximum(chosen, 0)  # rounding may put a moment before the first
        is_over = moments >= end
        is_over[0] = False  # of a clip shorter than half a stretch, its beginning
        is_again = np.concatenate([[False], chosen[1:] == chosen[:-1]])
        return np.where(is_over | is_again, -1, chosen)

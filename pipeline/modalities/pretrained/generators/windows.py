"""Windows of sounds that are longer than a network takes at once, and lengths that sounds are padded to; torch-free."""

from __future__ import annotations

import math

import numpy as np

SEARCHED_FRACTION = 1 / 6  # of a window, at its end, in which the quietest place is where it is cut
FRAMES_PER_WINDOW = 300  # of 0.1 s, in windows of 30 s
STEPS_PER_OCTAVE = 4  # lengths that sounds are padded to


def windows(sound: np.ndarray, most: int) -> list[tuple[int, int]]:
    """Where the windows of a sound begin and end: side by side, each cut at the quietest place near its end.

    Args:
        sound: (T,) float32.
        most: Values that a window may have.
    """
    cuts = [0]
    while len(sound) - cuts[-1] > most:
        start = cuts[-1]
        cuts.append(start + _quietest(sound[start : start + most]))
    return list(zip(cuts, [*cuts[1:], len(sound)], strict=True))


def _quietest(window: np.ndarray) -> int:
    """The middle of the quietest frame near a window's end; of equal ones, of the last."""
    most = len(window)
    frame = max(1, most // FRAMES_PER_WINDOW)
    count = max(1, int(most * SEARCHED_FRACTION) // frame)
    tail = window[most - count * frame :].astype(np.float64).reshape(count, frame)
    power = np.square(tail).sum(axis=1)
    last = count - 1 - int(np.argmin(power[::-1]))
    return most - (count - last) * frame + (frame + 1) // 2


def padded_size(length: int, least: int, most: int) -> int:
    """The length that a sound is padded to, of few: a quarter of an octave lies between them.

    Args:
        length: Its own, in values.
        least: The shortest.
        most: The longest.
    """
    steps = max(0, math.ceil(STEPS_PER_OCTAVE * math.log2(length / least)))
    return max(length, min(most, math.ceil(least * 2 ** (steps / STEPS_PER_OCTAVE))))

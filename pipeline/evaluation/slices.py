"""How well a model does on slices of the samples: those of one language, of one speaker, of a range of lengths."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from math import isfinite

import numpy as np
import pyarrow as pa

from pipeline.evaluation.portion import JudgedSamples
from pipeline.metrics.record import SliceScores

MAX_SLICES = 12  # of a place; rarer values are judged together
RANGES = 4  # that many different numbers are cut into, of as many samples each
# Slices that are no value: of rare ones, and of samples that have nothing there.
OTHERS, NOTHING = "(others)", "(none)"


def slices(
    samples: JudgedSamples, whole: pa.Table, values: Mapping[str, Sequence[str | None]]
) -> tuple[SliceScores, ...]:
    """A row for each slice of each place, with the numbers of the evaluation.

    Args:
        samples: All N.
        whole: What the model says of them.
        values: Place -> what each of N samples has there; None where it has nothing.
    """
    table = []
    for place, texts in values.items():
        for name, places in sliced(texts).items():
            rows = np.array(places, dtype=np.int64)
            scores = samples.scores(rows, whole.take(rows))
            table.append(SliceScores(place=place, value=name, **vars(scores)))
    return tuple(table)


def sliced(texts: Sequence[str | None]) -> dict[str, list[int]]:
    """Slice -> places of its samples: of numbers, ranges from the lowest; of values, the most frequent first.

    Args:
        texts: What each of N samples has; None where it has nothing.
    """
    numbers = _numbers(texts)
    if len(set(numbers.values())) > MAX_SLICES:
        titles = _ranges(numbers)
        order = list(dict.fromkeys(titles.values()))
    else:
        counts = Counter(text for text in texts if text is not None)
        kept = MAX_SLICES if len(counts) <= MAX_SLICES else MAX_SLICES - 1
        order = [text for text, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]
        titles = {text: text if place < kept else OTHERS for place, text in enumerate(order)}
        order = [*order[:kept], OTHERS]
    rows: dict[str, list[int]] = {title: [] for title in (*order, NOTHING)}
    for row, text in enumerate(texts):
        rows[NOTHING if text is None else titles[text]].append(row)
    return {title: places for title, places in rows.items() if places}


def _numbers(texts: Sequence[str | None]) -> dict[str, float]:
    """Text -> number, in their order; empty where one is none."""
    try:
        numbers = {text: float(text) for text in texts if text is not None}
    except ValueError:
        return {}
    finite = all(map(isfinite, numbers.values()))
    return dict(sorted(numbers.items(), key=lambda item: item[1])) if finite else {}


def _ranges(numbers: Mapping[str, float]) -> dict[str, str]:
    """Text -> the range of its number, in the order of ``numbers``; ranges are of as many different numbers each."""
    chunks = np.array_split(np.unique(list(numbers.values())), RANGES)
    starts = [chunk[0] for chunk in chunks]
    titles = [f"{chunk[0]:g} to {chunk[-1]:g}" for chunk in chunks]
    return {
        text: titles[int(np.searchsorted(starts, number, side="right")) - 1]
        for text, number in numbers.items()
    }

"""How a model does when one modality gets worse, step by step, and all else stays."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.evaluation.portion import JudgedSamples
from pipeline.metrics.record import Corrupted, CorruptedScores, Scores

# What was corrupted, (n,) places of the samples that tell something, and what the model says of them.
Prediction = tuple[Corrupted, NDArray[np.int64], pa.Table]


def robustness(
    samples: JudgedSamples, whole: pa.Table, corrupted: Iterable[Prediction]
) -> tuple[CorruptedScores, ...]:
    """A row for each way and severity, before those of a way the one of the same samples as they are.

    Args:
        samples: All N.
        whole: What the model says of all N samples as they are.
        corrupted: The cases of a modality and a way behind each other, from the mildest; a case without samples has
            no row.
    """
    table: list[CorruptedScores] = []
    uncorrupted: dict[bytes, Scores] = {}
    for what, rows, predicted in corrupted:
        if not len(rows):
            continue
        clean = replace(what, severity=None)
        if not table or replace(_what(table[-1]), severity=None) != clean:
            place = rows.tobytes()
            if place not in uncorrupted:
                uncorrupted[place] = samples.scores(rows, whole.take(rows))
            table.append(CorruptedScores(**vars(clean), **vars(uncorrupted[place])))
        table.append(CorruptedScores(**vars(what), **vars(samples.scores(rows, predicted))))
    return tuple(table)


def _what(row: CorruptedScores) -> Corrupted:
    return Corrupted(
        modality=row.modality, corruption=row.corruption, unit=row.unit, severity=row.severity
    )

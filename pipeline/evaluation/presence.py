"""How well models do on samples that have all modalities, and on those that lack some."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.evaluation.judged import Entrant
from pipeline.metrics.record import Interval
from pipeline.metrics.resampling.bootstrap import bootstrap_interval
from pipeline.metrics.subsets import named_seed, subset_name
from pipeline.objectives.base import Judging
from pipeline.sample import MODALITIES


@dataclass(frozen=True)
class Presence:
    """Samples that have the same modalities.

    Attributes:
        modalities: Theirs, joined by ``+``.
        num_samples: How many they are.
        scores: Row -> the mean of their scores.
        intervals: Row -> its 95 % interval, where there is one.
    """

    modalities: str
    num_samples: int
    scores: Mapping[str, float]
    intervals: Mapping[str, Interval]


def by_presence(entrants: Sequence[Entrant], judging: Judging) -> tuple[Presence, ...]:
    """The scores by what samples have, the most frequent first; nothing where all have the same.

    Args:
        entrants: Judged on the same samples.
        judging: Seed and resamples of intervals.
    """
    # What the first model's configuration names: another's may name fewer.
    rows = max((entrant.models[0].rows for entrant in entrants), key=_num_named)
    patterns = np.array([subset_name(names) for names in rows[MODALITIES].to_pylist()])
    names, counts = np.unique(patterns, return_counts=True)
    if len(names) < 2:
        return ()
    scores = {entrant.name: entrant.scores() for entrant in entrants}
    values = {name: each.values for name, each in scores.items() if each is not None}
    found = []
    for name in names[np.argsort(-counts, kind="stable")]:
        chosen = {row: each[patterns == name] for row, each in values.items()}
        intervals = {
            row: bootstrap_interval(
                each,
                seed=named_seed(judging.seed, f"{row}/{name}"),
                num_resamples=judging.num_bootstrap,
            )
            for row, each in chosen.items()
        }
        found.append(
            Presence(
                modalities=str(name),
                num_samples=int((patterns == name).sum()),
                scores={row: float(each.mean()) for row, each in chosen.items()},
                intervals={row: ends for row, ends in intervals.items() if ends is not None},
            )
        )
    return tuple(found)


def _num_named(rows: pa.Table) -> int:
    return len({name for names in rows[MODALITIES].to_pylist() for name in names})

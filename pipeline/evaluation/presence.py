"""How well models do on portions of the samples: by what those have, and by their metadata."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.evaluation.judged import Entrant
from pipeline.evaluation.slices import sliced
from pipeline.metrics.record import Interval
from pipeline.metrics.resampling.bootstrap import bootstrap_interval
from pipeline.metrics.subsets import named_seed, subset_name
from pipeline.modalities.decoding.rows import METADATA_PREFIX
from pipeline.objectives.base import Judging
from pipeline.sample import MODALITIES


@dataclass(frozen=True, kw_only=True)
class Portion:
    """Some of the samples.

    Attributes:
        num_samples: How many they are.
        scores: Row -> the mean of their scores.
        intervals: Row -> its 95 % interval, where there is one.
    """

    num_samples: int
    scores: Mapping[str, float]
    intervals: Mapping[str, Interval]


@dataclass(frozen=True, kw_only=True)
class Presence(Portion):
    """Samples that have the same modalities.

    Attributes:
        modalities: Theirs, joined by ``+``.
    """

    modalities: str


@dataclass(frozen=True, kw_only=True)
class Slice(Portion):
    """Samples that have the same metadata.

    Attributes:
        place: Where.
        value: What they have there.
    """

    place: str
    value: str


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
    ordered = [str(name) for name in names[np.argsort(-counts, kind="stable")]]
    groups = ((name, np.flatnonzero(patterns == name)) for name in ordered)
    portions = _portions(entrants, judging, groups)
    return tuple(
        Presence(modalities=name, **vars(portion))
        for name, portion in zip(ordered, portions, strict=True)
    )


def by_slice(entrants: Sequence[Entrant], judging: Judging) -> tuple[Slice, ...]:
    """The scores by each place of the metadata that a model's predictions were written with.

    Args:
        entrants: Judged on the same samples, in the same order.
        judging: Seed and resamples of intervals.
    """
    columns: dict[str, pa.ChunkedArray] = {}
    for entrant in entrants:
        rows = entrant.models[0].rows
        columns |= {name: rows[name] for name in rows.column_names if _is_metadata(name)}
    found: list[Slice] = []
    for column, texts in columns.items():
        place = column.removeprefix(METADATA_PREFIX)
        groups = {
            value: np.array(rows, np.int64) for value, rows in sliced(texts.to_pylist()).items()
        }
        named = ((f"{place}={value}", rows) for value, rows in groups.items())
        portions = _portions(entrants, judging, named)
        found += [
            Slice(place=place, value=value, **vars(portion))
            for value, portion in zip(groups, portions, strict=True)
        ]
    return tuple(found)


def _portions(
    entrants: Sequence[Entrant],
    judging: Judging,
    groups: Iterable[tuple[str, NDArray[np.int64]]],
) -> list[Portion]:
    """The scores of groups of samples, (n,) places each."""
    scores = {entrant.name: entrant.scores() for entrant in entrants}
    values = {name: each.values for name, each in scores.items() if each is not None}
    portions = []
    for name, rows in groups:
        chosen = {row: each[rows] for row, each in values.items()}
        intervals = {
            row: bootstrap_interval(
                each,
                seed=named_seed(judging.seed, f"{row}/{name}"),
                num_resamples=judging.num_bootstrap,
            )
            for row, each in chosen.items()
        }
        portions.append(
            Portion(
                num_samples=len(rows),
                scores={row: float(each.mean()) for row, each in chosen.items()},
                intervals={row: ends for row, ends in intervals.items() if ends is not None},
            )
        )
    return portions


def _is_metadata(column: str) -> bool:
    return column.startswith(METADATA_PREFIX)


def _num_named(rows: pa.Table) -> int:
    return len({name for names in rows[MODALITIES].to_pylist() for name in names})

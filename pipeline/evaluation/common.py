"""Models that have judged different samples, on those that all of them have judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.errors import ConfigError
from pipeline.evaluation.judged import Entrant, Judged
from pipeline.evaluation.portion import JudgedSamples
from pipeline.objectives.base import CONTENTS, Judging
from pipeline.sample import KEY, LABEL, MODALITIES, SHARD

Name = tuple[str, str]  # shard, key


def on_common_samples(
    entrants: Sequence[Entrant], judging: Judging
) -> tuple[list[Entrant], list[str]]:
    """The same models, each judged anew on the common samples from what it has said of them; and words on that.

    Args:
        entrants: At least one.
        judging: How.

    Returns:
        The entrants, and what is to be said of it: nothing where all have judged the same samples.

    Raises:
        ConfigError: There is no such sample, or the objective cannot judge again from what it has written.
    """
    models = [model for entrant in entrants for model in entrant.models]
    names = {model.where: _names(model.rows) for model in models}
    common = set.intersection(*map(set, names.values()))
    if all(len(each) == len(common) for each in names.values()):
        return list(entrants), []
    if not common:
        raise ConfigError(
            f"no sample was judged by all: {', '.join(names)}",
            where="evaluate.common_samples",
            fix="evaluate them on the same evaluate.input",
        )
    narrowed = [
        replace(
            entrant, models=tuple(_narrowed(model, common, judging) for model in entrant.models)
        )
        for entrant in entrants
    ]
    counts = {where: len(each) for where, each in names.items() if len(each) > len(common)}
    words = ", ".join(f"{where} has judged {count}" for where, count in counts.items())
    return narrowed, [f"Compared on the {len(common)} samples that all have judged: {words}."]


def _names(rows: pa.Table) -> list[Name]:
    return list(zip(rows[SHARD].to_pylist(), rows[KEY].to_pylist(), strict=True))


def _narrowed(model: Judged, common: set[Name], judging: Judging) -> Judged:
    """A model on some of its samples."""
    rows = model.rows.filter(pa.array([name in common for name in _names(model.rows)]))
    if rows.num_rows == model.rows.num_rows:
        return model
    texts = model.objective.texts(rows[LABEL].combine_chunks())
    if texts is None:
        raise ConfigError(
            f"what {model.where} has written does not say enough to judge some of its samples by themselves",
            where="evaluate.common_samples",
            fix=f"evaluate it on the samples that all have; {model.objective.kind} can do no other",
        )
    present = {name: _has(rows, name) for name in model.record.modalities}
    samples = JudgedSamples(
        model.objective, model.learned, judging, texts, present, _contents(rows)
    )
    record = samples.record(np.arange(rows.num_rows), rows)
    return replace(model, rows=rows, record=record)


def _has(rows: pa.Table, modality: str) -> NDArray[np.bool_]:
    return np.array([modality in names for names in rows[MODALITIES].to_pylist()], dtype=bool)


def _contents(rows: pa.Table) -> dict[str, NDArray[np.int64]] | None:
    if CONTENTS not in rows.column_names:
        return None
    digests = pa.Table.from_struct_array(rows[CONTENTS].combine_chunks())
    return {name: digests[name].to_numpy() for name in digests.column_names}

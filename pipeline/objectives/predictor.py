"""The stage that holds a model and predicts a block of samples at a time: a bundle or a pretrained encoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import pyarrow as pa

from pipeline.objectives.model import ModelSpec
from pipeline.sample import ERROR


class Predictor(Protocol):
    """Decoded samples in, the same rows with predictions in place of their modalities out."""

    @property
    def fields(self) -> list[pa.Field]:
        """The columns that it adds, the embedding first."""

    def __call__(self, table: pa.Table) -> pa.Table:
        """Predicts the good rows of a block; bad rows pass with nulls.

        Args:
            table: As :meth:`pipeline.objectives.model.Model.decoder` decodes it.
        """


def load_predictor(spec: ModelSpec) -> Predictor:
    """Loads what :func:`pipeline.objectives.model.open_model` describes; needs no Ray.

    ::

        model = open_model(spec)
        table = model.decoder().decode(samples, part="")
        embeddings = load_predictor(spec)(table)["embedding"]

    Raises:
        ModelError: The model is missing, damaged, or does not fit the configuration.
        RunError: The device that was asked for is not there.
    """
    if spec.pretrained:
        from pipeline.objectives.encoding import EncoderPredictor

        return EncoderPredictor(spec)
    from pipeline.objectives.classify.predictor import BundlePredictor

    return BundlePredictor(spec)


def with_columns(
    table: pa.Table, codecs: Mapping[str, object], fields: list[pa.Field], good: pa.Table | None
) -> pa.Table:
    """Puts predictions in the place of the modalities.

    Args:
        table: A block.
        codecs: Modality -> codec; their columns go.
        fields: The columns that come.
        good: Their values in the rows without an error; None where there is no such row.
    """
    rows = np.flatnonzero(good_rows(table))
    table = table.drop_columns(list(codecs))
    places = np.zeros(table.num_rows, dtype=np.int64)
    places[rows] = np.arange(len(rows))
    absent = np.ones(table.num_rows, dtype=bool)
    absent[rows] = False
    order = pa.array(places, mask=absent)
    for field in fields:
        column = (
            pa.nulls(table.num_rows, field.type)
            if good is None
            else good[field.name].combine_chunks().take(order)
        )
        table = table.append_column(field, column)
    return table


def good_rows(table: pa.Table) -> np.ndarray:
    """(B,) bool, the rows without an error."""
    good: np.ndarray = ~table[ERROR].is_valid().to_numpy()
    return good

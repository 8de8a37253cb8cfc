"""The predictions and targets of a split, gathered block by block, for an evaluation that must see them all at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


class Gathered:
    """Gathers what :meth:`pipeline.objectives.base.Evaluation.update` is given, in its order."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._predictions: dict[str, list[pa.Table]] = {}
        self._present: dict[str, list[NDArray[np.bool_]]] = {}

    def update(
        self,
        texts: Sequence[str],
        predictions: Mapping[str, pa.Table],
        present: Mapping[str, NDArray[np.bool_]],
    ) -> None:
        """Takes in B more samples; see :meth:`pipeline.objectives.base.Evaluation.update`."""
        self.texts += texts
        for subset, table in predictions.items():
            self._predictions.setdefault(subset, []).append(table)
        for name, column in present.items():
            self._present.setdefault(name, []).append(column)

    def merge(self, other: Gathered) -> None:
        """Takes in the samples of another, behind those of this one."""
        self.texts += other.texts
        for subset, tables in other._predictions.items():
            self._predictions.setdefault(subset, []).extend(tables)
        for name, columns in other._present.items():
            self._present.setdefault(name, []).extend(columns)

    @property
    def predictions(self) -> dict[str, pa.Table]:
        """Subset -> what was predicted of all N samples."""
        return {name: pa.concat_tables(tables) for name, tables in self._predictions.items()}

    @property
    def present(self) -> dict[str, NDArray[np.bool_]]:
        """Modality -> (N,) bool."""
        return {name: np.concatenate(columns) for name, columns in self._present.items()}

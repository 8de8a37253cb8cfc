"""The predictions and targets of a split, gathered block by block, for an evaluation that must see them all at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


class Gathered:
    """Gathers what :meth:`pipeline.objectives.base.Evaluation.update` is given, in its order."""

    by_subset = True
    by_content = False

    def __init__(self) -> None:
        self._texts: list[str | None] = []
        self._predictions: dict[str, list[pa.Table]] = {}
        self._present: dict[str, list[NDArray[np.bool_]]] = {}
        self._contents: dict[str, list[NDArray[np.int64]]] = {}

    def update(
        self,
        texts: Sequence[str | None],
        predictions: Mapping[str, pa.Table],
        present: Mapping[str, NDArray[np.bool_]],
        contents: Mapping[str, NDArray[np.int64]] | None = None,
    ) -> None:
        """Takes in B more samples; see :meth:`pipeline.objectives.base.Evaluation.update`."""
        self._texts += texts
        for subset, table in predictions.items():
            self._predictions.setdefault(subset, []).append(table)
        for name, column in present.items():
            self._present.setdefault(name, []).append(column)
        for name, digests in (contents or {}).items():
            self._contents.setdefault(name, []).append(digests)

    def merge(self, other: Gathered) -> None:
        """Takes in the samples of another, behind those of this one."""
        self._texts += other._texts
        for subset, tables in other._predictions.items():
            self._predictions.setdefault(subset, []).extend(tables)
        for name, columns in other._present.items():
            self._present.setdefault(name, []).extend(columns)
        for name, digests in other._contents.items():
            self._contents.setdefault(name, []).extend(digests)

    @property
    def texts(self) -> list[str]:
        """The canonical texts of the targets, where each sample has one."""
        return [text for text in self._texts if text is not None]

    @property
    def predictions(self) -> dict[str, pa.Table]:
        """Subset -> what was predicted of all N samples."""
        return {name: pa.concat_tables(tables) for name, tables in self._predictions.items()}

    @property
    def present(self) -> dict[str, NDArray[np.bool_]]:
        """Modality -> (N,) bool."""
        return {name: np.concatenate(columns) for name, columns in self._present.items()}

    @property
    def contents(self) -> dict[str, NDArray[np.int64]]:
        """Modality -> (N,) int64, equal where samples are equal in it; empty where nobody asked."""
        return {name: np.concatenate(columns) for name, columns in self._contents.items()}

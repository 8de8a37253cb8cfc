"""Vectors that networks make. Imports no torch until a network is built."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pyarrow as pa

from pipeline.modalities.rendering.base import LikelihoodName
from pipeline.modalities.shown import Shown

if TYPE_CHECKING:
    from pipeline.modalities.vector.decoders.perceptron import VectorRenderer


@dataclass(frozen=True)
class VectorRendering:
    """Numbers in deviations from the training set's mean; see :mod:`pipeline.modalities.rendering.base`.

    Attributes:
        shape: (L,) features, or (T, C) of a series.
    """

    shape: tuple[int, ...]
    bounded: ClassVar[bool] = False
    symbols: ClassVar[None] = None
    likelihood: ClassVar[LikelihoodName] = "gaussian"

    @property
    def type(self) -> pa.DataType:
        """Lists of all numbers, step by step."""
        return pa.list_(pa.float32(), math.prod(self.shape))

    def build(self, width: int) -> VectorRenderer:
        from pipeline.modalities.vector.decoders.perceptron import VectorRenderer

        return VectorRenderer(self.shape, width)

    def encode(self, values: np.ndarray) -> pa.Array:
        """Lists, for float32 (B, *shape)."""
        flat = pa.array(np.ascontiguousarray(values, np.float32).reshape(-1))
        return pa.FixedSizeListArray.from_arrays(flat, type=self.type)

    def member(self, cell: Sequence[float]) -> tuple[bytes, str]:
        data = io.BytesIO()
        np.save(data, self._values(cell))
        return data.getvalue(), "npy"

    def show(self, cell: Sequence[float]) -> Shown:
        from pipeline.modalities.vector.plot import line_plot

        return Shown("plot", line_plot(self._values(cell)))

    def _values(self, cell: Sequence[float]) -> np.ndarray:
        return np.asarray(cell, np.float32).reshape(self.shape)

"""The columns of captions."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from pipeline.objectives.base import EMBEDDING, Arrays
from pipeline.objectives.columns import fixed_lists
from pipeline.objectives.texts.vocabulary import Vocabulary

CAPTION, SCORE, SYMBOLS = "caption", "score", "symbols"


def schema(width: int) -> list[pa.Field]:
    """The columns, in order."""
    return [
        pa.field(CAPTION, pa.string()),
        pa.field(SCORE, pa.float32()),
        pa.field(EMBEDDING, pa.list_(pa.float32(), width)),
    ]


def table(arrays: Arrays, vocabulary: Vocabulary) -> pa.Table:
    """The columns of B samples.

    Args:
        arrays: ``symbols`` (B, T), ``score`` (B,) and ``embedding`` (B, D), float32.
        vocabulary: What texts are written with.
    """
    symbols = arrays[SYMBOLS].astype(np.int64)
    columns = [
        pa.array([vocabulary.decode(row) for row in symbols.tolist()], pa.string()),
        pa.array(arrays[SCORE], pa.float32()),
        fixed_lists(arrays[EMBEDDING]),
    ]
    return pa.Table.from_arrays(columns, schema=pa.schema(schema(arrays[EMBEDDING].shape[1])))

"""The columns of transcripts."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from pipeline.objectives.base import EMBEDDING, Arrays
from pipeline.objectives.columns import fixed_lists
from pipeline.objectives.texts.vocabulary import END, Vocabulary

TRANSCRIPT, SCORE, TOKENS = "transcript", "score", "tokens"
SYMBOLS, FIRST, BEHIND = "symbols", "first", "behind"
TOKEN = pa.struct(
    [
        pa.field("symbol", pa.string()),
        pa.field("start", pa.float32()),
        pa.field("end", pa.float32()),
    ]
)


def schema(width: int) -> list[pa.Field]:
    """The columns, in order."""
    return [
        pa.field(TRANSCRIPT, pa.string()),
        pa.field(SCORE, pa.float32()),
        pa.field(TOKENS, pa.list_(TOKEN)),
        pa.field(EMBEDDING, pa.list_(pa.float32(), width)),
    ]


def table(arrays: Arrays, vocabulary: Vocabulary, seconds: float) -> pa.Table:
    """The columns of B samples.

    Args:
        arrays: ``symbols``, ``first`` and ``behind`` (B, L), ``score`` (B,) and ``embedding`` (B, D), float32.
        vocabulary: What texts are written with.
        seconds: Of a token of the encoder.
    """
    symbols = arrays[SYMBOLS].astype(np.int64)
    texts = [[symbol for symbol in row if symbol > END] for row in symbols.tolist()]
    starts, ends = arrays[FIRST] * seconds, arrays[BEHIND] * seconds
    tokens = [
        [
            {"symbol": vocabulary.decode([symbol]), "start": start, "end": end}
            for symbol, start, end in zip(text, starts[row], ends[row], strict=False)
        ]
        for row, text in enumerate(texts)
    ]
    columns = [
        pa.array([vocabulary.decode(text).strip() for text in texts], pa.string()),
        pa.array(arrays[SCORE], pa.float32()),
        pa.array(tokens, pa.list_(TOKEN)),
        fixed_lists(arrays[EMBEDDING]),
    ]
    return pa.Table.from_arrays(columns, schema=pa.schema(schema(arrays[EMBEDDING].shape[1])))

"""Columns of values that networks made: ``generated_image`` and so on, behind the embedding."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from pipeline.modalities.rendering.base import Rendering, generated
from pipeline.objectives.base import EMBEDDING, Arrays
from pipeline.objectives.columns import fixed_lists


def schema(renderings: Mapping[str, Rendering], width: int) -> list[pa.Field]:
    """The columns, in order.

    Args:
        renderings: Modality -> how its values are made.
        width: Numbers of an embedding.
    """
    made = [pa.field(generated(name), rendering.type) for name, rendering in renderings.items()]
    return [pa.field(EMBEDDING, pa.list_(pa.float32(), width)), *made]


def table(arrays: Arrays, renderings: Mapping[str, Rendering]) -> pa.Table:
    """The columns of B samples.

    Args:
        arrays: ``embedding`` float32 (B, D), and ``generated_NAME`` as renderers finish values.
        renderings: Modality -> how its values are made.
    """
    embeddings = arrays[EMBEDDING]
    made = [rendering.encode(arrays[generated(name)]) for name, rendering in renderings.items()]
    fields = schema(renderings, embeddings.shape[1])
    return pa.Table.from_arrays([fixed_lists(embeddings), *made], schema=pa.schema(fields))

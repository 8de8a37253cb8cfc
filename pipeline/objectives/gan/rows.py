"""The columns of made values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from pipeline.objectives.base import Arrays
from pipeline.objectives.columns import fixed_lists
from pipeline.objectives.generated import rows as generated_rows

if TYPE_CHECKING:
    from pipeline.modalities.rendering.base import Rendering
    from pipeline.objectives.gan.conditions import Vocabulary

ASKED, REALISM = "asked", "realism"
YARDSTICK, YARDSTICK_REAL = (
    "yardstick",
    "yardstick_real",
)  # features of the made, and of the sample's own value
FRECHET = "frechet_distance"
CONDITION = "condition"  # of the network's outputs
MAP_DIMENSIONS = 3  # (C, H, W)
HALF = 32  # of the features of a map: one half of what is where, one of how it looks from near


def features_of(shape: Sequence[int]) -> int:
    """Numbers of the yardstick of values of a shape."""
    return 2 * HALF if len(shape) == MAP_DIMENSIONS else HALF


def presence(name: str) -> str:
    """The network's output that says which samples have something."""
    return f"{name}_present"


def schema(renderings: Mapping[str, Rendering], width: int, features: int) -> list[pa.Field]:
    """The columns, in order.

    Args:
        renderings: The modality -> how its values are made.
        width: Numbers of an embedding.
        features: Numbers of the yardstick.
    """
    return [
        *generated_rows.schema(renderings, width),
        pa.field(ASKED, pa.string()),
        pa.field(REALISM, pa.float32()),
        pa.field(YARDSTICK, pa.list_(pa.float32(), features)),
        pa.field(YARDSTICK_REAL, pa.list_(pa.float32(), features)),
    ]


def table(arrays: Arrays, renderings: Mapping[str, Rendering], vocabulary: Vocabulary) -> pa.Table:
    """The columns of B samples; see :meth:`pipeline.objectives.gan.model.AdversarialPair.predict`."""
    made = generated_rows.table(arrays, renderings)
    asked = vocabulary.texts(arrays[CONDITION]) if vocabulary.size else [None] * made.num_rows
    present = arrays[presence(YARDSTICK_REAL)] > 0
    columns = {
        ASKED: pa.array(asked, pa.string()),
        REALISM: pa.array(arrays[REALISM], pa.float32()),
        YARDSTICK: fixed_lists(arrays[YARDSTICK]),
        YARDSTICK_REAL: fixed_lists(arrays[YARDSTICK_REAL], present),
    }
    for name, column in columns.items():
        made = made.append_column(name, column)
    return made

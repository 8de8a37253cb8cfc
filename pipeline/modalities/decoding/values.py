"""The decoded values of one modality while a part is decoded."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from pipeline.errors import Absent, SampleError
from pipeline.modalities.base import Codec, Item, Noted
from pipeline.modalities.codecs import dense_to_column
from pipeline.modalities.decoding.watch import Ticking, Watch

# Of a sample whose members hold nothing of the modalities that they are read for.
NOTHING = SampleError(
    "nothing of what its fields are read for is in them", reason="no_modality", setting="modalities"
)
FIRST_ROWS = 256  # that there is room for at first; what is not written to takes no memory


class Values:
    """The values of one modality, in one block where they have one shape."""

    def __init__(self, codec: Codec, watch: Watch) -> None:
        self._codec = codec
        self._watch = watch
        like = codec.empty(0)
        self._block = (
            None if like is None else watch.room((FIRST_ROWS, *like.shape[1:]), like.dtype)
        )
        self._lists: list[np.ndarray | None] = []  # where they differ in size
        self._present: list[bool] = []
        self._first = 0  # row of the group's first sample

    def decode(
        self, count: int, members: Mapping[int, Item]
    ) -> tuple[dict[int, SampleError], dict[int, Noted]]:
        """Decodes the members of the next ``count`` rows; returns those that were refused, and those with a remark.

        Members that hold nothing of the modality are neither, and their rows have no value.
        """
        self._first = len(self._present)
        self._present += [False] * count
        out = None
        if self._block is None:
            self._lists += [None] * count
        else:
            self._block = block = self._room(self._block)
            out = [block[self._first + row] for row in members]
        refused, noted = {}, {}
        results = self._codec.decode_batch(Ticking(list(members.values()), self._watch), out)
        for row, value in zip(members, results, strict=True):
            if isinstance(value, Absent):
                continue
            if isinstance(value, SampleError):
                refused[row] = value
                continue
            if isinstance(value, Noted):
                noted[row], value = value, value.value
            self._present[self._first + row] = True
            if out is None:
                self._lists[self._first + row] = value
        return refused, noted

    def _room(self, block: np.ndarray) -> np.ndarray:
        """The block, or a larger one with what is in it."""
        if len(self._present) <= len(block):
            return block
        rows = max(2 * len(block), len(self._present))
        larger = self._watch.room((rows, *block.shape[1:]), block.dtype)
        larger[: self._first] = block[: self._first]
        return larger

    def has(self, row: int) -> bool:
        """Whether a row of the group has a value."""
        return self._present[self._first + row]

    def drop_row(self, row: int) -> None:
        """Takes a row of any group its value."""
        self._present[row] = False

    def drop(self, row: int) -> None:
        """Takes a row of the group its value."""
        self._present[self._first + row] = False

    def array(self) -> pa.Array:
        """The column."""
        missing = ~np.array(self._present, dtype=bool)
        if self._block is None:
            pairs = zip(self._lists, self._present, strict=True)
            return self._codec.to_arrow([value if valid else None for value, valid in pairs])
        block = self._block[: len(missing)]
        block[missing] = 0
        return dense_to_column(block, missing, self._codec.column)

"""Member with numbers -> float32 array of one shape, in which a missing value is a mask, never a NaN."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from pipeline.errors import SampleError
from pipeline.limits import beyond
from pipeline.modalities.base import Decoded, Dense, Item, Noted
from pipeline.modalities.codecs import MISSING_ARE_NULL, decode_each, dense_column, dense_to_column
from pipeline.modalities.vector.faults import bad
from pipeline.modalities.vector.npy import read_npy
from pipeline.modalities.vector.written import read_json_numbers, read_lines

if TYPE_CHECKING:
    from pipeline.modalities.vector import Length, NonFinite

NPY, JSON = "npy", "json"  # by the extension; everything else is lines of text


class VectorCodec:
    """Decodes the readings of sensors, or features, to float32 of one shape; the values stay as they are.

    Where a value is missing, the decoded array has NaN, the column a null, and the batch a mask beside the values: no
    network meets a NaN.

    Args:
        shape: (L,) features, or (T, C): steps and channels.
        path: Names from a JSON member's outermost object to the numbers, between dots.
        separator: Between the numbers of a line of text.
        max_bytes: Larger members are refused.
        non_finite: What becomes of values that are missing, NaN or infinite.
        too_long: What becomes of series of more steps than T.
        too_short: What becomes of series of fewer steps than T.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        path: str = "",
        separator: str = ",",
        max_bytes: int,
        non_finite: NonFinite = "quarantine",
        too_long: Length = "fit",
        too_short: Length = "fit",
    ) -> None:
        self.shape = shape
        self.path = path
        self.separator = separator
        self.max_bytes = max_bytes
        self.non_finite = non_finite
        self.too_long = too_long
        self.too_short = too_short

    @property
    def column(self) -> pa.Field:
        """``vector``: fixed_size_list<float32>, its shape in the metadata; a missing value is a null in the list."""
        size = int(np.prod(self.shape))
        metadata = {"shape": ",".join(map(str, self.shape)), **MISSING_ARE_NULL}
        return pa.field("vector", pa.list_(pa.float32(), size), metadata=metadata)

    def empty(self, count: int) -> np.ndarray:
        """(count, *shape) float32, not initialised."""
        return np.empty((count, *self.shape), dtype=np.float32)

    def modules(self, fields: Sequence[str]) -> Sequence[str]:
        """See :class:`pipeline.modalities.base.Codec`."""
        return ("encodings.utf_8_sig",)

    def decode(self, data: memoryview, field: str) -> np.ndarray:
        """Decodes one member to (*shape) float32, NaN where a value is missing.

        Raises:
            SampleError: It cannot be read, has another shape, or values that are not finite.
        """
        return self._decode(data, field)[0]

    def decode_noting(self, data: memoryview, field: str) -> np.ndarray | Noted:
        """As :meth:`decode`, with a remark where the file goes on behind its numbers."""
        values, num_behind = self._decode(data, field)
        if not num_behind:
            return values
        return Noted(values, "noted_rest", f"{num_behind} bytes follow the array")

    def decode_batch(
        self, items: Sequence[Item], out: Sequence[np.ndarray] | None = None
    ) -> list[Decoded]:
        """Decodes members to (*shape) float32, in ``out`` where it is given."""
        return decode_each(self, items, out, self.decode_noting)

    def _decode(self, data: memoryview, field: str) -> tuple[np.ndarray, int]:
        if len(data) > self.max_bytes:
            raise self.too_large(len(data), field)
        more, num_behind = False, 0
        suffix = field.rpartition(".")[2]
        if suffix == NPY:
            array, num_behind = read_npy(data, field)
        elif suffix == JSON:
            array = read_json_numbers(data, field, self.path, len(self.shape))
        else:
            array, more = read_lines(data, field, self.separator, self.shape)
        return self._finite(self._fitted(array, field, more=more), field), num_behind

    def too_large(self, size: int, field: str) -> SampleError:
        """The fault of a member of more bytes than may be."""
        what, setting = f"the vector's member has {size} bytes", _setting("max_bytes")
        return beyond(what, setting=setting, limit=self.max_bytes, needed=size, field=field)

    def _fitted(self, array: np.ndarray, field: str, *, more: bool) -> np.ndarray:
        """The part of an array that is kept, (N, C) with N <= T, or (L,).

        Raises:
            SampleError: As :meth:`check_shape`.
        """
        self.check_shape(array.shape, field, more=more)
        if array.ndim < len(self.shape):
            array = array[:, None]
        return array[: self.shape[0]]

    def check_shape(self, shape: tuple[int, ...], field: str, *, more: bool = False) -> None:
        """Refuses what cannot become the configured shape.

        Args:
            shape: Of an array.
            field: Its extension.
            more: Whether it goes on behind that.

        Raises:
            SampleError: It has other axes or another length than configured.
        """
        steps, *channels = self.shape
        if channels == [1] and len(shape) == 1:
            shape = (*shape, 1)
        if len(shape) != len(self.shape) or list(shape[1:]) != channels:
            turned = " (its axes the other way round?)" if shape[::-1] == self.shape else ""
            raise bad(f"its shape is {_shown(shape)}{turned}", field, _setting("shape"))
        count = shape[0]
        longer, shorter = more or count > steps, count < steps
        if not channels and (longer or shorter):
            what = f"it has {'more' if longer else 'fewer'} than {steps} values"
            raise bad(what, field, _setting("shape"))
        if longer and self.too_long == "quarantine":
            raise bad(f"it has more than {steps} steps", field, _setting("too_long"))
        if shorter and self.too_short == "quarantine":
            what = f"it has {count} steps, fewer than {steps}"
            raise bad(what, field, _setting("too_short"))

    def _finite(self, array: np.ndarray, field: str) -> np.ndarray:
        """(*shape) float32, NaN where a value is missing, or the series has ended."""
        values = np.full(self.shape, np.nan, dtype=np.float32)
        with np.errstate(over="ignore"):  # what float32 cannot hold is infinite
            values[: len(array)] = array
        present = values[: len(array)]
        finite = np.isfinite(present)
        if finite.all():
            return values
        number = finite.size - int(finite.sum())
        what = f"{number} of its {finite.size} values are missing, NaN, or infinite as float32"
        if self.non_finite == "quarantine":
            raise bad(what, field, _setting("non_finite"))
        if self.non_finite == "zero":
            present[~finite] = 0.0
        elif number == finite.size:
            raise bad(what, field)
        else:
            present[~finite] = np.nan
        return values

    def show(self, data: memoryview, field: str) -> bytes:
        """The values as a plot (PNG): a line a channel.

        Raises:
            SampleError: As :meth:`decode`.
        """
        from pipeline.modalities.vector.plot import line_plot

        return line_plot(self.decode(data, field))

    def to_arrow(self, values: Sequence[np.ndarray | None]) -> pa.Array:
        """(*shape) float32 arrays -> a column, null where None, and in it where NaN."""
        dense = self.empty(len(values))
        missing = np.array([value is None for value in values], dtype=bool)
        for row, value in zip(dense, values, strict=True):
            row[...] = 0.0 if value is None else value
        return dense_to_column(dense, missing, self.column)

    def collate(self, column: pa.Array) -> Dense:
        """A column -> (B, 2, *shape) float32 and its presence.

        Of the two, the first is the values, zeros where one is missing; the second is 1 where a value is real.
        """
        values, present = dense_column(column, self.shape)
        real = np.isfinite(values) & present.reshape(-1, *[1] * len(self.shape))
        stacked = np.zeros((len(column), 2, *self.shape), dtype=np.float32)
        np.copyto(stacked[:, 0], values, where=real)
        stacked[:, 1] = real
        return Dense(stacked, present)


def _shown(shape: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, shape))}]"


def _setting(name: str) -> str:
    return f"modalities.vector.{name}"

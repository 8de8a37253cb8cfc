"""What a modality is: a configuration, a codec that works without torch, and networks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from torch import nn


class Section(BaseModel):
    """A part of the configuration tree: immutable, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Dense(NamedTuple):
    """A column as arrays of one shape, ready for a network.

    Attributes:
        values: (B, ...) in the codec's dtype; zeros where the modality is missing.
        present: (B,) bool, True where the sample has the modality.
    """

    values: np.ndarray
    present: np.ndarray


class Codec(Protocol):
    """Bytes <-> arrays of one modality, on the CPU, without torch. Picklable: Ray ships it to the workers."""

    @property
    def column(self) -> pa.Field:
        """The Arrow field of decoded values, its shape in the field's metadata where it has one."""

    def decode(self, data: memoryview, field: str) -> np.ndarray:
        """Decodes one member.

        Args:
            data: The member's bytes.
            field: Its extension, for example ``jpg``.

        Raises:
            SampleError: The member cannot be used.
        """

    def show(self, data: memoryview, field: str) -> str | bytes:
        """What a person reads, sees (PNG) or hears (WAV) of a member.

        Raises:
            SampleError: The member cannot be used.
        """

    def to_arrow(self, values: list[np.ndarray | None]) -> pa.Array:
        """Puts decoded values, None where missing, into a column of :attr:`column`'s type."""

    def collate(self, column: pa.Array) -> Dense:
        """Turns a column of decoded values into arrays of one shape."""


class ModalityConfig(Section):
    """Settings that every modality has."""

    fields: tuple[str, ...]

    def codec(self, tokenizer: str | None) -> Codec:
        """Builds the codec.

        Args:
            tokenizer: The tokenizer's JSON, for modalities that are tokenized.
        """
        raise TypeError(f"{type(self).__name__} is abstract")

    def encoder(self, width: int) -> nn.Module:
        """Builds the network that turns a batch of values into features of ``width``."""
        raise TypeError(f"{type(self).__name__} is abstract")

    def augmentation(self) -> Any:
        """Builds the training-time augmentation: a callable ``(values, generator) -> values``."""
        raise TypeError(f"{type(self).__name__} is abstract")


def fixed_size_column(values: list[np.ndarray | None], field: pa.Field, dtype: type) -> pa.Array:
    """Packs arrays of one shape into a FixedSizeList column, null where a value is None."""
    size = field.type.list_size
    dense = np.zeros((len(values), size), dtype=dtype)
    missing = np.zeros(len(values), dtype=bool)
    for row, value in enumerate(values):
        if value is None:
            missing[row] = True
        else:
            dense[row] = value.reshape(-1)
    flat = pa.array(dense.reshape(-1), type=field.type.value_type)
    mask = pa.array(missing) if missing.any() else None
    return pa.FixedSizeListArray.from_arrays(flat, type=field.type, mask=mask)


def dense_column(column: pa.Array, shape: tuple[int, ...]) -> Dense:
    """Unpacks a FixedSizeList column into (B, *shape), zeros where it is null."""
    size = column.type.list_size
    # `flatten` would leave the nulls' places out; `values` keeps them, but ignores the slice's offset.
    flat = column.values.slice(column.offset * size, len(column) * size)
    present = np.asarray(column.is_valid())
    values = flat.to_numpy(zero_copy_only=False).reshape(len(column), *shape)
    if not present.all():
        values = np.where(
            present.reshape(-1, *[1] * len(shape)), values, np.zeros((), values.dtype)
        )
    return Dense(values, present)

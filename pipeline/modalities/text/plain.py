"""Text bytes -> the cleaned text, for models that bring a tokenizer of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from pipeline.modalities.base import Decoded, Dense, Item
from pipeline.modalities.codecs import decode_unequal
from pipeline.modalities.text.codec import UTF_8, TextCodec

if TYPE_CHECKING:
    from pipeline.modalities.text import TextFilterConfig


class PlainTextCodec(TextCodec):
    """Reads and cleans a text as :class:`TextCodec` does, and leaves it a text: a () array of str.

    Args:
        max_bytes: Longer texts are refused.
        encoding: Of the texts, by Python's name.
        limits: Which good texts are left out; None leaves out none.
    """

    def __init__(
        self, max_bytes: int, encoding: str = UTF_8, limits: TextFilterConfig | None = None
    ) -> None:
        super().__init__("", 0, max_bytes, encoding, limits)

    @property
    def column(self) -> pa.Field:
        """``text``: large_string, since the texts of a part may be more than 2 GiB."""
        return pa.field("text", pa.large_string())

    def decode(self, data: memoryview, field: str) -> np.ndarray:
        """Decodes one text to a () array of str.

        Raises:
            SampleError: Not in the encoding, with NUL, or too long.
        """
        return np.array(self._text(data, field), dtype=object)

    def decode_batch(
        self, items: Sequence[Item], out: Sequence[np.ndarray] | None = None
    ) -> list[Decoded]:
        """Decodes texts one by one."""
        return decode_unequal(self.decode, items)

    def to_arrow(self, values: Sequence[np.ndarray | None]) -> pa.Array:
        """Texts -> a column, null where None."""
        texts = [None if value is None else value.item() for value in values]
        return pa.array(texts, self.column.type)

    def collate(self, column: pa.Array) -> Dense:
        """A column -> (B,) object of str, empty where it is null, and its presence."""
        present = np.asarray(column.is_valid())
        texts = [text or "" for text in column.to_pylist()]
        return Dense(np.array(texts, dtype=object), present)

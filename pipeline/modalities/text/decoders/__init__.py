"""Texts that networks make. Imports no torch until a network is built."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa

from pipeline.modalities.rendering.base import LikelihoodName
from pipeline.modalities.shown import Shown

if TYPE_CHECKING:
    from pipeline.modalities.text.codec import TextCodec
    from pipeline.modalities.text.decoders.tokens import TextRenderer


@dataclass(frozen=True)
class TextRendering:
    """Token ids of the run's tokenizer, all of a text at once; see :mod:`pipeline.modalities.rendering.base`.

    Attributes:
        length: Tokens (L); a shorter text is followed by the id that stands for no token.
        symbols: Ids that there may be (K).
        encoding: Of texts as members, by Python's name.
        codec: Knows what ids are of; None writes the ids themselves.
    """

    length: int
    symbols: int
    encoding: str
    codec: TextCodec | None
    bounded: ClassVar[bool] = False
    likelihood: ClassVar[LikelihoodName] = "categorical"
    type: ClassVar[pa.DataType] = pa.string()

    @property
    def shape(self) -> tuple[int]:
        """(L,)."""
        return (self.length,)

    def build(self, width: int) -> TextRenderer:
        from pipeline.modalities.text.decoders.tokens import TextRenderer

        return TextRenderer(self.length, self.symbols, width)

    def encode(self, values: np.ndarray) -> pa.Array:
        """The text of each, for float32 (B, L) ids; it ends before the first that stands for no token."""
        return pa.array([self._text(ids.astype(np.int64)) for ids in values], self.type)

    def _text(self, ids: np.ndarray) -> str:
        from pipeline.modalities.text.codec import PAD

        ends = np.flatnonzero(ids == PAD)
        ids = ids[: ends[0]] if len(ends) else ids
        if self.codec is None:
            return " ".join(map(str, ids.tolist()))
        # What is stored is read again as a text, and in a text there is no NUL.
        return self.codec.text(ids).replace("\0", "")

    def member(self, cell: str) -> tuple[bytes, str]:
        return cell.encode(self.encoding, "replace"), "txt"

    def show(self, cell: Any) -> Shown:
        return Shown("text", str(cell))

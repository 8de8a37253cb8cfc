"""A modality: strings of bits, written as hexadecimal digits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field

from pipeline.errors import SampleError
from pipeline.limits import beyond
from pipeline.metrics.columns import Sums
from pipeline.modalities.base import Decoded, Dense, EncoderConfig, Item, ModalityConfig, Verify
from pipeline.modalities.codecs import decode_each, dense_column, fixed_size_column
from pipeline.modalities.content import Content
from pipeline.modalities.facets import Facts, ProbeRules
from pipeline.modalities.shown import MarkedText

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class BitsCodec:
    """Hexadecimal digits -> (L,) uint8 of 0 and 1."""

    length: int
    max_bytes: int

    @property
    def column(self) -> pa.Field:
        return pa.field(
            "bits", pa.list_(pa.uint8(), self.length), metadata={"shape": str(self.length)}
        )

    def modules(self, fields: Sequence[str]) -> Sequence[str]:
        return ()

    def decode(self, data: memoryview, field: str) -> np.ndarray:
        if len(data) > self.max_bytes:
            setting = "modalities.bits.settings.max_bytes"
            what = f"the bits have {len(data)} bytes"
            raise beyond(what, setting=setting, limit=self.max_bytes, needed=len(data), field=field)
        try:
            octets = bytes.fromhex(bytes(data).decode("ascii"))
        except ValueError:
            raise SampleError("no hexadecimal digits", reason="bad_bits", field=field) from None
        if len(octets) * 8 != self.length:
            what = f"{len(octets) * 8} bits, and not {self.length}"
            setting = "modalities.bits.settings.length"
            raise SampleError(what, reason="bad_bits", field=field, setting=setting)
        return np.unpackbits(np.frombuffer(octets, np.uint8))

    def empty(self, count: int) -> np.ndarray:
        return np.empty((count, self.length), np.uint8)

    def decode_batch(
        self, items: Sequence[Item], out: Sequence[np.ndarray] | None = None
    ) -> list[Decoded]:
        return decode_each(self, items, out)

    def show(self, data: memoryview, field: str) -> str:
        return "".join(map(str, self.decode(data, field)))

    def to_arrow(self, values: Sequence[np.ndarray | None]) -> pa.Array:
        return fixed_size_column(values, self.column, np.uint8)

    def collate(self, column: pa.Array) -> Dense:
        return dense_column(column, (self.length,))


@dataclass(frozen=True)
class OnesMeasure:
    """How often each bit is 1."""

    def sums(self, column: pa.ChunkedArray, field: pa.Field) -> Sums:
        values = [dense_column(chunk, (field.type.list_size,)) for chunk in column.chunks]
        ones = sum(int(dense.values[dense.present].sum()) for dense in values)
        return {"ones": ones}

    def statistics(self, sums: Sums, field: pa.Field) -> dict[str, Any]:
        count = sums["present"] * field.type.list_size
        return {"share_of_ones": sums["ones"] / count if count else None}


class BitsEncoderConfig(EncoderConfig):
    """One linear layer."""

    kind: str = "linear"

    def build(self, modality: BitsConfig, width: int) -> nn.Module:
        from .networks import BitsEncoder

        return BitsEncoder(modality.length, width)


class BitsConfig(ModalityConfig):
    """Strings of bits, all of one length."""

    LIMITS: ClassVar[tuple[str, ...]] = ("max_bytes",)
    MEDIUM = "text"
    IS_CELL_VALUE: ClassVar[bool] = True
    REASONS: ClassVar[Mapping[str, str]] = {"bad_bits": "no such string of bits"}

    fields: tuple[str, ...] = ("hex",)
    length: int = Field(default=64, ge=8, multiple_of=8)
    max_bytes: int = Field(default=1024, gt=0)
    encoder: BitsEncoderConfig = BitsEncoderConfig()

    def codec(self, tokenizer: str | None, *, verify: Verify = "full") -> BitsCodec:
        return BitsCodec(self.length, self.max_bytes)

    def probe(self, content: Content, field: str, found: str, rules: ProbeRules) -> Facts:
        if content.size > rules.read_bytes:
            return Facts()
        try:
            self.codec(None).decode(content.whole(), field)
        except SampleError as error:
            return Facts(ranges={"digits": content.size}, fault=error)
        return Facts(ranges={"digits": content.size})

    def show_augmented(self, codec: Any, original: np.ndarray, augmented: np.ndarray) -> MarkedText:
        return MarkedText([("".join(map(str, augmented)), True)])

    def measure(self) -> OnesMeasure:
        return OnesMeasure()

    def build_encoder(self, width: int) -> nn.Module:
        return self.encoder.build(self, width)

    def augmentation(self) -> Any:
        from .networks import unchanged

        return unchanged

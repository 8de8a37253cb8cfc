"""A codec that does what its member says: a number, or something that ends, hangs or swells its process."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.errors import SampleError
from pipeline.limits import Limits
from pipeline.modalities.base import Decoded, Dense, Item, Noted
from pipeline.modalities.codecs import decode_each, dense_column, fixed_size_column
from pipeline.modalities.decoding.decoder import Decoder

WIDTH = 4
KILLERS = ("segfault", "abort", "exit", "sleep", "spin", "eat", "grab")


@dataclass
class EvilCodec:
    """Values are four float32 of one number."""

    name: str = "image"

    @property
    def column(self) -> pa.Field:
        return pa.field(self.name, pa.list_(pa.float32(), WIDTH), metadata={"shape": str(WIDTH)})

    def empty(self, count: int) -> np.ndarray:
        return np.empty((count, WIDTH), dtype=np.float32)

    def decode(self, data: memoryview, field: str) -> np.ndarray:
        word = bytes(data).decode()
        if word == "bad":
            raise SampleError("it says so", reason="bad_image", field=field)
        if word == "bug":
            raise KeyError("a bug of the codec")
        if word == "segfault":
            ctypes.string_at(0)
        elif word == "abort":
            os.abort()
        elif word == "exit":
            os._exit(7)
        elif word == "sleep":
            time.sleep(600)
        elif word == "spin":
            while True:
                pass
        elif word == "eat":
            eaten = []
            while True:
                eaten.append(np.ones(1 << 20))
        elif word == "grab":
            np.ones(1 << 40, dtype=np.uint8)
        return np.full(WIDTH, float(word), dtype=np.float32)

    def decode_batch(
        self, items: Sequence[Item], out: Sequence[np.ndarray] | None = None
    ) -> list[Decoded]:
        return decode_each(self, items, out, self.decode_oddities)

    def decode_oddities(self, data: memoryview, field: str) -> np.ndarray | Noted:
        """As :meth:`decode`; ``odd 3`` is three, and a remark."""
        word = bytes(data).decode()
        value = self.decode(memoryview(word.removeprefix("odd ").encode()), field)
        return Noted(value, "noted_count", f"it is {word}") if word.startswith("odd ") else value

    def show(self, data: memoryview, field: str) -> str:
        if bytes(data) == b"segfault":
            ctypes.string_at(0)
        return bytes(data).decode()

    def to_arrow(self, values: Sequence[np.ndarray | None]) -> pa.Array:
        return fixed_size_column(values, self.column, np.float32)

    def collate(self, column: pa.Array) -> Dense:
        return dense_column(column, (WIDTH,))


def evil_decoder(seconds: float = 0.5, **options: object) -> Decoder:
    """A decoder of two modalities, both evil, that gives up after some seconds or 256 MiB."""
    limits = Limits(decode_seconds=seconds, decode_memory_bytes=256 << 20)
    settings = {"limits": limits, "media": {"image": "text", "audio": "text"}, **options}
    codecs = {"image": EvilCodec("image"), "audio": EvilCodec("audio")}
    return Decoder(codecs, {"image": ("img",), "audio": ("snd",)}, **settings)  # type: ignore[arg-type]

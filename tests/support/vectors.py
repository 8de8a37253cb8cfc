"""Members that hold vectors, good and bad."""

from __future__ import annotations

import io
import struct

import numpy as np


def npy(array: np.ndarray) -> bytes:
    """A file as numpy writes it; of objects too."""
    data = io.BytesIO()
    np.save(data, array, allow_pickle=True)
    return data.getvalue()


def npy_with_header(header: str, content: bytes = b"", version: int = 1) -> bytes:
    """A file whose header says what it likes."""
    written = header.encode("latin-1")
    length = struct.pack("<H" if version == 1 else "<I", len(written))
    return b"\x93NUMPY" + bytes((version, 0)) + length + written + content


def declared(shape: tuple[int, ...], descr: str = "<f4", *, fortran: bool = False) -> str:
    """A header that declares an array."""
    return f"{{'descr': {descr!r}, 'fortran_order': {fortran}, 'shape': {shape!r}, }}\n"


def wave(cycles: float, phase: float, steps: int = 64, channels: int = 2) -> np.ndarray:
    """A sine of so many cycles, (T, C) float32; the channels differ in phase, size and level."""
    time = 2 * np.pi * (cycles * np.arange(steps)[:, None] / steps + phase)
    places = np.arange(channels)
    return (np.sin(time + places) * (1 + 50 * places) + 1000 * places).astype(np.float32)

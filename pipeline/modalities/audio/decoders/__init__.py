"""Sounds that networks make. Imports no torch until a network is built."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pyarrow as pa

from pipeline.modalities.audio.wav import write_wav
from pipeline.modalities.rendering.base import LikelihoodName
from pipeline.modalities.shown import Shown

if TYPE_CHECKING:
    from pipeline.modalities.audio.decoders.spectrograms import SoundRenderer


@dataclass(frozen=True)
class SoundRendering:
    """Log-mel spectrograms, and the sounds behind them; see :mod:`pipeline.modalities.rendering.base`.

    Attributes:
        sample_rate_hz: Rate of the sounds.
        num_samples: Of a sound (T).
        window: Length of the window and of the FFT, in samples.
        hop: Samples between frames.
        num_mels: Mel bins (F).
    """

    sample_rate_hz: int
    num_samples: int
    window: int
    hop: int
    num_mels: int
    bounded: ClassVar[bool] = True
    symbols: ClassVar[None] = None
    likelihood: ClassVar[LikelihoodName] = "laplace"
    type: ClassVar[pa.DataType] = pa.binary()

    @property
    def shape(self) -> tuple[int, int, int]:
        """(1, F, N), from 0, the quietest, to 1, the loudest."""
        return (1, self.num_mels, 1 + self.num_samples // self.hop)

    def build(self, width: int) -> SoundRenderer:
        from pipeline.modalities.audio.decoders.spectrograms import SoundRenderer

        return SoundRenderer(self, width)

    def encode(self, values: np.ndarray) -> pa.Array:
        """16-bit WAV of each, for float32 (B, T) in -1..1."""
        return pa.array([write_wav(sound, self.sample_rate_hz) for sound in values], self.type)

    def member(self, cell: bytes) -> tuple[bytes, str]:
        return cell, "wav"

    def show(self, cell: bytes) -> Shown:
        return Shown("sound", cell)

"""Waveforms <-> spectra of overlapping frames."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.modalities.audio.mel import hann


class Frames:
    """How sounds are cut into frames, as :class:`pipeline.modalities.audio.mel.LogMel` does, and joined again.

    Args:
        window: Length of the window and of the FFT, in samples.
        hop: Samples between frames; a sound is found again where they overlap.
        num_frames: N.
        num_samples: T, of each sound.
        device: Where it is computed.
    """

    def __init__(
        self,
        window: int,
        hop: int,
        num_frames: int,
        num_samples: int,
        device: torch.device | str = "cpu",
    ) -> None:
        self.window, self.hop = window, hop
        self.num_frames, self.num_samples = num_frames, num_samples
        self.taper = torch.from_numpy(hann(window)).to(device)
        squares = (self.taper**2)[None, :, None].expand(1, window, num_frames)
        weights = self._added(squares)
        # Where no window looks nothing is known: the sound is silent there.
        self.weights = torch.where(weights > torch.finfo(weights.dtype).tiny, weights, torch.inf)

    def cut(self, waveforms: Tensor) -> Tensor:
        """Sounds, float32 (B, T) -> their spectra, complex64 (B, window // 2 + 1, N)."""
        before = self.window // 2
        behind = max(0, self.window + self.hop * (self.num_frames - 1) - before - self.num_samples)
        padded = functional.pad(waveforms, (before, behind))
        frames = padded.unfold(1, self.window, self.hop)[:, : self.num_frames]
        spectra: Tensor = torch.fft.rfft(frames * self.taper).transpose(1, 2)
        return spectra

    def join(self, spectra: Tensor) -> Tensor:
        """Spectra, complex64 (B, window // 2 + 1, N) -> the sounds whose spectra are nearest, float32 (B, T).

        Source:
            Griffin & Lim 1984, equation 6.
        """
        frames = torch.fft.irfft(spectra, n=self.window, dim=1)
        return self._added(frames * self.taper[:, None]) / self.weights

    def _added(self, frames: Tensor) -> Tensor:
        """Frames, float32 (B, window, N), one over the other: (B, T)."""
        length = self.window + self.hop * (self.num_frames - 1)
        added = functional.fold(frames, (1, length), (1, self.window), stride=(1, self.hop))
        before = self.window // 2
        sounds = added[:, 0, 0, before : before + self.num_samples]
        return functional.pad(sounds, (0, self.num_samples - sounds.shape[1]))

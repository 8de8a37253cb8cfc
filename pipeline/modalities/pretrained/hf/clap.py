"""CLAP's way of sounds: waveform -> log-mel spectrogram on the network's device -> embedding."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import torch
from torch import Tensor
from torch.nn import functional

from pipeline.modalities.audio.waveform import of_one_length
from pipeline.modalities.pretrained.towers import Tower, pooled

FLOOR = 1e-10  # of the power before the logarithm
FUSED_VIEWS = (
    4  # of a sound, of which a model with feature fusion sees four copies where it is not longer
)


class ClapAudioTower(Tower):
    """Makes the features of ``ClapFeatureExtractor`` and encodes them.

    transformers computes them a frame at a time in Python, too slow to feed a GPU; this does it in one batch where the
    network is. Of longer sounds the beginning is kept, where transformers draws a part at random: a night is to give
    the rows of the night before.

    Args:
        model: A CLAP model.
        features: Its feature extractor.

    Source: transformers, models/clap/feature_extraction_clap.py, ``_get_input_mel`` and ``spectrogram``.
    """

    # It makes the mels alike before anything else, and transformers lists it behind the blocks.
    before_blocks = (".audio_encoder.batch_norm.weight", ".audio_encoder.batch_norm.bias")

    def __init__(self, model: Any, features: Any) -> None:
        super().__init__()
        self.model = model
        self.num_samples = int(features.nb_max_samples)
        self.padding = features.padding
        self.fused = features.truncation == "fusion"
        self.window_length = int(features.fft_window_size)
        self.hop = int(features.hop_length)
        if self.fused:  # what only parts of longer sounds go through
            patches = model.audio_model.audio_encoder.patch_embed
            del patches.fusion_model, patches.mel_conv2d
        filters = features.mel_filters if self.fused else features.mel_filters_slaney
        self.filters: Tensor
        self.window: Tensor
        self.register_buffer("filters", torch.tensor(filters, dtype=torch.float32), False)
        self.register_buffer("window", torch.hann_window(self.window_length), False)

    def prepare(self, column: pa.Array) -> tuple[Tensor, ...]:
        """A column of waveforms -> (B, T) float32, repeated and padded as the model wants it."""
        return (torch.from_numpy(of_one_length(column, self.num_samples, self.padding)),)

    def forward(self, sounds: Tensor) -> Tensor:
        """(B, T) float32 -> (B, D)."""
        mel = self.log_mel(sounds).unsqueeze(1)
        longer = torch.zeros(len(sounds), 1, dtype=torch.bool, device=sounds.device)
        mel = mel.expand(-1, FUSED_VIEWS, -1, -1) if self.fused else mel
        return pooled(self.model.get_audio_features(input_features=mel, is_longer=longer))

    def log_mel(self, sounds: Tensor) -> Tensor:
        """(B, T) float32 -> (B, N, F) float32, in dB."""
        # In float32 under autocast too: a spectrum in bfloat16 would lose all quiet bins.
        with torch.autocast(sounds.device.type, enabled=False):
            around = self.window_length // 2
            padded = functional.pad(sounds.unsqueeze(1), (around, around), "reflect").squeeze(1)
            frames = padded.unfold(1, self.window_length, self.hop) * self.window
            power = torch.fft.rfft(frames).abs().square()
            mel: Tensor = power @ self.filters
            return 10 * mel.clamp(min=FLOOR).log10()

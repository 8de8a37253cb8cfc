"""Sound: settings of decoding and of training-time augmentation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from pipeline.modalities.base import ModalityConfig, Verify

if TYPE_CHECKING:
    from torch import nn

    from pipeline.modalities.audio.codec import AudioCodec

WINDOW_SECONDS = 0.025
HOP_SECONDS = 0.010


class AudioConfig(ModalityConfig):
    """Sounds become the log-mel spectrogram of their first ``max_seconds``, in windows of 25 ms every 10 ms."""

    fields: tuple[str, ...] = ("wav", "flac", "mp3", "ogg")
    sample_rate_hz: int = Field(default=16000, ge=4000, le=192000)
    max_seconds: float = Field(default=4.0, gt=0, le=600)
    num_mels: int = Field(default=80, ge=8, le=256)
    max_minutes: float = Field(default=30.0, gt=0)

    @model_validator(mode="after")
    def _window_resolves_the_bands(self) -> AudioConfig:
        num_bins = round(WINDOW_SECONDS * self.sample_rate_hz) // 2 + 1
        if self.num_mels > num_bins:
            raise ValueError(f"num_mels must be at most {num_bins} at {self.sample_rate_hz} Hz")
        return self

    def codec(self, tokenizer: str | None, *, verify: Verify = "full") -> AudioCodec:
        from pipeline.modalities.audio.codec import AudioCodec

        return AudioCodec(
            sample_rate_hz=self.sample_rate_hz,
            num_samples=round(self.max_seconds * self.sample_rate_hz),
            window=round(WINDOW_SECONDS * self.sample_rate_hz),
            hop=round(HOP_SECONDS * self.sample_rate_hz),
            num_mels=self.num_mels,
            max_decoded_seconds=self.max_minutes * 60,
            whole=verify == "full",
        )

    def encoder(self, width: int) -> nn.Module:
        from pipeline.modalities.audio.nets import AudioEncoder

        num_mels, num_frames = self.codec(None).shape
        return AudioEncoder(num_mels=num_mels, num_frames=num_frames, width=width)

    def augmentation(self) -> Any:
        from pipeline.modalities.audio.augment import AudioAugmentation

        return AudioAugmentation()

"""Sound: settings of decoding and of training-time augmentation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, model_validator

from pipeline.errors import SampleError
from pipeline.modalities.audio.encoders import (
    AudioCnnConfig,
    AudioEncoderConfig,
    AudioPretrainedConfig,
    AudioStatisticsConfig,
)
from pipeline.modalities.base import Codec, FilterConfig, ModalityConfig, Verify
from pipeline.modalities.content import FILMS
from pipeline.modalities.facets import CheapFeatures, Corruption, Facts, Likeness, ProbeRules
from pipeline.modalities.section import Section
from pipeline.modalities.shown import Medium, Shown

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from pipeline.metrics.columns import ColumnMeasure
    from pipeline.modalities.audio.codec import AudioCodec
    from pipeline.modalities.audio.decoders import SoundRendering
    from pipeline.modalities.content import Content

WINDOW_SECONDS = 0.025
HOP_SECONDS = 0.010


class AudioAugmentConfig(Section):
    """Small random changes to spectrograms while training; 0 switches one off.

    A pretrained encoder's sounds are changed as waveforms, whose mel bins no mask can hide.
    """

    shift_fraction: float = Field(
        default=0.1, ge=0, le=1, description="largest shift in time, as a share of the frames"
    )
    mask_bins_fraction: float = Field(
        default=0.15, ge=0, le=1, description="largest share of the mel bins that a mask hides"
    )
    mask_frames_fraction: float = Field(
        default=0.1, ge=0, le=1, description="largest share of the frames that a mask hides"
    )
    num_masks: int = Field(default=1, ge=0, le=16, description="masks along each axis")
    noise_probability: float = Field(default=0.0, ge=0, le=1, description="of white noise")
    noise_min_snr_db: float = Field(
        default=5.0, ge=-40, le=80, description="loudest noise: power of sound over noise, in dB"
    )
    noise_max_snr_db: float = Field(
        default=30.0, ge=-40, le=80, description="quietest noise: power of sound over noise, in dB"
    )

    @model_validator(mode="after")
    def _ordered(self) -> AudioAugmentConfig:
        if self.noise_min_snr_db > self.noise_max_snr_db:
            raise ValueError("noise_min_snr_db must not be above noise_max_snr_db")
        return self


class AudioFilterConfig(FilterConfig):
    """Which sounds are left out.

    The duration is that of the whole sound as decoded, or by its header where ``input.verify`` is ``kept``.
    Silence and clipping are judged in what is kept of it.
    """

    min_seconds: float | None = Field(default=None, ge=0, description="shorter sounds are left out")
    max_seconds: float | None = Field(default=None, gt=0, description="longer sounds are left out")
    max_silence_fraction: float | None = Field(
        default=None, ge=0, le=1, description="of the time, more than 40 dB below the loudest"
    )
    max_clipped_fraction: float | None = Field(
        default=None, ge=0, le=1, description="of the samples, at full scale"
    )


class AudioConfig(ModalityConfig):
    """Sounds become the log-mel spectrogram of their first ``max_seconds``, in windows of 25 ms every 10 ms."""

    LIMITS: ClassVar[tuple[str, ...]] = ("max_minutes",)
    FORMATS: ClassVar[tuple[str, ...]] = ("wav", "flac", "mp3", "ogg", "aiff", "aac")
    SHARED_FORMATS: ClassVar[tuple[str, ...]] = FILMS
    MEDIUM: ClassVar[Medium] = "sound"
    FOR_FEW: ClassVar[Mapping[str, object]] = {"encoder": AudioStatisticsConfig(told="traits")}

    kind: Literal["audio"] = "audio"
    fields: tuple[str, ...] = Field(
        default=("wav", "flac", "mp3", "ogg"),
        description="extensions of sounds; the first that a sample has is decoded. Of films (mp4, mkv and so on; they "
        "need PyAV) it is the sound track, and with a film without one a sample has no sound",
    )
    sample_rate_hz: int = Field(
        default=16000,
        ge=4000,
        le=192000,
        description="sounds are resampled to this rate; a pretrained encoder has its own",
    )
    max_seconds: float = Field(
        default=4.0,
        gt=0,
        le=600,
        description="sounds are cut or padded with silence to this length; a pretrained encoder has its own",
    )
    num_mels: int = Field(
        default=80,
        ge=8,
        le=256,
        description="mel bins of the spectrogram; a pretrained encoder has its own",
    )
    max_minutes: float = Field(
        default=30.0, gt=0, description="longer sounds are quarantined, by their decoded length"
    )
    encoder: AudioEncoderConfig = Field(
        default=AudioCnnConfig(), description="network of this modality in a model that is trained"
    )
    augment: AudioAugmentConfig = AudioAugmentConfig()
    filter: AudioFilterConfig = AudioFilterConfig()

    @model_validator(mode="after")
    def _window_resolves_the_bands(self) -> AudioConfig:
        num_bins = round(WINDOW_SECONDS * self.sample_rate_hz) // 2 + 1
        if self.num_mels > num_bins:
            raise ValueError(f"num_mels must be at most {num_bins} at {self.sample_rate_hz} Hz")
        return self

    @classmethod
    def is_in(cls, member: memoryview) -> bool:
        from pipeline.modalities.audio.survey import is_in

        return is_in(member)

    @classmethod
    def suited_to(cls, members: Sequence[memoryview]) -> dict[str, Any]:
        """A length that keeps nearly all sounds whole, and their own rate where it is below the default."""
        from pipeline.modalities.audio.survey import suited_to

        return suited_to(members, cls.model_fields["sample_rate_hz"].default)

    def codec(self, tokenizer: str | None, *, verify: Verify = "full") -> Codec:
        from pipeline.modalities.audio.track import may_be_film
        from pipeline.modalities.video.library import require_pyav

        if any(map(may_be_film, self.fields)):
            require_pyav(f"modalities.{self.kind}.fields")
        if self.encoder.inputs is not None:
            return self.encoder.inputs.codec(self, verify=verify)
        return self.spectrograms(verify=verify)

    def spectrograms(self, *, verify: Verify = "full") -> AudioCodec:
        """The codec of an encoder that takes spectrograms."""
        from pipeline.modalities.audio.codec import AudioCodec

        return AudioCodec(
            sample_rate_hz=self.sample_rate_hz,
            num_samples=round(self.max_seconds * self.sample_rate_hz),
            window=round(WINDOW_SECONDS * self.sample_rate_hz),
            hop=round(HOP_SECONDS * self.sample_rate_hz),
            num_mels=self.num_mels,
            max_decoded_seconds=self.max_minutes * 60,
            whole=verify == "full",
            limits=self.filter if self.filter.active else None,
        )

    def check_content(self, data: memoryview, field: str) -> None:
        if not data:
            raise SampleError("the sound is empty", reason="bad_audio", field=field)

    def probe(self, content: Content, field: str, found: str, rules: ProbeRules) -> Facts:
        from pipeline.modalities.audio.survey import survey

        return survey(content, field, found, self, rules)

    def remarks(self) -> Mapping[str, str]:
        return {"cut": f"sounds are cut to max_seconds ({self.max_seconds:g})"}

    def show_augmented(self, codec: Codec, original: np.ndarray, augmented: np.ndarray) -> Shown:
        from pipeline.modalities.audio.mel import LogMel
        from pipeline.modalities.audio.show import spectrogram_png
        from pipeline.modalities.audio.waveform import WaveformCodec

        if isinstance(codec, WaveformCodec):
            rate, length = codec.sample_rate_hz, codec.num_samples
            window, hop = (round(seconds * rate) for seconds in (WINDOW_SECONDS, HOP_SECONDS))
            log_mel = LogMel(rate, length, window, hop, min(self.num_mels, window // 2 + 1))
            original, augmented = (log_mel.decibels(sound) for sound in (original, augmented))
        low, high = float(original.min()), float(original.max())  # the same colours in all views
        return Shown("plot", spectrogram_png(augmented, low, high))

    def likeness(self) -> Likeness:
        from pipeline.modalities.audio.likeness import AudioLikeness

        return AudioLikeness()

    def cheap_features(self) -> CheapFeatures:
        from pipeline.modalities.audio.mel import track_statistics
        from pipeline.modalities.codecs import standard_scaler

        return CheapFeatures(
            "mel and MFCC statistics", self.spectrograms(), track_statistics, standard_scaler
        )

    def corruptions(self, codec: Codec) -> Mapping[str, Corruption]:
        from pipeline.modalities.audio.corrupt import of_spectrograms, of_waveforms

        return of_waveforms() if self._is_of_waveforms else of_spectrograms()

    def rendering(self, tokenizer: str | None) -> SoundRendering | None:
        from pipeline.modalities.audio.decoders import SoundRendering

        if self.encoder.inputs is not None:
            return None
        codec = self.spectrograms()
        return SoundRendering(
            codec.sample_rate_hz, codec.num_samples, codec.window, codec.hop, codec.num_mels
        )

    def measure(self) -> ColumnMeasure:
        from pipeline.metrics.columns import BinMeasure
        from pipeline.modalities.audio.waveform import WaveformMeasure

        return WaveformMeasure() if self._is_of_waveforms else BinMeasure(HOP_SECONDS)

    def build_encoder(self, width: int) -> nn.Module:
        return self.encoder.build(self, width)

    def augmentation(self) -> Any:
        from pipeline.modalities.audio.augment import AudioAugmentation, WaveformAugmentation

        if self._is_of_waveforms:
            return WaveformAugmentation(**self.augment.model_dump(exclude={"mask_bins_fraction"}))
        return AudioAugmentation(**self.augment.model_dump())

    @property
    def _is_of_waveforms(self) -> bool:
        """Whether values are waveforms, of which the encoder makes features of its own."""
        return isinstance(self.encoder, AudioPretrainedConfig)

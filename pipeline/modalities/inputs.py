"""What networks from elsewhere want to be given: pixels, texts or sounds, without this project's own preprocessing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

from pipeline.modalities.base import Codec, ModalityConfig, Verify

# What these are inputs of is configured with encoders that have them.
if TYPE_CHECKING:
    from pipeline.modalities.audio import AudioConfig
    from pipeline.modalities.image import ImageConfig
    from pipeline.modalities.text import TextConfig

Filter = Literal["bilinear", "bicubic", "lanczos"]
# How a short sound fills its time: with silence, with itself to the end, or with itself as often as it fits.
Padding = Literal["pad", "repeat", "repeatpad"]


@dataclass(frozen=True)
class ImageInput:
    """Pixels of one size.

    Attributes:
        resize: What the short side becomes, in pixels; both sides where ``squash``.
        size: Side of the square that is kept of the centre, in pixels.
        filter: Of resizing, antialiased.
        squash: Stretches the image to a square rather than keeping its shape.
        mean: Of each channel, in 0..1, taken away from the pixels.
        std: Of each channel, which the pixels are divided by then.
        floor: Cuts half a pixel off the crop's offset, as transformers does, rather than rounding it.
    """

    resize: int
    size: int
    filter: Filter
    squash: bool
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    floor: bool = False

    def codec(self, config: ModalityConfig, *, verify: Verify) -> Codec:
        """Bytes -> (size, size, 3) uint8, within the limits and filters of ``config``."""
        from pipeline.modalities.image.fitted import Fit, FittedImageCodec

        config = cast("ImageConfig", config)
        return FittedImageCodec(
            Fit(self.resize, self.size, self.filter, self.squash, self.floor),
            max_pixels=int(config.max_megapixels * 1e6),
            max_scans=config.max_scans,
            whole=verify == "full",
            limits=config.filter if config.filter.active else None,
        )


@dataclass(frozen=True)
class TextInput:
    """Texts, which the model has a tokenizer of its own for.

    Attributes:
        max_tokens: Tokens kept.
    """

    max_tokens: int

    def codec(self, config: ModalityConfig, *, verify: Verify) -> Codec:
        """Bytes -> the cleaned text, within the limits and filters of ``config``."""
        from pipeline.modalities.text.plain import PlainTextCodec

        del verify  # a text is always read whole
        config = cast("TextConfig", config)
        return PlainTextCodec(
            max_bytes=config.max_bytes,
            encoding=config.encoding,
            limits=config.filter if config.filter.active else None,
        )


@dataclass(frozen=True)
class AudioInput:
    """Sounds, which the model has features of its own for.

    Attributes:
        sample_rate_hz: Rate that they are resampled to.
        max_seconds: What is kept of their beginning.
    """

    sample_rate_hz: int
    max_seconds: float

    def codec(self, config: ModalityConfig, *, verify: Verify) -> Codec:
        """Bytes -> (T,) float32, within the limits and filters of ``config``."""
        return _waveforms(self, config, verify)


@dataclass(frozen=True)
class WholeSoundInput:
    """Whole sounds, as long as ``max_minutes`` of their modality lets them be.

    Attributes:
        sample_rate_hz: Rate that they are resampled to.
    """

    sample_rate_hz: int

    def codec(self, config: ModalityConfig, *, verify: Verify) -> Codec:
        """Bytes -> (T,) float32, within the limits and filters of ``config``."""
        seconds = cast("AudioConfig", config).max_minutes * 60
        return _waveforms(AudioInput(self.sample_rate_hz, seconds), config, verify)


@dataclass(frozen=True)
class SoundInput:
    """Sounds of one length, which the network makes features of its own of.

    Attributes:
        sample_rate_hz: Rate that they are resampled to.
        max_seconds: What is kept of their beginning.
        padding: What becomes of shorter ones.
    """

    sample_rate_hz: int
    max_seconds: float
    padding: Padding

    def codec(self, config: ModalityConfig, *, verify: Verify) -> Codec:
        """Bytes -> (T,) float32, collated to (B, T) of one length, within the limits and filters of ``config``."""
        return _waveforms(self, config, verify, self.padding)


@dataclass(frozen=True)
class TokenInput:
    """Token ids of the model's own tokenizer, which becomes that of the run.

    Attributes:
        max_tokens: Tokens that the model takes.
        prompt: What is put before each text.
        lower: Puts texts in lower case.
    """

    max_tokens: int
    prompt: str = ""
    lower: bool = False

    def codec(self, config: ModalityConfig, *, verify: Verify) -> Codec:
        """Bytes -> (L,) int32; built by the modality, which knows the run's tokenizer."""
        raise TypeError("a codec of token ids needs the tokenizer")


@dataclass(frozen=True)
class CharacterInput:
    """Characters, for which no tokenizer is needed.

    Attributes:
        max_characters: Characters kept.
        lower: Puts texts in lower case.
    """

    max_characters: int
    lower: bool

    def codec(self, config: ModalityConfig, *, verify: Verify) -> Codec:
        """Bytes -> (L,) int32 code points, within the limits and filters of ``config``."""
        from pipeline.modalities.text.characters import CharacterCodec

        del verify  # a text is always read whole
        config = cast("TextConfig", config)
        return CharacterCodec(
            self.max_characters,
            max_bytes=config.max_bytes,
            encoding=config.encoding,
            limits=config.filter if config.filter.active else None,
            lower=self.lower,
        )


Input = ImageInput | TextInput | AudioInput | WholeSoundInput
# What a network within a model is given: tokens and sounds of one length, where one that only embeds makes them itself.
TowerInput = ImageInput | TokenInput | CharacterInput | SoundInput


def _waveforms(
    sounds: AudioInput | SoundInput,
    config: ModalityConfig,
    verify: Verify,
    padding: Padding = "pad",
) -> Codec:
    from pipeline.modalities.audio.waveform import WaveformCodec

    config = cast("AudioConfig", config)
    return WaveformCodec(
        sample_rate_hz=sounds.sample_rate_hz,
        num_samples=round(sounds.sample_rate_hz * sounds.max_seconds),
        max_decoded_seconds=config.max_minutes * 60,
        whole=verify == "full",
        limits=config.filter if config.filter.active else None,
        padding=padding,
    )

"""What the header of a member says, for each modality: counted, and held against the configuration's limits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from pipeline.errors import SampleError
from pipeline.inspection.census import Census
from pipeline.modalities.audio import AudioConfig
from pipeline.modalities.audio.probe import probe_audio
from pipeline.modalities.audio.sndfile import too_long
from pipeline.modalities.base import ModalityConfig, Verify
from pipeline.modalities.content import Content
from pipeline.modalities.image import ImageConfig
from pipeline.modalities.image.jpeg import too_many_pixels
from pipeline.modalities.image.probe import probe_image
from pipeline.modalities.text import TextConfig
from pipeline.modalities.text.codec import read_text
from pipeline.modalities.text.codec import too_long as too_many_bytes


class Rules(NamedTuple):
    """Settings beside a modality's own.

    Attributes:
        text_bytes: Texts up to this size are read.
        verify: Whether sounds are decoded to their end.
    """

    text_bytes: int
    verify: Verify


# (census, field, content, format found, settings, rules) -> why decoding is bound to fail, or what it will note
Look = Callable[[Census, str, Content, str, ModalityConfig, Rules], SampleError | None]


def look_at_image(
    census: Census, name: str, content: Content, found: str, config: ModalityConfig, _: Rules
) -> SampleError | None:
    """Counts width and height."""
    assert isinstance(config, ImageConfig)
    header = probe_image(content, found)
    if header is None:
        what = f"no image of a known format: its content is {found}"
        return SampleError(what, reason="bad_image", field=name)
    census.measure(census.ranges, "image.width", header.width)
    census.measure(census.ranges, "image.height", header.height)
    if min(header) < config.size:
        census.notes["image.enlarged"] += 1
    if header.width * header.height > config.max_megapixels * 1e6:
        return too_many_pixels(*header, int(config.max_megapixels * 1e6), name)
    return None


def look_at_audio(
    census: Census, name: str, content: Content, found: str, config: ModalityConfig, rules: Rules
) -> SampleError | None:
    """Counts duration, sample rate and channels."""
    assert isinstance(config, AudioConfig)
    header = probe_audio(content, found)
    if isinstance(header, str):
        return SampleError(header, reason="bad_audio", field=name) if header else None
    census.measure(census.ranges, "audio.seconds", header.seconds)
    census.count_in(census.values, "audio.sample_rate_hz", str(header.sample_rate_hz))
    census.count_in(census.values, "audio.channels", str(header.channels))
    if header.seconds > config.max_seconds * (1 + 1e-9):
        census.notes["audio.cut"] += 1
    if header.problem and name == "wav":  # of other names, not every reader minds
        return SampleError(header.problem, reason="bad_audio", field=name)
    read_whole = found == "wav" or rules.verify == "full"
    if read_whole and header.exact and header.seconds > config.max_minutes * 60:
        return too_long(config.max_minutes * 60, name, header.seconds)
    if header.remark is not None:
        return SampleError(header.remark.detail, reason=header.remark.reason, field=name)
    return None


def look_at_text(
    census: Census, name: str, content: Content, _: str, config: ModalityConfig, rules: Rules
) -> SampleError | None:
    """Counts characters."""
    assert isinstance(config, TextConfig)
    if content.size > config.max_bytes:
        return too_many_bytes(content.size, config.max_bytes, name)
    if content.size > rules.text_bytes:
        return None
    try:
        text = read_text(content.whole(), name, config.encoding)
    except SampleError as error:
        return error
    census.measure(census.ranges, "text.characters", len(text))
    if not text.strip():
        census.notes["text.empty"] += 1
    return None


LOOKS: Mapping[type[ModalityConfig], Look] = {
    ImageConfig: look_at_image,
    AudioConfig: look_at_audio,
    TextConfig: look_at_text,
}

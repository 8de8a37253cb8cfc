"""What lint tells of a sound by its header."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.errors import SampleError
from pipeline.modalities.audio.probe import AudioHeader, probe_audio
from pipeline.modalities.audio.sndfile import too_long
from pipeline.modalities.audio.track import FILMS
from pipeline.modalities.content import Content
from pipeline.modalities.facets import Facts, ProbeRules

if TYPE_CHECKING:
    from pipeline.modalities.audio import AudioConfig


def survey(
    content: Content, field: str, found: str, config: AudioConfig, rules: ProbeRules
) -> Facts:
    """Duration, sample rate and channels, held against the limits; see :meth:`ModalityConfig.probe`."""
    if found in FILMS:
        return Facts(values={"format": found})  # decoding tells whether it has a sound track
    header = probe_audio(content, found)
    if isinstance(header, str):
        fault = SampleError(header, reason="bad_audio", field=field) if header else None
        return Facts(fault=fault)
    is_cut = not config.encoder.has_own_inputs and header.seconds > config.max_seconds * (1 + 1e-9)
    return Facts(
        ranges={"seconds": header.seconds},
        values={"sample_rate_hz": str(header.sample_rate_hz), "channels": str(header.channels)},
        notes=("cut",) if is_cut else (),
        fault=_fault(header, field, found, config, rules),
    )


def _fault(
    header: AudioHeader, field: str, found: str, config: AudioConfig, rules: ProbeRules
) -> SampleError | None:
    if header.problem and field == "wav":  # of other names, not every reader minds
        return SampleError(header.problem, reason="bad_audio", field=field)
    is_read_whole = found == "wav" or rules.verify == "full"
    if is_read_whole and header.exact and header.seconds > config.max_minutes * 60:
        return too_long(config.max_minutes * 60, field, header.seconds)
    if header.remark is not None:
        return SampleError(header.remark.detail, reason=header.remark.reason, field=field)
    return None

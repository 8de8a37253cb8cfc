"""What the header of a sound says to lint and to a starter configuration."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import TYPE_CHECKING, Any

from pipeline.errors import SampleError
from pipeline.modalities.audio.probe import AudioHeader, probe_audio
from pipeline.modalities.audio.sndfile import too_long
from pipeline.modalities.audio.track import has_sound, is_film
from pipeline.modalities.content import FILMS, SNIFFED_BYTES, Content, sniff
from pipeline.modalities.facets import Facts, ProbeRules
from pipeline.modalities.video.containers import read_header

if TYPE_CHECKING:
    from pipeline.modalities.audio import AudioConfig

_LONGEST_SUGGESTED_SECONDS, _LOWEST_SUGGESTED_HZ = 30.0, 8000


def survey(
    content: Content, field: str, found: str, config: AudioConfig, rules: ProbeRules
) -> Facts:
    """Duration, sample rate and channels, held against the limits; see :meth:`ModalityConfig.probe`."""
    if found in FILMS:
        return Facts(values={"format": found}, is_absent=has_sound(content, found) is False)
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


def is_in(member: memoryview) -> bool:
    """Whether a file holds sound; of films, as far as their header says so."""
    return not is_film(member) or bool(has_sound(*_content(member)))


def suited_to(members: Sequence[memoryview], usual_hz: int) -> dict[str, Any]:
    """A length that keeps nearly all sounds whole, and their own rate where it is below the usual one."""
    contents = [_content(data) for data in members]
    probes = [probe_audio(content, found) for content, found in contents if found not in FILMS]
    headers = [header for header in probes if isinstance(header, AudioHeader)]
    films = [read_header(content, found) for content, found in contents if found in FILMS]
    lengths = [header.seconds for header in headers]
    lengths += [film.seconds for film in films if film and film.has_sound and film.seconds]
    if not lengths:
        return {}
    seconds = sorted(lengths)[int(0.95 * (len(lengths) - 1))]
    settings: dict[str, Any] = {
        "max_seconds": min(_LONGEST_SUGGESTED_SECONDS, ceil(seconds * 10) / 10)
    }
    rate = max((header.sample_rate_hz for header in headers), default=usual_hz)
    # Headers of films do not tell the rate.
    if not films and _LOWEST_SUGGESTED_HZ <= rate < usual_hz:
        settings["sample_rate_hz"] = rate
    return settings


def _content(member: memoryview) -> tuple[Content, str]:
    """A whole file, and its format."""
    return Content(len(member), member), sniff(bytes(member[:SNIFFED_BYTES]))

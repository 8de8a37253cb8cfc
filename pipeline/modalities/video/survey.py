"""What the header of a clip says to lint and to a starter configuration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipeline.modalities.content import SNIFFED_BYTES, Content, sniff
from pipeline.modalities.facets import Facts
from pipeline.modalities.video.codec import fault_of
from pipeline.modalities.video.containers import Header, read_header

if TYPE_CHECKING:
    from pipeline.modalities.video import VideoConfig

_USUAL_SIZES = (32, 64)  # below the default


def survey(content: Content, field: str, found: str, config: VideoConfig) -> Facts:
    """Size, duration and tracks, held against the limits; see :meth:`ModalityConfig.probe`."""
    header = read_header(content, found)
    if header is None:  # what only PyAV reads
        return Facts()
    ranges = {
        "width": float(header.width),
        "height": float(header.height),
        "seconds": header.seconds,
        "frames": float(header.frames),
    }
    return Facts(
        ranges={name: number for name, number in ranges.items() if number},
        values={"codec": header.codec, "sound": "yes" if header.has_sound else "no"}
        if header.has_video
        else {},
        notes=_notes(header, config),
        fault=fault_of(header, config.bounds(), field),
    )


def _notes(header: Header, config: VideoConfig) -> tuple[str, ...]:
    notes = []
    is_small = header.has_video and 0 < min(header.width, header.height) < config.size
    if is_small and not config.encoder.has_own_inputs:
        notes.append("enlarged")
    if config.rate_hz is not None and header.seconds > config.frames / config.rate_hz:
        notes.append("cut")
    if 0 < header.frames < config.frames:
        notes.append("short")
    return tuple(notes)


def is_in(member: memoryview) -> bool:
    """Whether a file holds frames, rather than a sound alone; True where its header does not tell."""
    header = _header(member)
    return header is None or header.has_video or bool(header.problem)


def _header(member: memoryview) -> Header | None:
    return read_header(Content(len(member), member), sniff(bytes(member[:SNIFFED_BYTES])))


def suited_to(members: Sequence[memoryview]) -> dict[str, Any]:
    """A smaller ``size`` where most clips are smaller than the default."""
    headers = map(_header, members)
    sides = sorted(min(header.width, header.height) for header in headers if header is not None)
    sides = [side for side in sides if side]
    if not sides:
        return {}
    size = next((size for size in _USUAL_SIZES if size >= sides[len(sides) // 2]), None)
    return {} if size is None else {"size": size}

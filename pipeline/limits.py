"""How much a shard, a member or a decoder may take before the job goes on without it."""

from __future__ import annotations

import math

from pydantic import BaseModel, ConfigDict, Field

from pipeline.errors import SampleError

MEMBER_BYTES = "limits.member_bytes"
UNPACKED_BYTES = "limits.unpacked_bytes"
EXPANSION = "limits.expansion"
JSON_DEPTH = "limits.json_depth"
DECODE_SECONDS = "limits.decode_seconds"
DECODE_MEMORY_BYTES = "limits.decode_memory_bytes"
ON_BAD_FIELD = "input.on_bad_field"


class Limits(BaseModel):
    """Bounds that hold whatever a file declares. Beyond them a sample is quarantined, and the job goes on.

    Those of one modality (``max_megapixels``, ``max_minutes``, ``max_bytes``) stand in its own section.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    member_bytes: int = Field(default=256 << 20, ge=1, description="of one member of a shard")
    unpacked_bytes: int = Field(
        default=16 << 30, ge=1, description="of a compressed shard, unpacked"
    )
    expansion: int = Field(
        default=200, ge=1, description="unpacked bytes of a compressed shard to packed ones"
    )
    # A small archive of small files is mostly padding.
    expansion_from_bytes: int = Field(
        default=4 << 20, ge=0, description="unpacked bytes from which the expansion is looked at"
    )
    json_depth: int = Field(default=64, ge=1, description="nesting of a JSON field that is read")
    isolate: bool = Field(
        default=True,
        description="decodes in a process of its own, so that a decoder that crashes, hangs or eats memory "
        "costs one sample; Linux only",
    )
    decode_seconds: float = Field(
        default=10.0, gt=0, description="of decoding one member, where decoders are isolated"
    )
    decode_memory_bytes: int = Field(
        default=2 << 30, ge=64 << 20, description="that decoding may add to a worker's memory"
    )


Number = int | float | str


def beyond(
    what: str,
    *,
    setting: str,
    limit: Number,
    needed: Number = "higher",
    reason: str = "too_large",
    field: str = "",
) -> SampleError:
    """The fault of a sample that is over a limit, or that a filter leaves out; it names the setting.

    Args:
        what: What the sample is, in one clause: ``the image declares 9000 x 9000 pixels``.
        setting: Dotted path of the setting that says so.
        limit: What it is.
        needed: What it would have to be, as far as that is known.
        reason: A word of the quarantine vocabulary.
        field: The field (file extension) that is at fault, if one is.
    """
    message = moved_by(what, setting, limit, needed)
    return SampleError(message, reason=reason, field=field, setting=setting)


def moved_by(what: str, setting: str, limit: Number, needed: Number = "higher") -> str:
    """What is over a limit, in the words that all limits share."""
    return f"{what}: {setting} is {_shown(limit)}, and would have to be {_shown(needed)}"


def rounded_up(value: float, digits: int = 3) -> float:
    """A number with a few digits, no smaller than it is: a limit that was set to it lets it through."""
    return math.ceil(value * 10.0**digits) / 10.0**digits


def rounded_down(value: float, digits: int = 3) -> float:
    """A number with a few digits, no larger than it is."""
    return math.floor(value * 10.0**digits) / 10.0**digits


def _shown(value: Number) -> str:
    return f"{value:.10g}" if isinstance(value, float) else str(value)

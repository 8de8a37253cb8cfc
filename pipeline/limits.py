"""How much a shard, a member or a decoder may take before the job goes on without it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


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

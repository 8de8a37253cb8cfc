"""Of what size the files of a snapshot are, and what is kept of earlier ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from pipeline.modalities.section import Section

if TYPE_CHECKING:
    from pipeline.sinks.files.base import RowFiles


class SnapshotSettings(Section):
    """Of files that readers see, and of those that they may still be at.

    Attributes:
        MIXES_SHARDS: Whether a file may hold rows of several shards.
    """

    MIXES_SHARDS: ClassVar[bool] = True

    kind: str
    file_mb: int = Field(default=256, ge=1, le=4096, description="size of the files, in MB")
    min_file_mb: int = Field(
        default=16, ge=1, le=4096, description="parts that are larger are not merged with others"
    )
    keep_snapshots: int = Field(
        default=1, ge=0, description="earlier snapshots that stay in _snapshots"
    )
    grace_seconds: float = Field(
        default=3600,
        ge=0,
        description="that files of an object store stay after no manifest lists them any more",
    )

    @property
    def files(self) -> RowFiles:
        """How rows lie in files."""
        raise TypeError(f"{type(self).__name__} is abstract")

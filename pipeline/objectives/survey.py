"""What a pass over the targets of a split has found, as an objective sees it."""

from __future__ import annotations

from collections import Counter
from typing import Any, Protocol

from pipeline.modalities.decoding.targets import Target
from pipeline.sample import Sample


class TargetSurvey(Protocol):
    """What a pass over the targets of a split has found; picklable, so that workers can share the pass."""

    @property
    def count(self) -> int:
        """Samples whose target could be read."""

    def add(self, sample: Sample, json_depth: int) -> None:
        """Reads the target of a sample.

        Raises:
            SampleError: It cannot be read.
        """

    def add_text(self, text: str) -> None:
        """Takes in a target that preprocess has read.

        Raises:
            SampleError: It cannot be used.
        """

    def merge(self, other: Any) -> None:
        """Takes in what another pass has found."""

    def refused(self, target: Target) -> Counter[str]:
        """Reason -> samples whose target was read, and is refused now that more is known."""

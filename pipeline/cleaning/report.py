"""What a search for copies found: the record that a job leaves in its run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import JsonValue, TypeAdapter


@dataclass(frozen=True)
class SplitCopies:
    """Copies in a split.

    Attributes:
        samples: Samples compared.
        left_out: Those that are left out.
        found: Reason that was looked for -> samples that have it, those that are only counted included.
    """

    samples: int
    left_out: int
    found: Mapping[str, int]


@dataclass(frozen=True)
class CopyExample:
    """A copy, and what it is a copy of."""

    reason: str
    meaning: str
    split: str
    shard: str
    key: str
    of_split: str
    of_shard: str
    of_key: str


@dataclass(frozen=True)
class CleaningReport:
    """What a job found that looked for copies.

    Attributes:
        job: Its name.
        settings: Of the cleaning, ready for JSON.
        splits: Split -> copies in it.
        parts_not_compared: Parts of preprocessed folders, which have no files left that could be compared.
        examples: The first copies of each kind.
    """

    job: str
    settings: Mapping[str, JsonValue]
    splits: Mapping[str, SplitCopies]
    parts_not_compared: int = 0
    examples: tuple[CopyExample, ...] = ()

    def to_json(self) -> dict[str, JsonValue]:
        """One object."""
        values: dict[str, JsonValue] = TypeAdapter(CleaningReport).dump_python(self, mode="json")
        return values

    @classmethod
    def from_json(cls, values: object) -> CleaningReport:
        """The other way round."""
        return TypeAdapter(cls).validate_python(values)

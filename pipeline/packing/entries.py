"""A sample of a source before its files are read, and one that cannot be packed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import SampleError


@dataclass(frozen=True, slots=True)
class Entry:
    """A sample that can be packed, its files not read yet.

    Attributes:
        key: Name of the sample.
        group: What is hashed to choose the split.
        origin: Where it comes from, for messages: ``faces.csv line 17``.
        ordinal: Position in the source, counted from 0.
        fields: Extension -> content, or the file that holds it.
        split: Its split, where the source names it; otherwise empty.
    """

    key: str
    group: str
    origin: str
    ordinal: int
    fields: Mapping[str, bytes | Path]
    split: str = ""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A sample of the source that cannot be packed. Its texts are such as Parquet can hold, whatever the source has.

    Attributes:
        key: Name of the sample, None where it could not be told.
        field: The field at fault, empty if it is not one field.
        reason: A word of :data:`pipeline.sample.REASONS`.
        detail: What is wrong, in words.
        origin: Where it comes from.
        ordinal: Position in the source, counted from 0.
        setting: Dotted path of the setting that would let it through; empty where there is none.
    """

    key: str | None
    field: str
    reason: str
    detail: str
    origin: str
    ordinal: int
    setting: str = ""

    @classmethod
    def of(cls, error: SampleError, key: str | None, origin: str, ordinal: int) -> Rejected:
        """A sample that is refused for an error."""
        return cls(key, error.field, error.reason, error.what, origin, ordinal, error.setting)

    def __post_init__(self) -> None:
        for name in ("key", "field", "detail", "origin"):
            text = getattr(self, name)
            if text is not None:
                plain = text.encode("utf-8", "backslashreplace").decode()
                object.__setattr__(self, name, plain)

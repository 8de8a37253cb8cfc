"""What the words of the quarantine mean: those of the house, and those that modalities add."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from pipeline.modalities import kinds
from pipeline.sample import FILTERS, NOTES, REASONS


@cache
def meanings() -> Mapping[str, str]:
    """Word -> what it means, of everything that a row of the quarantine may have as its reason."""
    words = {**REASONS, **FILTERS, **NOTES}
    for modality in kinds().values():
        words |= modality.REASONS
    return words

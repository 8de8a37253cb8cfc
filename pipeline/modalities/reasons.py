"""What the words of the quarantine mean: those of the house, and those that modalities add."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.modalities import ModalitiesConfig, kinds
from pipeline.sample import FILTERS, NOTES, REASONS


def meanings(modalities: ModalitiesConfig | None = None) -> Mapping[str, str]:
    """Word -> what it means, of everything that a row of the quarantine may have as its reason.

    Args:
        modalities: Those of the configuration, for the words of a person's own.
    """
    words = {**REASONS, **FILTERS, **NOTES}
    for modality in (*kinds().values(), *(modalities.by_name().values() if modalities else ())):
        words |= modality.REASONS
    return words

"""What the kinds of modalities say together: which formats are whose, and what the words of the quarantine mean."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from pipeline.modalities import ModalitiesConfig, kinds
from pipeline.modalities.content import EXTENSIONS, OTHER_KINDS
from pipeline.sample import FILTERS, NOTES, REASONS


@cache
def kinds_of_formats() -> Mapping[str, str]:
    """Format -> the kind of the modality that could decode it, or another word for what none can."""
    formats = dict(OTHER_KINDS)
    for kind, section in kinds().items():
        formats |= dict.fromkeys(section.FORMATS, kind)
    return formats


def expected_kind(extension: str) -> str:
    """The kind of file that an extension promises, empty where none; of ``seg.png`` the last part counts."""
    formats = EXTENSIONS.get(extension.rpartition(".")[2])
    return kinds_of_formats().get(formats[0], "") if formats else ""


def is_media(kind: str) -> bool:
    """Whether files of a kind are for a person to look at or to listen to."""
    section = kinds().get(kind)
    return section is not None and section.MEDIUM in ("picture", "sound", "film")


def meanings(modalities: ModalitiesConfig | None = None) -> Mapping[str, str]:
    """Word -> what it means, of everything that a row of the quarantine may have as its reason.

    Args:
        modalities: Those of the configuration, for the words of a person's own.
    """
    words = {**REASONS, **FILTERS, **NOTES}
    for modality in (*kinds().values(), *(modalities.by_name().values() if modalities else ())):
        words |= modality.REASONS
    return words

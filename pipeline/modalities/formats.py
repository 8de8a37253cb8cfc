"""Which kind of modality a file is for, by its format or its extension: the modalities say which formats are theirs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from pipeline.modalities import kinds
from pipeline.modalities.content import EXTENSIONS, OTHER_KINDS


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

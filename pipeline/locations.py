"""Settings that name files, folders or object stores: marked by their types, expanded where a configuration is read."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, get_args

from pydantic import BaseModel, BeforeValidator, RootModel, ValidationInfo

# Passed as pydantic's context by who reads a configuration of a person's, and by nobody who passes one on.
EXPAND = "expand"
SPLITS = ("train", "val", "test")
# Of the names of pretrained encoders, the one kind that is a folder.
FOLDER_KIND = "hf"
_VARIABLE = re.compile(
    r"\$(?:(?P<escaped>\$)|(?P<plain>[A-Za-z_]\w*)|\{(?P<braced>[A-Za-z_]\w*)\})"
)


@dataclass(frozen=True)
class LocationMark:
    """Beside a type: its texts are locations.

    Attributes:
        location_of: Text -> the location in it; None where it names none.
    """

    location_of: Callable[[str], str | None] = lambda text: text


def expand(text: str) -> str:
    """Expands ``~`` and ``~USER`` at the beginning, and ``$NAME`` and ``${NAME}``; ``$$`` is a dollar.

    Raises:
        ValueError: A variable is not set.
    """

    def value(match: re.Match[str]) -> str:
        if match["escaped"]:
            return "$"
        name = match["plain"] or match["braced"]
        if name not in os.environ:
            raise ValueError(f"the variable {name} is not set; write $$ for a dollar")
        return os.environ[name]

    return _VARIABLE.sub(value, os.path.expanduser(text))


def _expanded(text: object, info: ValidationInfo) -> object:
    return expand(text) if isinstance(text, str) and info.context == EXPAND else text


def _expanded_model(text: object, info: ValidationInfo) -> object:
    if not isinstance(text, str):
        return text
    kind, separator, place = text.partition(":")
    if not separator or place.startswith("//"):
        return _expanded(text, info)
    return f"{kind}:{_expanded(place, info)}" if kind == FOLDER_KIND else text


def _model_location(text: str) -> str | None:
    kind, separator, place = text.partition(":")
    if not separator or place.startswith("//"):
        return text
    return place if kind == FOLDER_KIND else None


Location = Annotated[str, BeforeValidator(_expanded), LocationMark()]
# One pattern of shards, or several; where a job is told its input, the name of a split too.
Patterns = Location | list[Location]
# A bundle's folder, or an encoder: torchvision:NAME, timm:NAME, open_clip:NAME, hf:FOLDER.
ModelName = Annotated[str, BeforeValidator(_expanded_model), LocationMark(_model_location)]


def locations_in(section: BaseModel, path: str = "") -> Iterator[tuple[str, str]]:
    """Every location that a section of the configuration names, as (setting, location), without names of splits."""
    if isinstance(section, RootModel):  # sections by names that a person chose
        for name, value in section.root.items():
            if isinstance(value, BaseModel):
                yield from locations_in(value, f"{path}{name}.")
        return
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        setting = f"{path}{name}"
        if isinstance(value, BaseModel):
            yield from locations_in(value, f"{setting}.")
            continue
        mark = mark_of([field.annotation, *field.metadata])
        if mark is None:
            continue
        for text in [value] if isinstance(value, str) else value or []:
            location = mark.location_of(text)
            if location is not None and text not in SPLITS:
                yield setting, location


def mark_of(annotation: object) -> LocationMark | None:
    """The mark inside a type, through unions and lists; None where it has none."""
    if isinstance(annotation, LocationMark):
        return annotation
    inside = annotation if isinstance(annotation, list) else get_args(annotation)
    inside = [*inside, *getattr(annotation, "__metadata__", ())]
    return next((mark for member in inside if (mark := mark_of(member)) is not None), None)

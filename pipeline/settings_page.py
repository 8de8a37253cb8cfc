"""The page of all settings, docs/configuration.md: ``make docs`` writes it from the configuration's types."""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, is_typeddict

import yaml
from pydantic import BaseModel, RootModel
from pydantic.fields import FieldInfo

from pipeline.config import Config
from pipeline.locations import LocationMark
from pipeline.modalities.section import FEW_SAMPLES, Section
from pipeline.plugins import Plugin
from pipeline.settings import sections_of

PAGE = Path(__file__).resolve().parents[1] / "docs" / "configuration.md"
INTRODUCTION = """\
# Configuration

Every setting, written by `make docs` from the types that check a configuration; `python -m jobs.JOB --help` prints
those of one job. Each can be set on the command line as `dotted.path=value`, where the value is YAML. A section that
stands here with its default may be left out. A path may be a URL. [Data](data.md) explains a configuration as a whole.

The settings of the top, of which only `run` and `modalities` have to be there:
"""
TABLE = "| setting | type | default | what it is |\n| --- | --- | --- | --- |"
PLAIN_NAMES: Mapping[object, str] = {
    Any: "anything",
    str: "text",
    int: "integer",
    float: "number",
    bool: "true or false",
}
PLACE = "path"
BOUNDS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
NAMES = "IMAGE and the like stand for the names below."
Rows = Mapping[str, str]


def page() -> str:
    """The whole page as Markdown."""
    return "\n".join([INTRODUCTION, *_section(Config, "")]) + "\n"


def _section(section: type[BaseModel], path: str) -> Iterator[str]:
    """A section's settings as a table, then the sections below it."""
    if rows := _rows(section):
        yield from (TABLE, *rows.values(), "")
    yield from _for_few(section)
    yield from _below([section], path)


def _below(members: Sequence[type[BaseModel]], path: str) -> Iterator[str]:
    """The sections that lie in members of a union: each name once, unless it means something else in each."""
    fields: dict[str, dict[tuple[type[BaseModel], ...], FieldInfo]] = {}
    kinds: dict[tuple[type[BaseModel], ...], list[str]] = {}
    for member in members:
        for name, field in member.model_fields.items():
            if sections := tuple(sections_of(field.annotation)):
                fields.setdefault(name, {})[sections] = field
                kinds.setdefault(sections, []).extend(kinds_of([member]) if members[1:] else [])
    for name, meanings in fields.items():
        for sections, field in meanings.items():
            of = f", kind: {', '.join(kinds[sections])}" if len(meanings) > 1 else ""
            yield from _titled(f"{path}.{name}".lstrip("."), field, sections, of)


def _titled(
    path: str, field: FieldInfo, sections: Sequence[type[BaseModel]], of: str = ""
) -> Iterator[str]:
    """A section below its heading: one class, a union of classes by kind, or sections that a person names."""
    first = sections[0]
    if len(sections) == 1 and not first.model_fields:
        return
    yield f"{'#' * min(4, 2 + path.count('.'))} {path}{of}\n"
    is_off = len(sections) == 1 and field.default is None and not field.description
    about = field.description or (_about(first) if len(sections) == 1 else "")
    if about:
        yield f"{about[:1].upper()}{about[1:].rstrip('.')}.{' Off unless it is named.' if is_off else ''}\n"
    if issubclass(first, RootModel):
        yield f"Any names, each with a `kind`; a section whose name is a kind needs none. {NAMES}\n"
        members = sections_of(first.model_fields["root"].annotation)
        for kind, member in zip(kinds_of(members), members, strict=True):
            yield f"### {path}.{kind.upper()}, kind: {kind}\n\n{_about(member)}\n"
            yield from _section(member, f"{path}.{kind.upper()}")
    elif len(sections) == 1:
        yield from _section(first, path)
    else:
        yield from _union(path, field, sections)


def _union(path: str, field: FieldInfo, members: Sequence[type[BaseModel]]) -> Iterator[str]:
    """What the kinds of a union share, then what each has beside it."""
    kinds = dict(zip(kinds_of(members), members, strict=True))
    default = field.get_default(call_default_factory=True)
    by_kind = {kind: _rows(member) for kind, member in kinds.items()}
    # A class of a person's own has settings that are not known here.
    rows_of_ours = [by_kind[kind] for kind in kinds if not issubclass(kinds[kind], Plugin)]
    shared = set.intersection(*({*rows.values()} for rows in rows_of_ours))
    chosen = "none" if default is None else f"`{kinds_of([type(default)])[0]}`"
    choice = f"| `kind` | {', '.join(f'`{kind}`' for kind in kinds)} | {chosen} | which of these |"
    first = next(iter(by_kind.values()))
    yield "\n".join([TABLE, choice, *(row for row in first.values() if row in shared), ""])
    for kind, member in kinds.items():
        yield f"`kind: {kind}`: {_about(member)}\n"
        if rows := [row for row in by_kind[kind].values() if row not in shared]:
            yield "\n".join([TABLE, *rows, ""])
        yield from _for_few(member)
    yield from _below(members, path)


def _for_few(section: type[BaseModel]) -> Iterator[str]:
    """What a section's settings are on few samples, where that differs."""
    settings = section.FOR_FEW if issubclass(section, Section) else {}
    if settings:
        values = {
            name: {"kind": getattr(value, "kind", None), **value.model_dump(exclude_defaults=True)}
            if isinstance(value, Section)
            else value
            for name, value in settings.items()
        }
        told = ", ".join(f"{_default({name: value})}" for name, value in values.items())
        yield f"With fewer than {FEW_SAMPLES:,} training samples, where nothing else is said: {told}.\n"


def kinds_of(members: Sequence[type[BaseModel]]) -> list[str]:
    """The kinds by which a configuration chooses among the members of a union."""
    return [str(member.model_fields["kind"].default) for member in members]


def _rows(section: type[BaseModel]) -> Rows:
    """Name -> row of the table, of the settings that hold no section; a union's kind has a row of its own."""
    if issubclass(section, RootModel):
        return {}
    return {
        name: _row(name, field)
        for name, field in section.model_fields.items()
        if not sections_of(field.annotation) and name != "kind"
    }


def _row(name: str, field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    default = "must be set" if field.is_required() else _default(value)
    bounds = [
        f"{words} {getattr(mark, bound)}"
        for mark in field.metadata
        for bound, words in BOUNDS.items()
        if getattr(mark, bound, None) is not None
    ]
    kind = PLACE if _names_a_place(field.metadata) else _type(field.annotation)
    cells = [f"`{name}`", ", ".join([kind, *bounds]), default]
    return "| " + " | ".join(_cell(text) for text in [*cells, field.description or ""]) + " |"


def _names_a_place(marks: Sequence[object]) -> bool:
    return LocationMark() in marks


def _type(annotation: object) -> str:
    """A type in words."""
    if isinstance(annotation, type) and annotation in PLAIN_NAMES:
        return PLAIN_NAMES[annotation]
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return PLACE if _names_a_place(arguments[1:]) else _type(arguments[0])
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin in (Union, types.UnionType):
        names = [_type(argument) for argument in arguments if argument is not types.NoneType]
        return " or ".join(dict.fromkeys(names))
    if origin in (tuple, list):
        item = _type(arguments[0])
        return f"list of {item}{'' if item.startswith('`') else 's'}"
    if origin is dict or origin is Mapping:
        return f"{_type(arguments[0])} to {_type(arguments[1])}"
    if is_dataclass(annotation) or is_typeddict(annotation):
        return "mapping"
    raise TypeError(f"no words for {annotation!r}: add them here")


def _default(value: object) -> str:
    if value is None:
        return "none"
    plain = list(value) if isinstance(value, tuple) else value
    text = yaml.safe_dump(plain, default_flow_style=True, sort_keys=False, width=1000)
    return f"`{text.removesuffix(chr(10)).removesuffix('...').strip()}`"


def _about(section: type[BaseModel]) -> str:
    """The first sentence of a section's docstring."""
    return (
        (inspect.getdoc(section) or "").partition("\n\n")[0].replace("\n", " ").replace("``", "`")
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def main() -> None:
    """Writes the page into the project that this module lies in."""
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), "utf-8")


if __name__ == "__main__":
    main()

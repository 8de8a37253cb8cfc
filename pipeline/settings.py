"""Settings by their dotted paths: overriding them, listing them, and saying in one line what is wrong with one."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import BaseModel, RootModel, ValidationError

from pipeline.errors import ConfigError, PipelineError
from pipeline.plugins import CLASS, SETTINGS, Plugin
from pipeline.yaml_tree import Blank, parse_yaml, without_blanks


def apply_override(tree: dict[str, object], override: str) -> None:
    """Sets one ``dotted.path=value`` in a tree of settings, the value read as YAML.

    Raises:
        ConfigError: It is not written so, or the path leads through a single value.
    """
    path, separator, text = override.partition("=")
    if not separator or not re.fullmatch(r"[A-Za-z_][\w]*(\.[\w]+)*", path):
        raise ConfigError(
            f"cannot read the override {override!r}",
            where="command line",
            fix="overrides are written dotted.path=value",
        )
    try:
        value = parse_yaml(text)
    except yaml.YAMLError:
        value = text
    *folders, name = path.split(".")
    node = tree
    for folder in folders:
        child = node.get(folder)
        if child is None or isinstance(child, Blank):
            child = node[folder] = {}
        if not isinstance(child, dict):
            raise ConfigError(
                f"{path} cannot be set: {folder} is a single value", where="command line"
            )
        node = child
    node[name] = value


def with_defaults(tree: dict[str, object], model: type[BaseModel]) -> dict[str, Any]:
    """Puts defaults in the place of what was left blank.

    A blank section that is off unless named, such as ``modalities.image``, is named by that, with its defaults.

    Args:
        tree: Settings, as :func:`parse_yaml` makes them.
        model: The class of the section that they are of.
    """
    settled: dict[str, Any] = {}
    is_mapping = _named_sections(model) is not None
    for name, value in tree.items():
        field = model.model_fields.get(name)
        sections = _children(model, name, tree)
        if isinstance(value, Blank):
            if is_mapping:
                settled[name] = {}
            elif field is None:
                settled[name] = None  # an unknown setting, and said to be one
            elif sections and not isinstance(field.default, BaseModel):
                settled[name] = {}
        elif isinstance(value, dict) and sections:
            kind = value.get("kind", name if is_mapping else None)
            settled[name] = with_defaults(value, _member(sections, kind, value))
        else:
            settled[name] = without_blanks(value)
    return settled


def _member(
    sections: Sequence[type[BaseModel]], kind: object, tree: Mapping[str, object]
) -> type[BaseModel]:
    """Which section of a union some settings are of: the one of their kind, or else the first that has them all."""
    by_kind = {_kind_of(section): section for section in sections}
    if isinstance(kind, str) and kind in by_kind:
        return by_kind[kind]
    fitting = (section for section in sections if set(tree) <= set(section.model_fields))
    return next(fitting, sections[0])


def explain(
    model: type[BaseModel],
    error: ValidationError,
    where: str,
    overridden: Sequence[str],
    tree: object = None,
) -> PipelineError:
    """All that is wrong, a line each; for an unknown setting, with the nearest known one.

    Args:
        model: The whole tree's class.
        error: What pydantic said.
        where: The file.
        overridden: Settings that came from the command line.
        tree: What was to be validated, which says which classes of a person's own there are.
    """
    mistakes = []
    for mistake in sorted(error.errors(), key=lambda item: item["type"] != "extra_forbidden"):
        place = _place(model, [str(step) for step in mistake["loc"]], tree)
        source = "command line" if place.path in overridden else where
        mistakes.append(_mistake(mistake, place, source))
    return join_errors(mistakes)


def join_errors(errors: Sequence[PipelineError]) -> PipelineError:
    """One error that tells of several, a line each; a single one as it is."""
    if len(errors) == 1:
        return errors[0]
    lines = "".join(f"\n  {error}" for error in errors)
    return ConfigError(f"{len(errors)} things are wrong:{lines}")


@dataclass(frozen=True)
class _Place:
    """Where a mistake is.

    Attributes:
        path: Of the setting.
        kinds: Of the sections that could stand there.
        known: Paths of all settings, those of the sections that the path leads through among them.
        elsewhere: Kinds of the section that have such a setting, where this one has not.
    """

    path: str
    kinds: Sequence[str]
    known: Sequence[str]
    elsewhere: Sequence[str] = ()


def _place(model: type[BaseModel], location: Sequence[str], tree: object) -> _Place:
    """The setting that pydantic's location is of: without the tags of unions and the names of plain types."""
    steps: list[str] = []
    sections: list[type[BaseModel]] = [model]
    known = [path for path, _, _ in settings(model)]
    by_kind: dict[str | None, type[BaseModel]] = {}
    depth = 0  # of the last union
    for step in location:
        if len(sections) > 1 and step in (
            kinds := {_kind_of(section): section for section in sections}
        ):
            by_kind, sections, depth = kinds, [kinds[step]], len(steps)
            prefix = f"{'.'.join(steps)}."
            known = [path for path in known if not path.startswith(prefix)]
            known += [path for path, _, _ in _settings(by_kind[step], prefix)]
        elif sections or not re.fullmatch(r"(str|list\[str\]|\d+)", step):
            steps.append(step)
            is_plugin = any(issubclass(section, Plugin) for section in sections)
            sections = [child for section in sections for child in _children(section, step, tree)]
            if is_plugin and sections:  # its settings are not among those of the whole tree
                known += [path for path, _, _ in _settings(sections[0], f"{'.'.join(steps)}.")]
            tree = tree.get(step) if isinstance(tree, Mapping) else None
    beside = by_kind if len(steps) == depth + 1 else {}
    elsewhere = [str(kind) for kind, section in beside.items() if steps[-1] in section.model_fields]
    kinds_here = [kind for section in sections if (kind := _kind_of(section))]
    return _Place(".".join(steps), kinds_here, known, elsewhere)


def _mistake(mistake: Mapping[str, Any], place: _Place, where: str) -> ConfigError:
    path, kinds = place.path, ", ".join(place.kinds)
    if mistake["type"] == "extra_forbidden":
        fix = _nearest(path, place.known)
        if place.elsewhere:
            section = path.rpartition(".")[0]
            fix = f"only {section}.kind={' or '.join(place.elsewhere)} has it; here, {fix}"
        return ConfigError(f"unknown setting {path}", where=where, fix=fix)
    if mistake["type"] == "union_tag_not_found":
        fix = f"set {path}.kind to one of {kinds}"
        if near := _near_sibling(path, place.known):
            fix = f"did you mean {near}? Else {fix}"
        return ConfigError(f"{path}.kind is missing", where=where, fix=fix)
    if mistake["type"] == "missing":
        return ConfigError(f"{path} is missing", where=where, fix=f"set {path}")
    message = mistake["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    shown = mistake.get("input")
    value = "" if isinstance(shown, dict | BaseModel) or not path else f" (it is {shown!r})"
    return ConfigError(f"{path}: {message}{value}" if path else message, where=where)


def _siblings(path: str, known: Sequence[str]) -> list[str]:
    """The names beside the last one of a path."""
    section, _, _ = path.rpartition(".")
    depth = path.count(".")
    beside = (setting for setting in known if not section or setting.startswith(f"{section}."))
    return list(dict.fromkeys(setting.split(".")[depth] for setting in beside))


def _near_sibling(path: str, known: Sequence[str]) -> str:
    """The setting of the same section that is named nearly so; empty where there is none."""
    section, _, name = path.rpartition(".")
    near = difflib.get_close_matches(name, _siblings(path, known), n=1, cutoff=0.7)
    return f"{section}.{near[0]}" if near and section else "".join(near)


def _nearest(path: str, known: Sequence[str]) -> str:
    """What an unknown setting may have been meant to be: one of its own section, or of the whole tree."""
    if near := _near_sibling(path, known):
        return f"did you mean {near}?"
    anywhere = difflib.get_close_matches(path, known, n=1, cutoff=0.8)
    if anywhere:
        return f"did you mean {anywhere[0]}?"
    siblings = _siblings(path, known)
    if not siblings:
        return "see --help for the settings"
    section, _, _ = path.rpartition(".")
    return f"the settings {f'of {section}' if section else 'there'} are {', '.join(siblings)}"


def settings(model: type[BaseModel]) -> list[tuple[str, str, str]]:
    """Every setting as (dotted path, default, description), for ``--help``."""
    return list(_settings(model, ""))


def _settings(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str, str]]:
    named = _named_sections(model)
    if named is not None:
        kinds = ", ".join(kind for section in named if (kind := _kind_of(section)))
        for section in named:
            kind = _kind_of(section)
            for path, default, about in _settings(section, f"{prefix}{kind}."):
                if path == f"{prefix}{kind}.kind":
                    about = f"one of {kinds}; another name than these needs it"
                yield path, default, about
        return
    seen: set[str] = set()
    for name, field in model.model_fields.items():
        path = f"{prefix}{name}"
        children = sections_of(field.annotation)
        if not children:
            default = field.get_default(call_default_factory=True)
            default = "required" if field.is_required() else repr(default)
            yield path, default, field.description or ""
        kinds_here = [kind for child in children if (kind := _kind_of(child))]
        for child in children:
            for row in _settings(child, f"{path}."):
                if row[0] in seen:  # members of a union share settings
                    continue
                seen.add(row[0])
                if row[0] == f"{path}.kind":
                    default = getattr(field.default, "kind", kinds_here[0])
                    row = (row[0], repr(default), f"one of {', '.join(kinds_here)}")
                yield row


def sections_of(annotation: object) -> list[type[BaseModel]]:
    """The configuration classes inside an annotation, through unions and Annotated."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [
        model for argument in getattr(annotation, "__args__", ()) for model in sections_of(argument)
    ]


def _named_sections(model: type[BaseModel]) -> list[type[BaseModel]] | None:
    """What may stand under a section whose names a person chooses (a ``RootModel``); None for all other sections."""
    return (
        sections_of(model.model_fields["root"].annotation) if issubclass(model, RootModel) else None
    )


def _children(model: type[BaseModel], name: str, tree: object) -> list[type[BaseModel]]:
    """The sections that may stand under a name of a section, for the settings that it has."""
    if issubclass(model, Plugin) and name == SETTINGS and isinstance(tree, Mapping):
        try:
            return [model.section(str(tree.get(CLASS)))]
        except ValueError:
            return []  # which is said of the class
    named = _named_sections(model)
    if named is not None:
        return named
    field = model.model_fields.get(name)
    return sections_of(field.annotation) if field else []


def _kind_of(section: type[BaseModel]) -> str | None:
    field = section.model_fields.get("kind")
    return field.default if field else None

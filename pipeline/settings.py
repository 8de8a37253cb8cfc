"""Settings by their dotted paths: overriding them, listing them, and saying in one line what is wrong with one."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from pipeline.errors import ConfigError, PipelineError
from pipeline.yaml_tree import Blank, parse_yaml, without_blanks


def apply_override(tree: dict[str, Any], override: str) -> None:
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


def with_defaults(tree: dict[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    """Puts defaults in the place of what was left blank.

    A blank section that is off unless named, such as ``modalities.image``, is named by that, with its defaults.

    Args:
        tree: Settings, as :func:`parse_yaml` makes them.
        model: The class of the section that they are of.
    """
    settled: dict[str, Any] = {}
    for name, value in tree.items():
        field = model.model_fields.get(name)
        sections = sections_of(field.annotation) if field else []
        if isinstance(value, Blank):
            if field is None:
                settled[name] = None  # an unknown setting, and said to be one
            elif sections and not isinstance(field.default, BaseModel):
                settled[name] = {}
        elif isinstance(value, dict) and sections:
            owner = next((each for each in sections if set(value) <= set(each.model_fields)), None)
            settled[name] = with_defaults(value, owner or sections[0])
        else:
            settled[name] = without_blanks(value)
    return settled


def explain(
    model: type[BaseModel], error: ValidationError, where: str, overridden: Sequence[str]
) -> PipelineError:
    """All that is wrong, a line each; for an unknown setting, with the nearest known one.

    Args:
        model: The whole tree's class.
        error: What pydantic said.
        where: The file.
        overridden: Settings that came from the command line.
    """
    paths = [path for path, _, _ in settings(model)]
    tags = frozenset(_tags(model))
    mistakes = []
    for mistake in sorted(error.errors(), key=lambda item: item["type"] != "extra_forbidden"):
        # Tags of unions stand in the location between the field and its keys; they are no settings.
        path = ".".join(_without_tags([str(step) for step in mistake["loc"]], paths, tags))
        place = "command line" if path in overridden else where
        mistakes.append(_mistake(mistake, path, paths, place))
    return join_errors(mistakes)


def join_errors(errors: Sequence[PipelineError]) -> PipelineError:
    """One error that tells of several, a line each; a single one as it is."""
    if len(errors) == 1:
        return errors[0]
    lines = "".join(f"\n  {error}" for error in errors)
    return ConfigError(f"{len(errors)} things are wrong:{lines}")


def _mistake(
    mistake: Mapping[str, Any], path: str, paths: Sequence[str], place: str
) -> ConfigError:
    if mistake["type"] == "extra_forbidden":
        return ConfigError(f"unknown setting {path}", where=place, fix=_nearest(path, paths))
    if mistake["type"] == "union_tag_not_found":
        return ConfigError(f"{path}.kind is missing", where=place, fix=f"set {path}.kind")
    if mistake["type"] == "missing":
        return ConfigError(f"{path} is missing", where=place, fix=f"set {path}")
    message = mistake["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    shown = mistake.get("input")
    given = "" if isinstance(shown, dict | BaseModel) or not path else f" (it is {shown!r})"
    return ConfigError(f"{path}: {message}{given}" if path else message, where=place)


def _nearest(path: str, paths: Sequence[str]) -> str:
    """What an unknown setting may have been meant to be: one of its own section, or of the whole tree."""
    section, _, name = path.rpartition(".")
    depth = path.count(".")
    siblings = {
        step: None
        for known in paths
        if (known.startswith(f"{section}.") if section else True)
        for step in [known.split(".")[depth]]
    }
    near = difflib.get_close_matches(name, siblings, n=1, cutoff=0.7)
    if near:
        return f"did you mean {f'{section}.' if section else ''}{near[0]}?"
    anywhere = difflib.get_close_matches(path, paths, n=1, cutoff=0.8)
    if anywhere:
        return f"did you mean {anywhere[0]}?"
    if not siblings:
        return "see --help for the settings"
    return f"the settings {f'of {section}' if section else 'there'} are {', '.join(siblings)}"


def _without_tags(steps: Sequence[str], paths: Sequence[str], tags: frozenset[str]) -> list[str]:
    """Drops the tags of unions from the location of an error."""
    names = {name for path in paths for name in path.split(".")}
    kept = [
        step for index, step in enumerate(steps) if index == 0 or step not in tags or step in names
    ]
    return [step for step in kept if not re.fullmatch(r"(str|list\[str\]|\d+)", step)]


def _tags(model: type[BaseModel]) -> Iterator[str]:
    """The kinds of all members of unions below a section."""
    for name, field in model.model_fields.items():
        if name == "kind":
            yield from (str(kind) for kind in get_args(field.annotation))
        for child in sections_of(field.annotation):
            yield from _tags(child)


def settings(model: type[BaseModel]) -> list[tuple[str, str, str]]:
    """Every setting as (dotted path, default, description), for ``--help``."""
    return list(_settings(model, ""))


def _settings(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str, str]]:
    seen: set[str] = set()
    for name, field in model.model_fields.items():
        path = f"{prefix}{name}"
        children = sections_of(field.annotation)
        if not children:
            default = field.get_default(call_default_factory=True)
            default = "required" if field.is_required() else repr(default)
            yield path, default, field.description or ""
        kinds = [
            child.model_fields["kind"].default for child in children if "kind" in child.model_fields
        ]
        for child in children:
            for row in _settings(child, f"{path}."):
                if row[0] in seen:  # members of a union share settings
                    continue
                seen.add(row[0])
                if row[0] == f"{path}.kind":
                    default = getattr(field.default, "kind", kinds[0])
                    row = (row[0], repr(default), f"one of {', '.join(kinds)}")
                yield row


def sections_of(annotation: Any) -> list[type[BaseModel]]:
    """The configuration classes inside an annotation, through unions and Annotated."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [
        model for argument in getattr(annotation, "__args__", ()) for model in sections_of(argument)
    ]

"""Settings by their dotted paths: overriding them, listing them, and saying in one line what is wrong with one."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from pipeline.errors import ConfigError


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
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        value = text
    *folders, name = path.split(".")
    node = tree
    for folder in folders:
        child = node.get(folder)
        if child is None:
            child = node[folder] = {}
        if not isinstance(child, dict):
            raise ConfigError(
                f"{path} cannot be set: {folder} is a single value", where="command line"
            )
        node = child
    node[name] = value


def explain(
    model: type[BaseModel], error: ValidationError, where: str, overridden: Sequence[str]
) -> ConfigError:
    """The first thing that is wrong, in one line; for an unknown setting, with the nearest known one.

    Args:
        model: The whole tree's class.
        error: What pydantic said.
        where: The file.
        overridden: Settings that came from the command line.
    """
    names = [path for path, _, _ in settings(model)]
    found = sorted(error.errors(), key=lambda item: item["type"] != "extra_forbidden")[0]
    # Tags of unions stand in the location between the field and its keys; they are no settings.
    steps = [str(step) for step in found["loc"]]
    path = ".".join(_without_tags(steps, names))
    place = "command line" if path in overridden else where
    if found["type"] == "extra_forbidden":
        near = difflib.get_close_matches(path, names, n=1, cutoff=0.6)
        fix = f"did you mean {near[0]}?" if near else "see --help for the settings"
        return ConfigError(f"unknown setting {path}", where=place, fix=fix)
    if found["type"] == "union_tag_not_found":
        return ConfigError(f"{path}.kind is missing", where=place, fix=f"set {path}.kind")
    if found["type"] == "missing":
        return ConfigError(f"{path} is missing", where=place, fix=f"set {path}")
    message = found["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    shown = found.get("input")
    given = "" if isinstance(shown, dict | BaseModel) or not path else f" (it is {shown!r})"
    return ConfigError(f"{path}: {message}{given}" if path else message, where=place)


def _without_tags(steps: Sequence[str], paths: Sequence[str]) -> list[str]:
    """Drops the tags of unions from the location of an error."""
    names = {name for path in paths for name in path.split(".")}
    kept = [
        step
        for index, step in enumerate(steps)
        if index == 0 or step not in _tags() or step in names
    ]
    return [step for step in kept if not re.fullmatch(r"(str|list\[str\]|\d+)", step)]


def _tags() -> set[str]:
    return {"parquet", "none", "concat", "gated", "attention", "late", "classify"}


def settings(model: type[BaseModel]) -> list[tuple[str, str, str]]:
    """Every setting as (dotted path, default, description), for ``--help``."""
    return list(_settings(model, ""))


def _settings(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str, str]]:
    seen: set[str] = set()
    for name, field in model.model_fields.items():
        path = f"{prefix}{name}"
        children = _models(field.annotation)
        if not children:
            default = field.get_default(call_default_factory=True)
            default = "required" if field.is_required() else repr(default)
            yield path, default, field.description or ""
        for child in children:
            for row in _settings(child, f"{path}."):
                if row[0] not in seen:  # members of a union share settings
                    seen.add(row[0])
                    yield row


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The configuration classes inside an annotation, through unions and Annotated."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [
        model for argument in getattr(annotation, "__args__", ()) for model in _models(argument)
    ]

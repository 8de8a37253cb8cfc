"""The configuration of one night: the logical date in the place of ``{date}``."""

from __future__ import annotations

from pipeline.config import Config, validate
from pipeline.nightly import DATE


def for_date(config: Config, date: str) -> Config:
    """The configuration of one night: ``{date}`` in inputs and in the output becomes the logical date."""
    tree = config.model_dump(mode="json", exclude_unset=True)
    for name in ("input", "infer"):
        if name in tree:
            tree[name] = _dated(tree[name], date)
    return validate(tree)


def _dated(value: object, date: str) -> object:
    if isinstance(value, str):
        return value.replace(DATE, date)
    if isinstance(value, list):
        return [_dated(item, date) for item in value]
    if isinstance(value, dict):
        return {name: _dated(item, date) for name, item in value.items()}
    return value


def is_dated(config: Config) -> bool:
    """Whether every night has an input or an output of its own."""
    tree = config.model_dump(mode="json", exclude_unset=True, include={"input", "infer"})
    return tree != _dated(tree, "")

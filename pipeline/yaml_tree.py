"""YAML text -> a tree of settings. A key given twice is an error, and a key with nothing below it means its default."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path

import yaml

from pipeline.errors import ConfigError, in_words

_NULL, _MERGE = "tag:yaml.org,2002:null", "tag:yaml.org,2002:merge"


class Blank:
    """What stands behind ``image:`` where nothing follows; ``null`` and ``~``, which are written out, are None."""


BLANK = Blank()


class DuplicateKeyError(yaml.constructor.ConstructorError):
    """A mapping has a key twice.

    Args:
        key: The key.
        first_line: Line where it stands first, from 1.
        mark: Where it stands again.
    """

    def __init__(self, key: Hashable, first_line: int, mark: yaml.Mark) -> None:
        super().__init__(problem=f"{key} is given twice", problem_mark=mark)
        self.first_line = first_line


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, which takes the last of equal keys without a word and every empty value for null."""

    def construct_mapping(
        self, node: yaml.MappingNode, deep: bool = False
    ) -> dict[Hashable, object]:
        first_lines: dict[Hashable, int] = {}
        for key_node, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if key_node.tag == _MERGE:
                continue
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in first_lines:
                raise DuplicateKeyError(key, first_lines[key], key_node.start_mark)
            if isinstance(key, Hashable):
                first_lines[key] = key_node.start_mark.line + 1
        mapping: dict[Hashable, object] = super().construct_mapping(node, deep=deep)
        return mapping

    def construct_null(self, node: yaml.ScalarNode) -> Blank | None:
        return None if self.construct_scalar(node) else BLANK


_Loader.add_constructor(_NULL, _Loader.construct_null)


def parse_yaml(text: str) -> object:
    """Parses YAML with the safe loader.

    Returns:
        Its value; ``BLANK`` stands wherever nothing was written.

    Raises:
        yaml.YAMLError: It is not YAML, or a mapping has a key twice.
    """
    if not text.strip():
        return BLANK
    loader = _Loader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def read_yaml(path: str | Path) -> dict[str, object]:
    """Reads a file whose YAML is a mapping; an empty one has no keys.

    Raises:
        ConfigError: It is not there, cannot be read, or is none.
    """
    try:
        text = Path(path).read_text("utf-8")
        tree = parse_yaml(text)
    except FileNotFoundError:
        raise ConfigError(
            "no such configuration file", where=str(path), fix="check the path"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"the configuration cannot be read: {in_words(error)}", where=str(path)
        ) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}, line {mark.line + 1}" if mark else str(path)
        if isinstance(error, DuplicateKeyError):
            fix = f"keep one of the two; the first is in line {error.first_line}"
            raise ConfigError(str(error.problem), where=where, fix=fix) from None
        raise ConfigError("not YAML", where=where, fix="check indentation and quotes") from None
    if tree is None or isinstance(tree, Blank):
        tree = {}
    if not isinstance(tree, dict):
        raise ConfigError("the configuration is not a mapping of settings", where=str(path))
    return tree


def without_blanks(value: object) -> object:
    """The value with None wherever nothing was written, for what is no section."""
    if isinstance(value, Blank):
        return None
    if isinstance(value, dict):
        return {name: without_blanks(item) for name, item in value.items()}
    if isinstance(value, list):
        return [without_blanks(item) for item in value]
    return value

"""Sections of the configuration that a person has written the class of: ``kind: python``, its class and its settings.

Such a class keeps to the contract of its place (an objective, a modality) and is used like those of this project. It is
imported only where a configuration names it: a bundle names it too, and that alone imports nothing.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    create_model,
    field_validator,
    model_serializer,
    model_validator,
)

from pipeline.errors import in_words

KIND = "python"

# Of this process: where make_importable looks, and the packages that classes were imported from.
_folders: set[Path] = set()
_imported: set[str] = set()
CLASS, SETTINGS = "class", "settings"
ClassName = Annotated[
    str,
    Field(
        description="package.module:Class, installed, or beside the configuration or in the working directory",
    ),
]


class Pluggable(BaseModel):
    """A section that a person may write a class of; theirs is dumped as it stands in a configuration."""

    @classmethod
    def class_name(cls) -> str | None:
        """``package.module:Class`` of a person's own class; None for those of this project."""
        own = cls.__module__.partition(".")[0] == __name__.partition(".")[0]
        return None if own else f"{cls.__module__}:{cls.__qualname__}"

    @model_serializer(mode="wrap")
    def _as_configured(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        tree: dict[str, Any] = handler(self)
        name = self.class_name()
        if name is None:
            return tree
        kind = type(self).model_fields.get("kind")
        if kind is not None and tree.get("kind") == kind.default:
            del tree["kind"]
        return {"kind": KIND, CLASS: name, SETTINGS: tree}


class _Rules(BaseModel):
    """What holds for the settings of :class:`Plugin`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    CONTRACT: ClassVar[type[Pluggable]] = Pluggable
    NOUN: ClassVar[str] = "a section"

    kind: Literal["python"] = "python"

    @classmethod
    def section(cls, class_name: str) -> type[Pluggable]:
        """The class of that name; see :func:`imported`."""
        return imported(class_name, cls.CONTRACT, cls.NOUN)

    @field_validator(CLASS, mode="after", check_fields=False)
    @classmethod
    def _importable(cls, class_name: str) -> str:
        cls.section(class_name)
        return class_name

    @field_validator(SETTINGS, mode="after", check_fields=False)
    @classmethod
    def _of_the_class(cls, settings: Mapping[str, Any], info: ValidationInfo) -> object:
        if CLASS not in info.data:
            return settings  # the class is at fault, and said to be
        return cls.section(info.data[CLASS]).model_validate(settings, context=info.context)

    @model_validator(mode="wrap")
    @classmethod
    def _section_itself(cls, data: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        """What stands in the tree is the person's section, as if its class were one of this project's."""
        return getattr(handler(data), SETTINGS)


# No class body can have a field that is called class.
_FIELDS: Mapping[str, Any] = {
    CLASS: (ClassName, Field()),
    SETTINGS: (
        dict[str, Any],
        Field(default={}, validate_default=True, description="those of the class"),
    ),
}
_Named: Any = create_model("_Named", __base__=_Rules, **_FIELDS)


class Plugin(_Named):
    """The member of a union that stands for a person's own classes.

    Attributes:
        CONTRACT: The class that theirs are derived from.
        NOUN: What they are, for errors: ``an objective``.
    """


def imported(class_name: str, contract: type[Pluggable], noun: str) -> type[Pluggable]:
    """The class of that name, a section of the contract.

    Raises:
        ValueError: It cannot be imported, or is none.
    """
    module_name, _, name = class_name.partition(":")
    if not (module_name and name):
        raise ValueError("a class is written package.module:Class")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # noqa: BLE001 - a person's module may raise anything
        raise ValueError(
            f"{module_name} cannot be imported: {in_words(error)}; install it, or put it beside the configuration"
        ) from None
    _imported.add(module_name.partition(".")[0])
    section = getattr(module, name, None)
    if not (isinstance(section, type) and issubclass(section, contract)):
        what = "has no such class" if section is None else f"has there what is not {noun}"
        raise ValueError(
            f"{module_name} {what}: derive {name} from {contract.__module__}.{contract.__name__}"
        )
    if missing := sorted(getattr(section, "__abstractmethods__", ())):
        raise ValueError(f"the class lacks {', '.join(missing)}")
    return section


def class_names(tree: object) -> Iterator[str]:
    """Names of the classes that a dumped section, or a mapping of them, asks for."""
    if isinstance(tree, Mapping):
        if tree.get("kind") == KIND and CLASS in tree:
            yield str(tree[CLASS])
            return
        for section in tree.values():
            if isinstance(section, Mapping):
                yield from class_names(section)


def settings_of(tree: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a dumped section that holds its settings, to be changed in place."""
    settings: dict[str, Any] = tree[SETTINGS] if tree.get("kind") == KIND else tree  # type: ignore[assignment]
    return settings


def make_importable(folder: Path) -> None:
    """Lets this process and those that it starts import what lies in a folder, behind all that they can import.

    Args:
        folder: For example the one of the configuration.
    """
    places = [str(folder.resolve()), os.getcwd()]
    _folders.update(map(Path, places))
    sys.path += [place for place in places if place not in sys.path]
    inherited = [place for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place]
    inherited += [place for place in places if place not in inherited]
    os.environ["PYTHONPATH"] = os.pathsep.join(inherited)


def sources() -> list[Path]:
    """The modules and packages of a person's own classes that lie where :func:`make_importable` looks."""
    paths = []
    for name in sorted(_imported):
        module = sys.modules[name]
        packages = getattr(module, "__path__", None)
        file = next(iter(packages)) if packages else module.__file__
        if file is not None and Path(file).parent in _folders:
            paths.append(Path(file))
    return paths

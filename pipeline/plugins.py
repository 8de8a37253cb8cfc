"""A person's own classes: sections of a configuration (``kind: python``), and predictors (``infer.model: python:...``).

Such a class keeps to the contract of its place (an objective, a modality, a predictor) and is used like those of this
project. It is imported only where a configuration names it: a bundle names it too, and that alone imports nothing.
"""

from __future__ import annotations

import importlib
import inspect
import linecache
import os
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
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
    section = _class_at(class_name)
    if not (section and issubclass(section, contract)):
        module_name, _, name = class_name.partition(":")
        what = "has no such class" if section is None else f"has there what is not {noun}"
        raise ValueError(
            f"{module_name} {what}: derive {name} from {contract.__module__}.{contract.__name__}"
        )
    if missing := sorted(getattr(section, "__abstractmethods__", ())):
        raise ValueError(f"the class lacks {', '.join(missing)}")
    return section


def imported_with(class_name: str, methods: Sequence[str], noun: str) -> type:
    """The class of that name, which need not be derived from anything.

    Args:
        class_name: ``package.module:Class``.
        methods: That it must have.
        noun: What it is, for errors.

    Raises:
        ValueError: It cannot be imported, or lacks one of the methods.
    """
    chosen = _class_at(class_name)
    if chosen is None:
        raise ValueError(f"{class_name.replace(':', ' has no class ')}")
    if missing := [name for name in methods if not callable(getattr(chosen, name, None))]:
        raise ValueError(
            f"{class_name} has no {', no '.join(missing)}: {noun} has the methods {', '.join(methods)}"
        )
    return chosen


def _class_at(class_name: str) -> type | None:
    """The class of that name; None where its module has none.

    Raises:
        ValueError: It is no name of a class, or the module cannot be imported.
    """
    module_name, _, name = class_name.partition(":")
    if not (module_name and name):
        raise ValueError("a class is written package.module:Class")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # noqa: BLE001 - a person's module may raise anything
        place = line_of(error, module_name)
        raise ValueError(
            f"{module_name} cannot be imported: {in_words(error)}{f' ({place})' if place else ''}; "
            "install it, or put it beside the configuration"
        ) from None
    _imported.add(module_name.partition(".")[0])
    chosen = getattr(module, name, None)
    return chosen if isinstance(chosen, type) else None


def line_of(error: BaseException, *modules: str) -> str | None:
    """The last line of a person's code that an error came through, as ``FILE:LINE, in FUNCTION: CODE``.

    Args:
        error: What was raised.
        modules: Modules of theirs, beside those that were imported in this process for a configuration.

    Returns:
        None where it came through none.
    """
    packages = {name.partition(".")[0] for name in modules} | _imported
    place = None
    for frame, number in traceback.walk_tb(error.__traceback__):
        if str(frame.f_globals.get("__name__")).partition(".")[0] in packages:
            file, function = frame.f_code.co_filename, frame.f_code.co_name
            code = linecache.getline(file, number).strip()
            place = f"{file}:{number}, in {function}: {code}"
    return place


def line_of_method(chosen: type, method: str) -> str | None:
    """Where a method of a person's class begins, as ``FILE:LINE, in METHOD``; None where Python has none."""
    code = getattr(inspect.unwrap(getattr(chosen, method)), "__code__", None)
    return code and f"{code.co_filename}:{code.co_firstlineno}, in {method}"


def source_digest(chosen: type) -> str:
    """Digest of the Python files of a class's top-level module or package, wherever those lie."""
    module = sys.modules[chosen.__module__.partition(".")[0]]
    folders = list(getattr(module, "__path__", ()))
    file = Path(module.__file__ or "")
    files = [(path, Path(folder)) for folder in folders for path in Path(folder).rglob("*.py")]
    digest = blake2b(digest_size=16)
    for path, root in sorted(files) or [(file, file.parent)]:
        digest.update(f"{path.relative_to(root).as_posix()}\0".encode() + path.read_bytes())
    return digest.hexdigest()


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

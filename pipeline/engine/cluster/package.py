"""This project's code as a cluster receives it: the two packages, and one configuration file."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline import plugins

PROJECT = Path(__file__).resolve().parents[3]
PACKAGES = ("pipeline", "jobs")


def runtime_env(*, is_submitted: bool = False) -> dict[str, object]:
    """The Ray runtime environment that brings the code to the workers of a running cluster.

    Nothing is installed by it. This project is left out where it is installed among other packages: the
    cluster's machines are then taken to have it too. A person's own classes travel where they are not installed.

    Args:
        is_submitted: Whether this process is a submitted job: its working directory is what workers have already.
    """
    modules = []
    if (PROJECT / "pyproject.toml").is_file() and not is_submitted:
        modules = [str(PROJECT / name) for name in PACKAGES]
    here = Path.cwd() if is_submitted else None
    modules += [str(source) for source in plugins.sources() if source.parent != here]
    return {"py_modules": modules, "excludes": ["__pycache__/"]} if modules else {}


@contextmanager
def working_dir(config: Path) -> Iterator[tuple[Path, str]]:
    """Copies the code and a configuration into a folder that can be handed to a cluster.

    Only what jobs import is taken, so data and runs that lie in the project never travel; a person's own classes,
    which reading the configuration has imported, are taken where they are not installed. The same
    code and configuration give the same content, which Ray uploads once.

    Args:
        config: The configuration file, inside the project or not.

    Yields:
        The folder, gone at the end, and the configuration's path in it.
    """
    with tempfile.TemporaryDirectory(prefix="mmp-submit-") as name:
        folder = Path(name)
        for package in PACKAGES:
            shutil.copytree(PROJECT / package, folder / package, ignore=_not_code)
        for source in plugins.sources():
            if source.is_dir():
                shutil.copytree(source, folder / source.name, ignore=_not_code, dirs_exist_ok=True)
            else:
                shutil.copyfile(source, folder / source.name)
        inside = config.resolve()
        try:
            place = inside.relative_to(PROJECT)
        except ValueError:
            place = Path("submitted") / config.name
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(inside, folder / place)
        yield folder, place.as_posix()


def _not_code(folder: str, names: list[str]) -> set[str]:
    return {name for name in names if name == "__pycache__" or name.startswith(".")}

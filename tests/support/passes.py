"""The two passes of ``make test``: the tests that need no Ray, in two processes, and those that do, in one.

A test needs Ray where it has a fixture that starts one, or is of an executor that works on it; a test that starts a Ray
in a process of its own is marked ``ray`` by hand, and cannot start it otherwise.
"""

import gc
import os
import re
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # each process of tests has a core
    os.environ.setdefault("OMP_NUM_THREADS", "1")

STARTING = {"local_ray", "ray_head"}  # fixtures
ON_RAY = {"ray", "ray_data"}  # executors
# A file without any of these words has no such test, and is not imported for them: to import all takes half a minute.
WORDS = re.compile(r"\bray\b|local_ray|ray_head|workplace|ray_data")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Passes over files in the pass of the tests that need Ray."""
    is_test = collection_path.suffix == ".py" and config.option.markexpr.startswith("ray")
    return True if is_test and not _names_ray(collection_path) else None


@pytest.hookimpl(tryfirst=True)  # before -m selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks what needs Ray.

    Raises:
        pytest.UsageError: Such a test would be in neither pass.
    """
    for item in items:
        if _needs_ray(item):
            item.add_marker("ray")
        if item.get_closest_marker("ray") and not _names_ray(item.path):
            raise pytest.UsageError(
                f"{item.nodeid} needs Ray, and its file has none of the words that say so: {WORDS.pattern}"
            )


def pytest_collection_finish() -> None:
    """All that was imported stays: to look through it for garbage again and again takes a tenth of the time."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    """Libraries look at the end for what was left behind."""
    gc.unfreeze()


@pytest.fixture(autouse=True)
def without_ray(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test that is not marked ``ray`` cannot start one."""
    if not request.node.get_closest_marker("ray"):
        monkeypatch.setenv("RAY_TMPDIR", "/dev/null/mark-this-test-ray")


def _names_ray(path: Path) -> bool:
    return WORDS.search(path.read_text("utf-8")) is not None


def _needs_ray(item: pytest.Item) -> bool:
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    executors = {parameters.get(name) for name in ("executor", "by_executor", "workplace")}
    return bool(STARTING & set(getattr(item, "fixturenames", ())) or executors & ON_RAY)

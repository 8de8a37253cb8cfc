"""The figures of the house: sizes of files, functions and folders, and no circle of imports."""

import ast
import graphlib
from collections import Counter
from pathlib import Path

import grimp
import pytest

PROJECT = Path(__file__).parents[2]
FILES = sorted(path for root in ("pipeline", "jobs") for path in (PROJECT / root).rglob("*.py"))
MAX_FILE_LINES, MAX_FUNCTION_LINES, MAX_FOLDER_FILES = 300, 60, 14
# What is larger still; to be split, and then to go from here.
LONG_FILES: dict[str, int] = {}
LONG_FUNCTIONS: dict[str, int] = {}
# A module a job: what one types is python -m jobs.NAME.
FULL_FOLDERS: dict[str, int] = {"jobs": 16}


def name(path: Path) -> str:
    return path.relative_to(PROJECT).as_posix()


def too_large(sizes: dict[str, int], limit: int, larger: dict[str, int]) -> dict[str, int]:
    return {name: size for name, size in sizes.items() if size > larger.get(name, limit)}


def test_a_file_fits_in_the_head() -> None:
    sizes = {name(path): path.read_text("utf-8").count("\n") for path in FILES}
    assert not too_large(sizes, MAX_FILE_LINES, LONG_FILES)


def test_a_function_fits_a_screen() -> None:
    sizes = {
        f"{name(path)}:{node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert not too_large(sizes, MAX_FUNCTION_LINES, LONG_FUNCTIONS)


def test_a_folder_is_seen_at_a_glance() -> None:
    sizes = Counter(name(path.parent) for path in FILES if path.name != "__init__.py")
    assert not too_large(sizes, MAX_FOLDER_FILES, FULL_FOLDERS)


def test_no_two_test_files_have_one_name() -> None:
    """Pytest collects the first of them alone, where folders of tests are no packages."""
    names = Counter(path.name for path in (PROJECT / "tests").rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []


def test_no_imports_run_in_a_circle() -> None:
    """Those inside functions count, those for type checkers alone do not."""
    graph = grimp.build_graph(
        "pipeline", "jobs", exclude_type_checking_imports=True, cache_dir=None
    )
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    try:
        graphlib.TopologicalSorter(imports).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))

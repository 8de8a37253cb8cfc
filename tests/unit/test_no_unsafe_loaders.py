"""Nothing in the product runs code that lies in data, or hands a string to a shell."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = (
    "pickle", "cPickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "jsonpickle", "pandas",
)  # fmt: skip
# What may not be called, by its full name.
BANNED = frozenset(
    f"{module}.{name}"
    for module in MODULES
    for name in ("load", "loads", "open", "Unpickler", "DbfilenameShelf", "read_pickle", "decode")
) | {
    "eval", "exec", "compile", "__import__",
    "builtins.eval", "builtins.exec", "builtins.compile", "builtins.__import__",
    "os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput",
    "yaml.load", "yaml.load_all", "yaml.unsafe_load", "yaml.unsafe_load_all",
    "yaml.full_load", "yaml.full_load_all",
    "torch.hub.load", "torch.jit.load", "torch.package.PackageImporter",
    "runpy.run_path", "code.InteractiveInterpreter",
}  # fmt: skip
# Name -> the argument that makes it safe or unsafe, its place among the positional ones, and what it must not be.
SUBPROCESS = ("run", "call", "check_call", "check_output", "Popen")
SHELLS = {f"subprocess.{name}" for name in SUBPROCESS}
ARRAYS = {"numpy.load", "numpy.lib.npyio.load", "numpy.lib.format.read_array"}


def unsafe(source: str) -> list[str]:
    """The banned calls and names of a source text, each with its line."""
    tree = ast.parse(source)
    names = dict(_imports(tree))
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = _full_name(node.func, names)
            problem = _problem(name, node)
        elif isinstance(node, ast.Attribute | ast.Name) and isinstance(node.ctx, ast.Load):
            # Also where the function is only handed on: map(pickle.loads, ...).
            name = _full_name(node, names)
            problem = name if name in BANNED else ""
        else:
            continue
        if problem:
            found.append(f"line {node.lineno}: {problem}")
    return sorted(set(found))


def _imports(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Local names -> the full names that they stand for, wherever in the file they are imported."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield (
                    (alias.asname, alias.name)
                    if alias.asname
                    else (
                        alias.name.partition(".")[0],
                        alias.name.partition(".")[0],
                    )
                )
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def _full_name(node: ast.expr, names: dict[str, str]) -> str:
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        return f"{_full_name(node.value, names)}.{node.attr}"
    if isinstance(node, ast.Call):
        return _full_name(node.func, names) + "()"
    return ""


def _problem(name: str, call: ast.Call) -> str:
    arguments = {keyword.arg: keyword.value for keyword in call.keywords}
    open_ended = None in arguments  # **options may say anything
    if name in BANNED:
        return name
    if name == "torch.load" and not _is(arguments.get("weights_only"), True):
        return "torch.load without weights_only=True"
    if name in ARRAYS and (open_ended or not _is(arguments.get("allow_pickle", _FALSE), False)):
        return f"{name} with allow_pickle"
    if name == "numpy.load" and len(call.args) > 2:
        return "numpy.load with allow_pickle"
    if name in SHELLS and not _is(arguments.get("shell", _FALSE), False):
        return f"{name} with a shell"
    if name == "importlib.import_module" and not _known(call.args[0] if call.args else None):
        return "importlib.import_module of a computed name"
    return ""


_FALSE = ast.Constant(False)


def _is(node: ast.expr | None, value: bool) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def _known(node: ast.expr | None) -> bool:
    """Whether a module's name is written out, at least up to its package."""
    if isinstance(node, ast.JoinedStr) and node.values:
        node = node.values[0] if isinstance(node.values[0], ast.expr) else None
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and bool(node.value)


# A person's own class is named in a configuration, which is written by whoever runs the job; never in data or a bundle.
# The fork server is told by the process that has started it which of the product's modules that one uses.
OF_ONES_OWN = {
    path: ["importlib.import_module of a computed name"]
    for path in ("pipeline/plugins.py", "pipeline/isolation/forkserver.py")
}
FILES = sorted(path for name in ("pipeline", "jobs") for path in (ROOT / name).rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_nothing_unsafe_in(path: Path) -> None:
    found = [each.partition(": ")[2] for each in unsafe(path.read_text("utf-8"))]
    assert found == OF_ONES_OWN.get(path.relative_to(ROOT).as_posix(), [])


@pytest.mark.parametrize(
    "source",
    [
        "import pickle\npickle.load(f)",
        "import pickle\npickle.loads(b)",
        "import pickle as p\np.loads(b)",
        "from pickle import loads\nloads(b)",
        "from pickle import loads as x\nx(b)",
        "def f():\n    from pickle import load as x\n    return x(b)",
        "import pickle\nlist(map(pickle.loads, many))",
        "import pickle\nread = pickle.loads",
        "import pickle\npickle.Unpickler(f).load()",
        "from _pickle import loads\nloads(b)",
        "import marshal\nmarshal.loads(b)",
        "from marshal import load as l\nl(f)",
        "import shelve\nshelve.open(p)",
        "import dill\ndill.load(f)",
        "from dill import loads\nloads(b)",
        "import cloudpickle as c\nc.loads(b)",
        "import joblib\njoblib.load(p)",
        "from joblib import load\nload(p)",
        "import pandas as pd\npd.read_pickle(p)",
        "import torch\ntorch.load(p)",
        "import torch\ntorch.load(p, weights_only=False)",
        "import torch\ntorch.load(p, weights_only=flag)",
        "import torch as t\nt.load(p, map_location='cpu')",
        "from torch import load\nload(p)",
        "import numpy as np\nnp.load(p, allow_pickle=True)",
        "import numpy as np\nnp.load(p, None, True)",
        "import numpy\nnumpy.load(p, allow_pickle=flag)",
        "import numpy as np\nnp.load(p, **options)",
        "from numpy import load as x\nx(p, allow_pickle=True)",
        "import yaml\nyaml.load(f)",
        "import yaml\nyaml.load(f, Loader=yaml.SafeLoader)",
        "import yaml as y\ny.unsafe_load(f)",
        "from yaml import full_load as x\nx(f)",
        "eval('1')",
        "exec(code)",
        "import builtins\nbuiltins.eval('1')",
        "from builtins import exec as x\nx('1')",
        "list(map(eval, many))",
        "__import__(name)",
        "import os\nos.system('ls')",
        "from os import system as s\ns('ls')",
        "import os as o\no.popen('ls')",
        "import subprocess\nsubprocess.run('ls', shell=True)",
        "import subprocess as sp\nsp.Popen('ls', shell=flag)",
        "from subprocess import check_output as c\nc('ls', shell=True)",
        "import importlib\nimportlib.import_module(name)",
    ],
)
def test_the_check_finds(source: str) -> None:
    assert unsafe(source)


@pytest.mark.parametrize(
    "source",
    [
        "import json\njson.loads(b)",
        "import yaml\nyaml.safe_load(f)",
        "import torch\ntorch.load(p, weights_only=True)",
        "import numpy as np\nnp.load(p)",
        "import numpy as np\nnp.load(p, allow_pickle=False)",
        "import subprocess\nsubprocess.run(['ls'])",
        "import subprocess\nsubprocess.run(['ls'], shell=False)",
        "import pickle\npickle.dumps(x)",
        "import re\nre.compile('x')",
        "model.eval()",
        "loads = len\nloads(b)",
        "import importlib\nimportlib.import_module('PIL.Image')",
        "import importlib\nimportlib.import_module(f'PIL.{name}')",
    ],
)
def test_the_check_leaves_alone(source: str) -> None:
    assert unsafe(source) == []

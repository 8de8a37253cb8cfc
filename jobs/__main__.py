# PYTHON_ARGCOMPLETE_OK
"""All jobs under one command: ``python -m jobs``, or ``multimodal`` where pip has installed it.

multimodal                              lists the jobs
multimodal JOB CONFIG.yaml ...          the same as python -m jobs.JOB CONFIG.yaml ...
multimodal completion bash|zsh          prints what makes the shell complete jobs, files, flags and settings
"""

from __future__ import annotations

import argparse
import ast
import difflib
import importlib
import os
import runpy
import sys
from collections.abc import Mapping
from pathlib import Path

import argcomplete
from argcomplete.shell_integration import shellcode

from jobs._job import COMMAND, parser_for
from pipeline.errors import ConfigError

COMPLETION, SHELLS = "completion", ("bash", "zsh")


def main() -> int:
    """Runs the job that the command line names; returns its exit code, 2 where it names none."""
    if "_ARGCOMPLETE" in os.environ:
        _complete()
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help", "help"):
        print(listing())
        return 0
    if name == COMPLETION and len(arguments) == 1 and arguments[0] in SHELLS:
        print(shellcode([COMMAND], shell=arguments[0]))
        return 0
    if name not in job_names():
        near = difflib.get_close_matches(name, [*job_names(), COMPLETION], n=1)
        fix = f"did you mean {near[0]}?" if near else f"{COMMAND} lists the jobs"
        if name == COMPLETION:
            fix = f"write {COMMAND} {COMPLETION} {' or '.join(SHELLS)}"
        error = ConfigError(f"there is no job {name}", where="command line", fix=fix)
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return error.exit_code
    sys.argv = [sys.argv[0], *arguments]
    runpy.run_module(f"jobs.{name}", run_name="__main__")  # which ends with sys.exit
    return 0


def job_names() -> Mapping[str, str]:
    """Job -> what it does, the first line of its module, in alphabetical order."""
    modules = sorted(Path(__file__).parent.glob("[!_]*.py"))
    return {
        path.stem: (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").split("\n")[0]
        for path in modules
    }


def listing() -> str:
    """The jobs, for a terminal."""
    names = job_names()
    width = max(map(len, names))
    jobs = "\n".join(f"  {name:<{width}}  {about}" for name, about in names.items())
    usage = (
        f"usage: {COMMAND} JOB CONFIG.yaml [dotted.path=value ...] [--json] [--dry-run] [--help]"
    )
    shells = f"{COMMAND} {COMPLETION} {'|'.join(SHELLS)} prints completions for the shell"
    return f"{usage}\n\njobs:\n{jobs}\n\n{COMMAND} JOB --help shows a job's settings; {shells}"


def _complete() -> None:
    """Answers the shell, and ends the process. Only the parser of the job in its line is made: the shell waits."""
    parser = argparse.ArgumentParser(prog=COMMAND)
    jobs = parser.add_subparsers()
    words = os.environ.get("COMP_LINE", "").split()
    jobs.add_parser(COMPLETION).add_argument("shell", choices=SHELLS)
    for name, about in job_names().items():
        parents = [_parser_of(name)] if name in words[1:2] else []
        jobs.add_parser(name, help=about, parents=parents, add_help=False)
    argcomplete.autocomplete(parser)


def _parser_of(name: str) -> argparse.ArgumentParser:
    module = importlib.import_module(f"jobs.{name}")
    parser: argparse.ArgumentParser
    parser = module.build_parser() if hasattr(module, "build_parser") else parser_for(module.JOB)
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""Writes a starter configuration for shards, a folder or a table, after a look at its samples.

    python -m jobs.init SOURCE [--to my.yaml] [--run runs/NAME] [--data data] [--overwrite] [--dry-run]

SOURCE is what there is: shards (a tar, a folder of them, a pattern), a folder of files, or a CSV, JSONL or Parquet
table.
Nothing but the configuration is written. What was guessed is said; check it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from jobs._job import program
from pipeline import logs
from pipeline.errors import ConfigError, PipelineError


def main(arguments: Sequence[str] | None = None) -> int:
    """Looks and writes; returns the exit code."""
    options = build_parser().parse_args(arguments)
    logs.set_up()
    try:
        print(write(options))
    except PipelineError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def write(options: argparse.Namespace) -> str:
    """Writes the configuration; returns what to tell.

    Raises:
        ConfigError: There is nothing to look at, or the file is there already.
    """
    from pipeline.starter.draft import advice, draft
    from pipeline.starter.look import Look
    from pipeline.starter.sources import find

    start = find(options.source, options.data)
    path = Path(options.to or f"{start.name}.yaml")
    if path.exists() and not (options.overwrite or options.dry_run):
        raise ConfigError(
            "the configuration is there already",
            where=str(path),
            fix="name another with --to, or give --overwrite",
        )
    text, notes = draft(start, Look.at(start.samples), options.run or f"runs/{start.name}")
    if options.dry_run:
        return f"{text}\nwould write {path}"
    path.write_text(text, encoding="utf-8")
    return advice(notes, str(path), is_packed=not start.pack)


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog=program("init"),
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("source", help="shards, a folder of files, or a table")
    add("--to", metavar="FILE", help="the configuration that is written; NAME.yaml by default")
    add("--run", metavar="FOLDER", help="the run that it names; runs/NAME by default")
    add("--data", default="data", metavar="FOLDER", help="where pack is to put shards")
    add("--overwrite", action="store_true", help="replaces a configuration that is there")
    add("--dry-run", action="store_true", help="print what would be written, and end")
    return parser


if __name__ == "__main__":
    sys.exit(main())

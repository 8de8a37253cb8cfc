"""The command line that all jobs have in common."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from argcomplete.completers import FilesCompleter

from pipeline.config import Config
from pipeline.settings import settings

if TYPE_CHECKING:
    from jobs._job import Job

COMMAND = "multimodal"  # that pip installs for all jobs


def parser_for(job: Job) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program(job.name),
        description=job.about,
        epilog=settings_help(job.sections),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_configuration(parser, job.sections)
    add_flags(parser)
    return parser


def add_flags(
    parser: argparse.ArgumentParser,
    dry_run: str = "print the configuration and what would be done, and end",
) -> None:
    """Adds the flags that all jobs have.

    Args:
        parser: Of the job.
        dry_run: What a dry run does.
    """
    add = parser.add_argument
    add("--json", action="store_true", help="print the summary as one JSON object")
    add("--dry-run", action="store_true", help=dry_run)
    add(
        "--profile",
        action="store_true",
        help="write a flame graph of this process to RUN/profile/JOB.html, and a trace of six steps of a training",
    )


def passed_on(options: argparse.Namespace) -> list[str]:
    """The flags that all jobs have, for a job whose own command line came first."""
    flags = {"--json": options.json, "--dry-run": options.dry_run, "--profile": options.profile}
    return [flag for flag, is_set in flags.items() if is_set]


def program(job: str) -> str:
    """How a job was called, for its usage line."""
    return f"{COMMAND} {job}" if Path(sys.argv[0]).name == COMMAND else f"python -m jobs.{job}"


def add_configuration(
    parser: argparse.ArgumentParser,
    sections: Sequence[str],
    *,
    about: str = "settings that replace the file's, none or several",
) -> None:
    """Adds what every job begins with: the configuration, and overrides of its settings."""
    config = parser.add_argument("config", help="the configuration, a YAML file")
    # Without a default, argparse calls overrides required where only the configuration is missing.
    overrides = parser.add_argument(
        "overrides", nargs="*", default=[], metavar="dotted.path=value", help=about
    )
    config.completer = FilesCompleter(("yaml", "yml"))  # type: ignore[attr-defined]
    overrides.completer = partial(_settings_to_override, sections)  # type: ignore[attr-defined]


def _settings_to_override(sections: Sequence[str], **_: object) -> list[str]:
    """What the shell may complete an override to."""
    return [f"{path}=" for path, _, _ in settings(Config) if path.split(".")[0] in sections]


def settings_help(sections: Sequence[str]) -> str:
    """The settings of some sections with their defaults, for ``--help``."""
    rows = [row for row in settings(Config) if row[0].split(".")[0] in sections]
    width = max(len(path) for path, _, _ in rows) if rows else 0
    lines = [
        f"  {path:<{width}}  {default}{about and '  ' + about}" for path, default, about in rows
    ]
    return "settings, with their defaults:\n" + "\n".join(lines)

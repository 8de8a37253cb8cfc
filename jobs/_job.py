"""What all jobs share: the command line, the lock, the summary, and the exit code."""

from __future__ import annotations

import argparse
import atexit
import contextlib
import gc
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from argcomplete.completers import FilesCompleter

from pipeline import logs
from pipeline.config import Config, load, to_yaml
from pipeline.engine.plans.checks import Needs, check
from pipeline.errors import BadDataError, ConfigError, LockedError, PipelineError
from pipeline.modalities.reasons import meanings
from pipeline.plugins import line_of
from pipeline.runs import Summary
from pipeline.safe_text.printable import printable_lines
from pipeline.safe_text.redaction import redact
from pipeline.settings import settings
from pipeline.shards.planning.listings import listings_remembered
from pipeline.storage.locking import locks

COMMAND = "multimodal"  # that pip installs for all jobs
INTERRUPTED = 130
logger = logging.getLogger(__name__)


# What is left when Python ends is a leak to these, which they tell on the standard error.
COUNTING_LEAKS = {"triton", "_duckdb"}


def _end_soon() -> None:
    """Spares the interpreter its last collection, which goes through all of torch for half a second."""
    if not COUNTING_LEAKS & sys.modules.keys():
        gc.freeze()


atexit.register(_end_soon)


def _as_given(config: Config) -> Config:
    return config


@dataclass(frozen=True)
class Job:
    """One job of the command line.

    Attributes:
        name: As in ``python -m jobs.NAME``.
        about: One sentence for ``--help``.
        output: The folder it writes and locks, from the configuration.
        work: Does it; counts go into the summary.
        plan: What ``--dry-run`` prints after the configuration.
        sections: Sections of the configuration that ``--help`` shows.
        locked: Whether the folder is locked here; pack's writer locks its own.
        keeps_summary: Whether the summary is written into the folder; a search only reads.
        answer: The summary for a person; None for the counts that all jobs have.
        after_interrupt: What one who has interrupted it is told.
        settle: The configuration as the job runs it, from the one that was given.
        needs: What of the configuration must be there, checked before Ray starts; None checks nothing.
    """

    name: str
    about: str
    output: Callable[[Config], str]
    work: Callable[[Config, Summary], None]
    plan: Callable[[Config], str]
    sections: tuple[str, ...] = ()
    locked: bool = True
    keeps_summary: bool = True
    answer: Callable[[Summary], str] | None = None
    after_interrupt: str = "what is committed stays, and the same command goes on from there"
    settle: Callable[[Config], Config] = _as_given
    needs: Callable[[Config], Needs] | None = None


def main(job: Job, arguments: Sequence[str] | None = None) -> int:
    """Runs a job from a command line.

    Args:
        job: Which.
        arguments: The command line without the program; None for the process's own.

    Returns:
        The exit code: 0 done, 1 failed, 2 wrong command line or configuration, 3 too much bad data, 75 locked, 130
        interrupted.
    """
    options = parser_for(job).parse_intermixed_args(arguments)
    logs.set_up()
    try:
        config = load(options.config, options.overrides)
        with listings_remembered() if job.needs else contextlib.nullcontext():
            if job.needs is not None:
                check(config, job.needs(config))
            config = job.settle(config)
            if options.dry_run:
                print(printable_lines(to_yaml(config) + "\n" + redact(job.plan(config))))
                return 0
            with contextlib.redirect_stdout(
                sys.stderr
            ):  # Ray says on stdout what its processes log
                summary = run(job, config)
    except PipelineError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        if isinstance(error, BadDataError) and error.reasons:
            print("\n".join(_table(error.reasons, error.settings)), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"{job.name} was interrupted; {job.after_interrupt}", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:  # a bug: all of it is shown, and the exit code says failed
        logger.exception("unexpected")
        place = line_of(error)
        print(
            f"{type(error).__name__}: {printable_lines(redact(str(error)))} | "
            f"{f'{job.name}, {redact(place)}' if place else job.name} | this is a bug, "
            "the log has the whole of it",
            file=sys.stderr,
        )
        return 1
    if options.json:
        print(summary.to_json())
    else:
        print(printable_lines(redact((job.answer or counts)(summary))))
    return summary.exit_code


def run(job: Job, config: Config, began: float = 0.0) -> Summary:
    """Runs a job with its lock, and writes its summary, also where it ends for bad data.

    Args:
        job: Which.
        config: The configuration.
        began: :func:`pipeline.runs.process_clock` when the job began.
    """
    folder = job.output(config)
    summary = Summary(job.name)
    with locks.lock(folder) if job.locked else contextlib.nullcontext():
        try:
            job.work(config, summary)
        except PipelineError as error:
            summary.status, summary.exit_code = "failed", error.exit_code
            # Nothing was begun, or the folder is another job's.
            if not isinstance(error, LockedError) and error.exit_code != ConfigError.exit_code:
                with contextlib.suppress(PipelineError):  # the first error is the one to tell
                    _finish(job, summary, folder, began)
            raise
        _finish(job, summary, folder, began)
    return summary


def _finish(job: Job, summary: Summary, folder: str, began: float) -> None:
    summary.close(began)
    if job.keeps_summary:
        summary.write(folder)


def parser_for(job: Job) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program(job.name),
        description=job.about,
        epilog=settings_help(job.sections),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_configuration(parser, job.sections)
    parser.add_argument("--json", action="store_true", help="print the summary as one JSON object")
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print the configuration and what would be done, and end",
    )
    return parser


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


def counts(summary: Summary) -> str:
    """The summary for a person: what all jobs count."""
    already = " already" if summary.parts_skipped and not summary.parts_done else ""
    lines = [
        f"{summary.job}: {summary.status}{already} in {summary.seconds:.1f} s",
        f"  samples  {summary.samples_read} read, {summary.samples_written} good, "
        f"{summary.samples_quarantined} quarantined, {summary.samples_filtered} filtered, "
        f"{summary.samples_noted} noted; "
        f"{summary.shards_damaged} shards damaged",
        f"  parts    {summary.parts_done} done, {summary.parts_skipped} skipped",
    ]
    lines += _table(summary.reasons, summary.settings)
    shown = {name: value for name, value in summary.metrics.items() if value is not None}
    lines += [f"  {name:<28} {_number(value)}" for name, value in shown.items()]
    lines += [f"  {name:<8} {value}" for name, value in summary.outputs.items()]
    return "\n".join(lines)


def _table(reasons: Mapping[str, int], settings: Mapping[str, Sequence[str]]) -> list[str]:
    """Reasons, what they mean, and the settings that would let samples through; the most frequent first."""
    ordered = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    lines = []
    for reason, number in ordered:
        lines.append(f"  {number:>8}  {reason:<18} {meanings().get(reason, '')}")
        if reason in settings:
            lines.append(f"  {'':>8}  {'':<18} see {', '.join(settings[reason])}")
    return lines


def _number(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)

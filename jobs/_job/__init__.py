"""What all jobs share: the command line, the lock, the summary, and the exit code."""

from __future__ import annotations

import atexit
import contextlib
import gc
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jobs._job.answer import counts, reasons_table
from jobs._job.command_line import (
    COMMAND,
    add_configuration,
    add_flags,
    parser_for,
    passed_on,
    program,
    settings_help,
)
from jobs._job.profiling import profiling
from pipeline import logs
from pipeline.config import Config, load, to_yaml
from pipeline.engine.plans.checks import Needs, check
from pipeline.errors import BadDataError, ConfigError, LockedError, PipelineError
from pipeline.plugins import line_of
from pipeline.runs import Summary
from pipeline.safe_text.printable import printable_lines
from pipeline.safe_text.redaction import redact
from pipeline.shards.planning.listings import listings_remembered
from pipeline.storage.locking import locks

__all__ = [
    "COMMAND",
    "INTERRUPTED",
    "Job",
    "add_configuration",
    "add_flags",
    "counts",
    "load",
    "main",
    "parser_for",
    "passed_on",
    "program",
    "run",
    "settings_help",
]
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
        traced = ["train.profile=true"] if options.profile else []
        config = load(options.config, [*options.overrides, *traced])
        with listings_remembered() if job.needs else contextlib.nullcontext():
            if job.needs is not None:
                check(config, job.needs(config))
            config = job.settle(config)
            if options.dry_run:
                print(printable_lines(to_yaml(config) + "\n" + redact(job.plan(config))))
                return 0
            profiled = profiling(job.name, config) if options.profile else contextlib.nullcontext()
            # Ray says on stdout what its processes log.
            with contextlib.redirect_stdout(sys.stderr), profiled:
                summary = run(job, config)
    except PipelineError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        if isinstance(error, BadDataError) and error.reasons:
            print("\n".join(reasons_table(error.reasons, error.settings)), file=sys.stderr)
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

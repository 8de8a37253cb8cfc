"""Runs batch inference over what is new or changed since the last good night, once or by a schedule.

    python -m jobs.nightly CONFIG.yaml [dotted.path=value ...] [--date YYYY-MM-DD] [--catch-up N] [--json] [--dry-run]
    python -m jobs.nightly CONFIG.yaml serve --cron "0 2 * * *" --timezone Asia/Shanghai [--catch-up N]
    python -m jobs.nightly CONFIG.yaml emit systemd|cron|kubernetes [--cron ...] [--timezone ...] [--to FOLDER]

Every night has a page, RUN/nightly/DATE.md, and what it says as JSON beside it. {date} in the input or the output of
the configuration stands for the logical date; a date that stopped at its deadline is then continued by the next night.
Exit codes are those of all jobs, the worst of all dates that were run, and 4 where an alert threshold was crossed.
"""

from __future__ import annotations

import argparse
import datetime
import sys
from collections.abc import Sequence
from pathlib import Path

from jobs import _job, infer
from jobs._job import Job, settings_help
from pipeline import logs
from pipeline.config import Config, load
from pipeline.errors import ConfigError, PipelineError
from pipeline.nightly import emit, process
from pipeline.nightly.dates import INTERRUPTED, logical_date, run_dates, unfinished
from pipeline.nightly.emit import Schedule
from pipeline.nightly.ledger import Ledger
from pipeline.runs import Summary

MODES = ("serve", "emit")
UTC = "UTC"
SECTIONS = ("run", "input", "modalities", "cleaning", "infer", "nightly", "sink", "cluster")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs nights, keeps a schedule, or writes the files of one; returns the exit code."""
    options = build_parser().parse_intermixed_args(arguments)
    mode = options.words[0] if options.words and options.words[0] in MODES else "once"
    logs.set_up()
    try:
        if mode == "once":
            return _once(options)
        config = load(options.config, options.words[2 if mode == "emit" else 1 :])
        return _serve(options, config) if mode == "serve" else _emit(options, config)
    except PipelineError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return error.exit_code


def job_for(date: str, ends: datetime.datetime | None = None) -> Job:
    """The job of one night, which stops where its time has come."""

    def dated(config: Config) -> Config:
        from pipeline.engine.plans.dated import for_date

        return infer.settle(for_date(config, date), follows=True)

    def work(config: Config, summary: Summary) -> None:
        from pipeline.engine.plans.nightly import run_night

        summary.outputs = {"embeddings": infer.output(config)}
        run_night(config, date, summary, ends)

    return Job(
        name="nightly",
        about=__doc__ or "",
        output=infer.output,
        work=work,
        plan=infer.plan,
        settle=dated,
        sections=SECTIONS,
    )


def _once(options: argparse.Namespace) -> int:
    """Runs a night, and before it the dates that are still to do, each in a process of its own."""
    from pipeline.engine.plans.dated import is_dated

    config = load(options.config, options.words)
    date = logical_date(options.date, options.timezone)
    ends = _ends(options, config)
    dates: list[str] = []
    if not options.only:
        # Without {date} tonight reads what a stopped night has left.
        among = config.nightly.history if is_dated(config) else 0
        dates = unfinished(Ledger(config.run), date, options.catch_up, among)

    def here(each: str) -> int:
        return _job.main(
            job_for(each, ends), [options.config, *options.words, *_job.passed_on(options)]
        )

    def apart(each: str) -> int:
        command = [sys.executable, "-m", "jobs.nightly", options.config, *options.words]
        until = ["--until", ends.isoformat()] if ends is not None else []
        return _run_apart([*command, "--only", "--date", each, *until])

    earlier = here if options.dry_run else apart
    return run_dates(dates, ends, earlier, lambda: here(date.isoformat()))


def _ends(options: argparse.Namespace, config: Config) -> datetime.datetime | None:
    """When this night and those before it, which it makes up for, have to stop."""
    if options.until is None:
        return config.nightly.ends(datetime.datetime.now().astimezone())
    try:
        return datetime.datetime.fromisoformat(options.until).astimezone()
    except ValueError:
        raise ConfigError(
            f"{options.until!r} is no time",
            where="--until",
            fix="write, for example, 2026-11-21T05:30",
        ) from None


def _run_apart(command: Sequence[str]) -> int:
    """Runs the night of another date; its answer goes to stderr, since stdout has this night's."""
    from pipeline.engine.cluster.signals import as_interrupt

    with as_interrupt():
        night = process.begin(command, stdout=sys.__stderr__.fileno() if sys.__stderr__ else None)
        try:
            return night.wait()
        except KeyboardInterrupt:
            process.end(night, process.PATIENCE_SECONDS / 2)
            return INTERRUPTED


def _serve(options: argparse.Namespace, config: Config) -> int:
    from pipeline.nightly.schedule import serve

    zone = options.timezone or UTC
    command = emit.night_command(
        sys.executable, options.config, options.words[1:], zone, options.catch_up
    )
    return serve(command, options.cron, zone)


def _emit(options: argparse.Namespace, config: Config) -> int:
    kinds = (*emit.WITHOUT_CONFIG, "kubernetes")
    kind = options.words[1] if len(options.words) > 1 else ""
    if kind not in kinds:
        raise ConfigError(
            f"{kind!r} is nothing that files can be written for",
            where="emit",
            fix=f"write emit {' or emit '.join(kinds)}",
        )
    schedule = Schedule(
        cron=options.cron,
        timezone=options.timezone or UTC,
        python=sys.executable,
        folder=str(Path.cwd()),
        config=str(Path(options.config).resolve()),
        overrides=options.words[2:],
        image=options.image,
        catch_up=options.catch_up,
    )
    if kind == "kubernetes":
        files = emit.kubernetes(schedule, Path(options.config).read_text("utf-8"))
    else:
        files = emit.WITHOUT_CONFIG[kind](schedule)
    folder = Path(options.to)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
        print(folder / name)
    return 0


def _count(text: str) -> int:
    count = int(text)
    if count < 0:
        raise ValueError
    return count


def build_parser() -> argparse.ArgumentParser:
    """The command line of nights."""
    parser = argparse.ArgumentParser(
        prog=_job.program("nightly"),
        description=__doc__,
        epilog=settings_help(SECTIONS),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("config", help="the configuration, a YAML file")
    parser.add_argument(
        "words",
        nargs="*",
        default=[],
        metavar="dotted.path=value",
        help="settings that replace the file's; serve, or emit and systemd, cron or kubernetes, before them",
    )
    parser.add_argument("--date", help="the logical date; today by default")
    parser.add_argument(
        "--catch-up",
        type=_count,
        default=0,
        metavar="N",
        help="first runs those of the N dates before that are not done, each by itself",
    )
    parser.add_argument(
        "--only",
        action="store_true",
        help="this date alone: nights that stopped at their deadline are not continued",
    )
    parser.add_argument(
        "--until", metavar="TIME", help="when it stops, instead of at nightly.deadline"
    )
    parser.add_argument("--cron", default="0 2 * * *", help="the schedule, five fields")
    parser.add_argument(
        "--timezone",
        help="of the schedule and of the logical date, such as Asia/Shanghai; UTC for serve and emit, this machine's "
        "for one night",
    )
    parser.add_argument("--to", default=".", metavar="FOLDER", help="where emit writes")
    parser.add_argument(
        "--image", default="pipeline:latest", help="container image, for emit kubernetes"
    )
    _job.add_flags(parser, "print what would be done, and end")
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""Trains, evaluates and reports several configurations, and makes one page of them.

    python -m jobs.gallery CONFIG.yaml [CONFIG.yaml ...] [dotted.path=value ...] [--out runs/gallery.html]

Overrides are of all of them. What is done already is passed over.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from jobs import _job, evaluate, report, train
from pipeline import logs, runs, storage
from pipeline.config import Config, load
from pipeline.errors import ConfigError, PipelineError

PAGE, MARKER = "runs/gallery.html", "gallery.txt"


def main(arguments: Sequence[str] | None = None) -> int:
    """Makes the page; returns the exit code of the job that failed, else 0."""
    options = build_parser().parse_intermixed_args(arguments)
    logs.set_up()
    paths = [word for word in options.words if "=" not in word]
    overrides = [word for word in options.words if "=" in word]
    try:
        if not paths:
            raise ConfigError(
                "no configuration is named", where="command line", fix="name one or more YAML files"
            )
        configs = {path: load(path, overrides) for path in paths}
        _check(configs)
        for number, (path, config) in enumerate(configs.items(), 1):
            line = f"[{number}/{len(configs)}] {Path(path).stem}"
            if options.dry_run:
                print(f"{line}: {'judged already' if _is_judged(config) else 'to do'}")
            elif code := _made(path, config, overrides, line):
                return code
        if options.dry_run:
            print(f"would write {options.out}")
            return 0
        _write(configs, options.out)
    except PipelineError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("gallery was interrupted; run it again and it goes on from there", file=sys.stderr)
        return _job.INTERRUPTED
    print(f"gallery: open {options.out} in a browser")
    return 0


def _check(configs: Mapping[str, Config]) -> None:
    """Refuses configurations that share a run.

    Raises:
        ConfigError: Names them.
    """
    path_by_run: dict[str, str] = {}
    for path, config in configs.items():
        if config.run in path_by_run:
            raise ConfigError(
                f"{path_by_run[config.run]} and {path} have the same run",
                where=f"run={config.run}",
                fix="give each a run of its own",
            )
        path_by_run[config.run] = path


def _made(path: str, config: Config, overrides: Sequence[str], line: str) -> int:
    """Trains, judges and reports one configuration; returns the exit code of the job that failed, else 0."""
    # A training that is done says so in a moment, and refuses other settings.
    for name, job in (("train", train.JOB), ("evaluate", evaluate.JOB), ("report", report.JOB)):
        passed_over = job is evaluate.JOB and _is_judged(config)
        word = "already done" if passed_over else "..."
        print(f"{line}: {name}: {word}", file=sys.stderr, flush=True)
        if passed_over:
            continue
        if code := _job.main(job, [path, *overrides]):
            return code
        if job is evaluate.JOB:
            storage.write_bytes(_marker(config), _judged_as(config).encode())
    return 0


def _is_judged(config: Config) -> bool:
    """Whether the model that the run has by now was judged with these settings."""
    try:
        return storage.read_bytes(_marker(config)).decode() == _judged_as(config)
    except FileNotFoundError:
        return False


def _marker(config: Config) -> str:
    return storage.join(config.folder("evaluation"), MARKER)


def _judged_as(config: Config) -> str:
    """Digest of the settings, and of the model that is judged; raises FileNotFoundError where there is none."""
    summary = json.loads(storage.read_bytes(storage.join(config.folder("model"), runs.SUMMARY)))
    settings = config.model_dump(mode="json", exclude={"cluster", "report"})
    return runs.fingerprint([settings, summary["fingerprint"]])


def _write(configs: Mapping[str, Config], out: str) -> None:
    """Writes the page, with links to the reports beside it."""
    from pipeline.engine.plans.report import gather
    from pipeline.reports.page import render_gallery

    folder = os.path.dirname(os.path.abspath(out))
    shown = {}
    for path, config in configs.items():
        page = storage.join(config.run, report.PAGE)
        local = storage.is_local(page)
        address = os.path.relpath(storage.local_path(page), folder) if local else page
        shown[Path(address).as_posix() if local else page] = gather(config, path)
    storage.write_bytes(out, render_gallery(Path(out).stem, shown).encode())


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog=_job.program("gallery"),
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "words",
        nargs="*",
        default=[],
        metavar="CONFIG.yaml or dotted.path=value",
        help="configurations, and settings that replace those of each",
    )
    add("--out", default=PAGE, metavar="FILE", help=f"the page, {PAGE} by default")
    add("--dry-run", action="store_true", help="print what would be done, and end")
    return parser


if __name__ == "__main__":
    sys.exit(main())

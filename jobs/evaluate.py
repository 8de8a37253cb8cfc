"""Judges a bundle on a labelled split, with every subset of its modalities; compares runs that were judged so.

    python -m jobs.evaluate CONFIG.yaml [dotted.path=value ...]
    python -m jobs.evaluate CONFIG.yaml [dotted.path=value ...] --compare runs/a runs/b

The first writes RUN/evaluation. The second reads what the first has left in the runs that it names, and in the
configuration's own where that was evaluated, and writes RUN/comparison: one table of all models, with intervals, tests
on the same samples and what each model takes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from jobs import _job
from jobs._job import Job, settings_help
from pipeline.config import Config
from pipeline.engine.plans.checks import Needs
from pipeline.errors import ConfigError
from pipeline.runs import Summary

SECTIONS = (
    "run",
    "input",
    "modalities",
    "cleaning",
    "objective",
    "infer",
    "evaluate",
    "cluster",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Evaluates or compares; returns the exit code."""
    options = build_parser().parse_intermixed_args(arguments)
    compared = options.compare or []
    # argparse takes overrides behind the runs for runs.
    settings = [word for word in compared if "=" in word]
    job = JOB if options.compare is None else compare_job([*filter(_is_run, compared)])
    return _job.main(job, [options.config, *options.overrides, *settings, *_job.passed_on(options)])


def _is_run(word: str) -> bool:
    return "=" not in word


def work(config: Config, summary: Summary) -> None:
    """Evaluates; see :func:`pipeline.engine.plans.evaluate.evaluate`."""
    from pipeline.engine.executors.batch import check_bad_fraction
    from pipeline.engine.executors.workplace import Workplace
    from pipeline.engine.plans.evaluate import evaluate

    with Workplace(config.cluster) as workplace:
        evaluate(config, workplace, summary, output(config))
    summary.outputs = {"evaluation": output(config)}
    check_bad_fraction(config, summary, output(config))


def output(config: Config) -> str:
    """The folder written to."""
    return config.folder("evaluation")


def needs(config: Config) -> Needs:
    """What must be there; the label is the bundle's."""
    return Needs(
        {"evaluate.input": config.evaluate.input}, model=True, places=config.evaluate.slices
    )


def plan(config: Config) -> str:
    """What would be read."""
    from pipeline.engine.plans.dry_run import explain_input

    return explain_input(config, {"evaluate.input": config.evaluate.input})


def compare_job(runs: Sequence[str]) -> Job:
    """The job that compares runs with each other, and with the configuration's own where it was evaluated.

    Args:
        runs: Their folders.
    """

    def compare(config: Config, summary: Summary) -> None:
        from pipeline.engine.comparing.runs import FOLDER, compare_runs

        compare_runs(config, named(config), summary, config.folder(FOLDER))

    def named(config: Config) -> dict[str, str]:
        from pipeline.engine.comparing.runs import named_runs

        found = named_runs(config, runs)
        if not found:
            raise ConfigError(
                "there is nothing to compare",
                where="--compare",
                fix="name runs behind it, or evaluate the run of the configuration",
            )
        return found

    return Job(
        name="evaluate",
        about=__doc__ or "",
        output=lambda config: config.folder("comparison"),
        work=compare,
        plan=lambda config: "would compare " + ", ".join(named(config).values()),
        answer=lambda summary: str(summary.report["page"]),
        sections=SECTIONS,
    )


def build_parser() -> argparse.ArgumentParser:
    """The command line of an evaluation."""
    parser = argparse.ArgumentParser(
        prog=_job.program("evaluate"),
        description=__doc__,
        epilog=settings_help(SECTIONS),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _job.add_configuration(parser, SECTIONS)
    parser.add_argument(
        "--compare",
        nargs="*",
        metavar="RUN",
        help="compares evaluated runs, the configuration's own among them, and judges none anew",
    )
    _job.add_flags(parser, "print the configuration and what would be done, and end")
    return parser


JOB = Job(
    name="evaluate",
    about=__doc__ or "",
    output=output,
    work=work,
    plan=plan,
    needs=needs,
    sections=SECTIONS,
)

if __name__ == "__main__":
    sys.exit(main())

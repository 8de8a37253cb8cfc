"""Trains the variants of a configuration with several seeds, one after the other, and compares them.

    python -m jobs.sweep CONFIG.yaml [dotted.path=value ...] [--json] [--dry-run]

Each variant of sweep.variants is trained with each of sweep.seeds in RUN/sweep/NAME/seed-N. What is done with the same
settings is not done again, and a training that was cut short goes on. The test split is looked at once, when all are
trained; then RUN/comparison says what came of it, and which variant the validation split chooses.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from jobs import _job, evaluate, train
from jobs._job import Job
from pipeline.config import Config
from pipeline.engine.plans.checks import Needs
from pipeline.runs import Summary, process_clock

if TYPE_CHECKING:
    from pipeline.engine.comparing.sweep import Variant

SECTIONS = ("run", "input", "modalities", "objective", "train", "evaluate", "sweep", "cluster")


def main(arguments: Sequence[str] | None = None) -> int:
    """Sweeps; returns the exit code."""
    options = build_parser().parse_intermixed_args(arguments)
    flags = ["--json"] * options.json + ["--dry-run"] * options.dry_run
    words = [options.config, *options.overrides, *flags]
    return _job.main(job_for(options.config, options.overrides), words)


def build_parser() -> argparse.ArgumentParser:
    """The command line of a sweep."""
    return _job.parser_for(job_for("", ()))


def job_for(path: str, overrides: Sequence[str]) -> Job:
    """The job that sweeps over the variants of a file.

    Args:
        path: The configuration's file.
        overrides: Of the command line.
    """

    def work(config: Config, summary: Summary) -> None:
        from pipeline.engine.comparing.sweep import compare_variants

        variants = _variants(path, overrides, config)
        configs = [each for variant in variants for each in variant.configs]
        for number, each in enumerate(configs, 1):
            print(f"[{number}/{len(configs)}] {each.run}", file=sys.stderr, flush=True)
            _train(each, summary)
        for each in configs:
            _evaluate(each)
        compare_variants(config, variants, summary, output(config))

    def plan(config: Config) -> str:
        from pipeline.engine.train.record import finished

        lines = [
            f"{each.run}: {'done already' if finished(each) else 'to do'}"
            for variant in _variants(path, overrides, config)
            for each in variant.configs
        ]
        return "\n".join(lines)

    return Job(
        name="sweep",
        about=__doc__ or "",
        output=output,
        work=work,
        plan=plan,
        answer=lambda summary: str(summary.report["page"]),
        sections=SECTIONS,
        after_interrupt="what is trained stays, and the same command goes on from there",
        needs=needs,
    )


def _variants(path: str, overrides: Sequence[str], config: Config) -> list[Variant]:
    from pipeline.engine.comparing.sweep import variants_of

    return variants_of(path, overrides, config)


def output(config: Config) -> str:
    """The folder written to, beside those of the runs."""
    return config.folder("comparison")


def needs(config: Config) -> Needs:
    """What must be there: what each training needs, and what all are judged on."""
    trained = train.needs(config)
    return Needs(
        {**trained.inputs, "evaluate.input": config.evaluate.input}, objective=trained.objective
    )


def _train(config: Config, summary: Summary) -> None:
    """Trains one run, unless it has that model."""
    from pipeline.engine.comparing.sweep import to_train

    training = to_train(config)
    if training is None:
        summary.parts_skipped += 1
        return
    _job.run(train.JOB, training, began=process_clock())
    summary.parts_done += 1


def _evaluate(config: Config) -> None:
    """Judges one run, unless that was done with the model that it has."""
    from pipeline.engine.comparing.sweep import is_evaluated, note_evaluated

    if not is_evaluated(config):
        _job.run(evaluate.JOB, config, began=process_clock())
        note_evaluated(config)


if __name__ == "__main__":
    sys.exit(main())

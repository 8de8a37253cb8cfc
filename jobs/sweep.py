"""Trains the variants of a configuration with several seeds, one after the other or side by side, and compares them.

    python -m jobs.sweep CONFIG.yaml [dotted.path=value ...] [--json] [--dry-run]

Each variant of sweep.variants is trained with each of sweep.seeds in RUN/sweep/NAME/seed-N. What is done with the same
settings is not done again, and a training that was cut short goes on. With sweep.parallel, so many runs are trained at
a time, as trials of Ray Tune. The test split is looked at once, when all are
trained; then RUN/comparison says what came of it, and which variant the validation split chooses.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
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
    words = [options.config, *options.overrides, *_job.passed_on(options)]
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
        with _cluster(config):
            if config.sweep.parallel > 1:
                _side_by_side(configs, config.sweep.parallel, summary)
            else:
                for number, each in enumerate(configs, 1):
                    _tell(number, len(configs), each)
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


def _cluster(config: Config) -> AbstractContextManager[object]:
    """One Ray for all runs, where they are trained side by side."""
    if config.sweep.parallel == 1:
        return nullcontext()
    from pipeline.engine.cluster.session import connect

    return connect(config.cluster)


def _train(config: Config, summary: Summary) -> None:
    """Trains one run, unless it has that model."""
    if _train_rest(config):
        summary.parts_done += 1
    else:
        summary.parts_skipped += 1


def _side_by_side(configs: Sequence[Config], parallel: int, summary: Summary) -> None:
    """Trains the runs that have no model, and then judges all, several at a time.

    A run with a model of other settings is refused before any is trained.
    """
    from pipeline.engine.comparing.sweep import is_evaluated
    from pipeline.engine.comparing.trials import side_by_side
    from pipeline.engine.train.record import finished

    todo = [each for each in configs if finished(each) is None]
    summary.parts_skipped += len(configs) - len(todo)

    def note(config: Config) -> None:
        summary.parts_done += 1
        _tell(summary.parts_skipped + summary.parts_done, len(configs), config)

    side_by_side(_train_rest, todo, parallel, note)
    side_by_side(_evaluate, [each for each in configs if not is_evaluated(each)], parallel)


def _train_rest(config: Config) -> bool:
    """Trains what is left of a run; whether there was anything."""
    from pipeline.engine.comparing.sweep import to_train

    training = to_train(config)
    if training is None:
        return False
    _job.run(train.JOB, training, began=process_clock())
    return True


def _tell(number: int, total: int, config: Config) -> None:
    print(f"[{number}/{total}] {config.run}", file=sys.stderr, flush=True)


def _evaluate(config: Config) -> None:
    """Judges one run, unless that was done with the model that it has."""
    from pipeline.engine.comparing.sweep import is_evaluated, note_evaluated

    if not is_evaluated(config):
        _job.run(evaluate.JOB, config, began=process_clock())
        note_evaluated(config)


if __name__ == "__main__":
    sys.exit(main())

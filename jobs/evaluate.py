"""Judges a bundle on a labelled split, with every subset of its modalities; writes RUN/evaluation."""

from __future__ import annotations

import sys

from jobs._job import Job, main
from pipeline.config import Config
from pipeline.engine.plans.checks import Needs
from pipeline.runs import Summary


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
    return Needs({"evaluate.input": config.evaluate.input}, model=True)


def plan(config: Config) -> str:
    """What would be read."""
    from pipeline.engine.plans.dry_run import explain_input

    return explain_input(config, {"evaluate.input": config.evaluate.input})


JOB = Job(
    name="evaluate",
    about=__doc__ or "",
    output=output,
    work=work,
    plan=plan,
    needs=needs,
    sections=(
        "run",
        "input",
        "modalities",
        "cleaning",
        "objective",
        "infer",
        "evaluate",
        "cluster",
    ),
)

if __name__ == "__main__":
    sys.exit(main(JOB))

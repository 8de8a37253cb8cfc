"""Runs a model over shards and writes embeddings and predictions to Parquet, each sample once."""

from __future__ import annotations

import sys

from jobs._job import Job, main
from pipeline.config import Config
from pipeline.engine.plans.checks import Needs
from pipeline.runs import Summary, process_clock


def work(config: Config, summary: Summary) -> None:
    """Predicts; see :mod:`pipeline.engine.plans.infer`."""
    from pipeline.engine.executors.batch import check_bad_fraction
    from pipeline.engine.executors.workplace import Workplace
    from pipeline.engine.plans.infer import inference_job

    with Workplace(config.cluster) as workplace:
        job = inference_job(config, workplace)
        job.begin()
        summary.first_sample = process_clock()
        job.run(summary)
    summary.outputs = {"embeddings": output(config)}
    check_bad_fraction(config, summary, output(config))


def settle(config: Config, *, follows: bool = False) -> Config:
    """Finds the folder of a new version; see :func:`pipeline.engine.plans.infer.with_version`."""
    if not config.infer.new_version:
        return config
    from pipeline.engine.plans.infer import with_version

    return with_version(config, follows=follows)


def output(config: Config) -> str:
    """The folder written to."""
    return config.folder("embeddings", config.infer.output)


def needs(config: Config) -> Needs:
    """What must be there."""
    return Needs({"infer.input": config.infer.input}, model=True, metadata=config.input.metadata)


def plan(config: Config) -> str:
    """What would be done."""
    from pipeline.engine.plans.dry_run import explain_job
    from pipeline.engine.plans.infer import inference_job

    return explain_job(config, inference_job)


JOB = Job(
    name="infer",
    about=__doc__ or "",
    output=output,
    work=work,
    plan=plan,
    needs=needs,
    settle=settle,
    sections=("run", "input", "modalities", "cleaning", "infer", "sink", "cluster"),
)

if __name__ == "__main__":
    sys.exit(main(JOB))

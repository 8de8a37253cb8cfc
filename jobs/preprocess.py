"""Decodes shards into normalised Parquet, with statistics in stats.json; with sink.kind=none, keeps only these."""

from __future__ import annotations

import sys

from jobs._job import Job, main
from pipeline.config import Config
from pipeline.engine.plans.checks import Needs
from pipeline.runs import Summary, process_clock
from pipeline.sample import KEY, LABEL, MODALITIES, SHARD


def work(config: Config, summary: Summary) -> None:
    """Decodes; see :mod:`pipeline.engine.plans.preprocess`."""
    from pipeline.engine.executors.batch import check_bad_fraction
    from pipeline.engine.executors.workplace import Workplace
    from pipeline.engine.plans.preprocess import preprocess_job, write_statistics
    from pipeline.engine.train.survey import sized

    config, _ = sized(config)  # as the training on what is written will choose
    with Workplace(config.cluster) as workplace:
        job = preprocess_job(config, workplace)
        job.begin()
        summary.first_sample = process_clock()
        job.run(summary)
    summary.outputs = {"decoded": output(config)}
    summary.outputs["statistics"] = write_statistics(config, job, output(config))
    check_bad_fraction(config, summary, output(config))


def output(config: Config) -> str:
    """The folder written to."""
    return config.folder("decoded", config.preprocess.output)


def needs(config: Config) -> Needs:
    """What must be there."""
    inputs = {"preprocess.input": config.preprocess.input}
    label = [LABEL] if config.objective is not None else []
    columns = (KEY, SHARD, MODALITIES, *label, *config.modalities.by_name())
    return Needs(inputs, metadata=config.input.metadata, columns=columns)


def plan(config: Config) -> str:
    """What would be done."""
    from pipeline.engine.plans.dry_run import explain_job
    from pipeline.engine.plans.preprocess import preprocess_job
    from pipeline.engine.train.survey import sized

    return explain_job(sized(config)[0], preprocess_job)


JOB = Job(
    name="preprocess",
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
        "preprocess",
        "sink",
        "cluster",
    ),
)

if __name__ == "__main__":
    sys.exit(main(JOB))

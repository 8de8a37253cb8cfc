"""Trains a model with Ray Train and seals it as a bundle in RUN/model."""

from __future__ import annotations

import sys

from jobs._job import Job, main
from pipeline.config import Config
from pipeline.engine.checks import Needs
from pipeline.runs import Summary


def work(config: Config, summary: Summary) -> None:
    """Trains; see :func:`pipeline.engine.train.train`."""
    from pipeline.engine.batch import check_bad_fraction
    from pipeline.engine.cluster import connect
    from pipeline.engine.train import train

    with connect(config.cluster):
        train(config, summary)
    summary.outputs = {"model": config.folder("model")}
    check_bad_fraction(config, summary, config.run)


def needs(config: Config) -> Needs:
    """What must be there; a validation split only where it is set."""
    inputs = {"input.train": "train"} | ({"input.val": "val"} if config.input.val else {})
    return Needs(inputs, objective=True)


def plan(config: Config) -> str:
    """What would be read."""
    from pipeline.engine.explain import explain_input

    return explain_input(config, {"train": config.input.train, "val": config.input.val})


JOB = Job(
    name="train",
    about=__doc__ or "",
    output=lambda config: config.folder("model"),
    work=work,
    plan=plan,
    needs=needs,
    sections=("run", "input", "modalities", "cleaning", "objective", "train", "cluster"),
)

if __name__ == "__main__":
    sys.exit(main(JOB))

"""Trains a model, with Ray Train or in this process, and seals it as a bundle in RUN/model."""

from __future__ import annotations

import sys

from jobs._job import Job, counts, main
from pipeline.config import Config
from pipeline.engine.plans.checks import Needs
from pipeline.models.bundle import Bundle
from pipeline.models.record import kept_epoch
from pipeline.runs import Summary


def work(config: Config, summary: Summary) -> None:
    """Trains, unless the run has that model; see :func:`pipeline.engine.train.fit.train`."""
    from pipeline.engine.train.record import finished

    summary.outputs = {"model": config.folder("model")}
    bundle = finished(config)
    if bundle is not None:
        summary.parts_skipped = bundle.training["parts"]
        describe(bundle, summary)
        return
    from pipeline.engine.train.fit import train

    describe(train(config, summary), summary)


def describe(bundle: Bundle, summary: Summary) -> None:
    """Tells of a model in the summary: its metrics, and which epoch was kept."""
    epoch = bundle.training["kept"]
    summary.fingerprint = bundle.fingerprint
    summary.metrics |= {**bundle.metrics, "kept_epoch": epoch["epoch"], "epochs": epoch["of"]}
    summary.report["kept"] = kept_epoch(epoch)


def answer(summary: Summary) -> str:
    """The summary for a person, with the epoch that was kept."""
    return f"{counts(summary)}\n  kept     {summary.report['kept']}"


def needs(config: Config) -> Needs:
    """What must be there; a validation split only where it is set."""
    inputs = {"input.train": "train"} | ({"input.val": "val"} if config.input.val else {})
    return Needs(inputs, objective=True)


def plan(config: Config) -> str:
    """What would be read."""
    from pipeline.engine.plans.dry_run import explain_input
    from pipeline.engine.train.record import finished

    bundle = finished(config)
    if bundle is not None:
        return f"done already: {kept_epoch(bundle.training['kept'])}"
    return explain_input(config, {"train": config.input.train, "val": config.input.val})


JOB = Job(
    name="train",
    about=__doc__ or "",
    output=lambda config: config.folder("model"),
    work=work,
    plan=plan,
    needs=needs,
    answer=answer,
    after_interrupt="what was done up to the last checkpoint stays: train.resume=true goes on from there",
    sections=("run", "input", "modalities", "cleaning", "objective", "train", "cluster"),
)

if __name__ == "__main__":
    sys.exit(main(JOB))

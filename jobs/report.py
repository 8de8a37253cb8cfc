"""Writes RUN/report.html: one self-contained page of a run, with its data, training, metrics and examples."""

from __future__ import annotations

import sys

from jobs._job import Job, main
from pipeline import storage
from pipeline.config import Config
from pipeline.runs import Summary, process_clock

PAGE = "report.html"


def work(config: Config, summary: Summary) -> None:
    """Gathers and renders; see :mod:`pipeline.engine.plans.report` and :mod:`pipeline.reports`."""
    from pipeline.engine.plans.report import gather
    from pipeline.reports.page import render

    summary.first_sample = process_clock()
    url = storage.join(config.run, PAGE)
    storage.write_bytes(url, render(gather(config, "CONFIG.yaml")).encode())
    summary.outputs = {"report": url}


def plan(config: Config) -> str:
    """What would be written."""
    return f"would write {storage.join(config.run, PAGE)}"


JOB = Job(
    name="report",
    about=__doc__ or "",
    output=lambda config: config.folder("report"),
    work=work,
    plan=plan,
    sections=("run", "input", "modalities", "objective", "report"),
)

if __name__ == "__main__":
    sys.exit(main(JOB))

"""Looks through shards without decoding them: what is in them, what is wrong, and what preprocessing will cost."""

from __future__ import annotations

import json
import sys

from jobs._job import Job, main
from pipeline import storage
from pipeline.config import Config
from pipeline.errors import BadDataError
from pipeline.inspection.report import LintReport
from pipeline.inspection.table import render
from pipeline.runs import Summary, process_clock
from pipeline.safe_text.redaction import redacted


def work(config: Config, summary: Summary) -> None:
    """Looks through the shards; see :mod:`pipeline.engine.lint.plan`."""
    from pipeline.engine.lint.page import build
    from pipeline.engine.lint.plan import REPORT, check, lint, metrics, stretches
    from pipeline.engine.train.survey import sized

    config, _ = sized(config)  # as preprocess and a training of these samples will choose
    folder = output(config)
    todo = stretches(config)
    summary.first_sample = process_clock()
    findings = lint(config, todo, folder, summary)
    report = redacted(build(config, findings).to_json())
    storage.write_bytes(storage.join(folder, REPORT), json.dumps(report, indent=1).encode())
    summary.report = report
    summary.metrics = metrics(findings)
    summary.outputs = {"report": storage.join(folder, REPORT)}
    try:
        check(config, summary, folder)
    except (
        BadDataError
    ) as error:  # too much is bad, and the table is what tells why: it is shown all the same
        summary.status, summary.exit_code = "failed", error.exit_code
        print(f"{type(error).__name__}: {error}", file=sys.stderr)


def output(config: Config) -> str:
    """The folder written to."""
    return config.folder("lint", config.lint.output)


def answer(summary: Summary) -> str:
    """The table, and where all of it is."""
    return (
        f"{render(LintReport.from_json(summary.report))}\n\nall of it: {summary.outputs['report']}"
    )


def plan(config: Config) -> str:
    """What would be done."""
    from pipeline.engine.lint.plan import explain

    return explain(config)


JOB = Job(
    name="lint",
    about=__doc__ or "",
    output=output,
    work=work,
    plan=plan,
    answer=answer,
    sections=("run", "input", "modalities", "lint", "preprocess", "cluster"),
)

if __name__ == "__main__":
    sys.exit(main(JOB))

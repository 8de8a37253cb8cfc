"""Compares evaluated runs on the same samples."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import storage
from pipeline.config import Config
from pipeline.engine.comparing.baselines import baseline_entrants
from pipeline.engine.plans.evaluate import METRICS, PREDICTIONS
from pipeline.engine.train.progress import read_history
from pipeline.errors import ConfigError
from pipeline.evaluation.common import on_common_samples
from pipeline.evaluation.comparison import Comparison, compare
from pipeline.evaluation.html import to_html
from pipeline.evaluation.judged import (
    Cost,
    Entrant,
    Judged,
    by_sample,
    check_comparable,
    num_parameters,
    short_names,
)
from pipeline.evaluation.page import to_markdown
from pipeline.evaluation.words import choice
from pipeline.metrics.record import EvaluationRecord
from pipeline.models.bundle import Bundle
from pipeline.objectives.base import Judging
from pipeline.objectives.sealed import objective_of
from pipeline.reports.section import Measure
from pipeline.runs import SUMMARY, Summary
from pipeline.sample import KEY, SHARD

FOLDER, CONTENT, TEXT = "comparison", "comparison.json", "comparison.md"
PAGE = "comparison.html"


def judging_of(config: Config) -> Judging:
    """How the configured split is judged."""
    settings = config.evaluate
    split = settings.input if isinstance(settings.input, str) else "input"
    return Judging(split, settings.seed, settings.num_bootstrap)


def named_runs(config: Config, runs: Sequence[str]) -> dict[str, str]:
    """Name in the table -> run: those that are asked for, behind the configuration's own where it was evaluated.

    Args:
        config: The whole configuration.
        runs: Their folders.
    """
    own = [config.run] if storage.exists(_evaluated(config.run, METRICS)) else []
    folders = list(dict.fromkeys(folder.rstrip("/") for folder in (*own, *runs)))
    return dict(zip(short_names(folders), folders, strict=True))


def compare_runs(
    config: Config, runs: Mapping[str, str], summary: Summary, output: str
) -> Comparison:
    """Compares evaluated runs, and writes and reports the comparison.

    Args:
        config: The whole configuration.
        runs: Name in the table -> run.
        summary: Takes the main numbers, and the comparison as its report.
        output: Folder written to.

    Raises:
        ConfigError: A run was not evaluated, or two were judged on different samples.
    """
    entrants = [Entrant(name, (judged(run, config.plugged()),)) for name, run in runs.items()]
    return compare_entrants(config, entrants, summary, output)


def compare_entrants(
    config: Config, entrants: list[Entrant], summary: Summary, output: str, *, chosen: bool = False
) -> Comparison:
    """Compares networks, with cheap baselines beside them where the configuration has them; see :func:`compare_runs`.

    Args:
        config: The whole configuration.
        entrants: The networks.
        summary: Takes the main numbers, and the comparison as its report.
        output: Folder written to.
        chosen: Whether it is said which one the validation split chooses.
    """
    judging, notes = judging_of(config), list[str]()
    if config.evaluate.baselines:
        if not config.evaluate.common_samples:
            check_comparable([model for entrant in entrants for model in entrant.models])
        like = entrants[0].models[0]
        baselines, notes = baseline_entrants(config, like, judging, summary, output)
        entrants = [*entrants, *baselines]
    if config.evaluate.common_samples:
        entrants, words = on_common_samples(entrants, judging)
        notes = [*words, *notes]
    comparison = compare(entrants, judging, notes)
    if chosen:
        comparison = replace(comparison, choice=choice(comparison))
    report(comparison, entrants[0].models[0].objective.section().measure, summary, output)
    return comparison


def report(comparison: Comparison, measure: Measure, summary: Summary, output: str) -> None:
    """Writes the files of a comparison, and puts it into the summary.

    Args:
        comparison: What was found.
        measure: What its models are compared by.
        summary: Takes the main number of each row, and the whole as its report.
        output: Folder written to.
    """
    page = to_markdown(comparison)
    files = {
        CONTENT: json.dumps(comparison.to_json(), ensure_ascii=False, indent=1),
        TEXT: page,
        PAGE: to_html(comparison, measure),
    }
    summary.outputs = {name: storage.join(output, name) for name in files}
    for name, text in files.items():
        storage.write_bytes(summary.outputs[name], text.encode())
    values = {row.name: row.metrics[comparison.metric].value for row in comparison.rows}
    summary.metrics |= {name: value for name, value in values.items() if value is not None}
    summary.report = {"comparison": comparison.to_json(), "page": page}


def judged(run: str, plugged: frozenset[str]) -> Judged:
    """What evaluate has left in a run.

    Args:
        run: Its folder.
        plugged: Classes that a bundle may name.

    Raises:
        ConfigError: It has not been evaluated, or its model is another by now.
        ModelError: Its model cannot be read.
    """
    metrics, summary = (_json(_evaluated(run, name)) for name in (METRICS, SUMMARY))
    if metrics is None or summary is None:
        raise ConfigError(
            "the run has not been evaluated, so there is nothing to compare",
            where=f"--compare {run}",
            fix=f"first run: python -m jobs.evaluate CONFIG.yaml run={run}",
        )
    bundle = Bundle.load(storage.join(run, "model"), plugged)
    if summary["fingerprint"] != bundle.fingerprint:
        raise ConfigError(
            "the run was evaluated with another model than it has now",
            where=f"--compare {run}",
            fix=f"evaluate it again: python -m jobs.evaluate CONFIG.yaml run={run}",
        )
    objective = objective_of(bundle)
    return Judged(
        where=run,
        objective=objective,
        learned=bundle.learned,
        record=EvaluationRecord.from_json(metrics),
        rows=by_sample(_predictions(run)),
        validation=bundle.metrics.get(f"val_{objective.score.name}"),
        cost=Cost(
            parameters=num_parameters(bundle.weights),
            training_seconds=_training_seconds(run),
            samples_per_second=summary["samples_per_second"],
        ),
    )


def _training_seconds(run: str) -> float | None:
    """Of all epochs in the run's log."""
    history = read_history(run)
    seconds = [row.get("seconds", 0.0) + row.get("validation_seconds", 0.0) for row in history]
    return sum(seconds) if seconds else None


def _evaluated(run: str, name: str) -> str:
    return storage.join(run, "evaluation", name)


def _json(url: str) -> Mapping[str, Any] | None:
    try:
        values: Mapping[str, Any] = json.loads(storage.read_bytes(url))
    except FileNotFoundError:
        return None
    return values


def _predictions(run: str) -> pa.Table:
    return pq.read_table(pa.BufferReader(storage.read_bytes(_evaluated(run, PREDICTIONS))))


def predictions_of_both(first: str, second: str) -> tuple[pa.Table, pa.Table]:
    """The predictions in two evaluation folders for the samples that both have judged, in the same order."""
    tables = [
        pq.read_table(str(storage.local_path(storage.join(folder, PREDICTIONS))))
        for folder in (first, second)
    ]
    rows_by_sample = [
        {
            name: row
            for row, name in enumerate(
                zip(table[SHARD].to_pylist(), table[KEY].to_pylist(), strict=True)
            )
        }
        for table in tables
    ]
    both = sorted(rows_by_sample[0].keys() & rows_by_sample[1].keys())
    ours, theirs = (
        table.take([rows[name] for name in both])
        for table, rows in zip(tables, rows_by_sample, strict=True)
    )
    return ours, theirs

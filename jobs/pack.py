"""Packs a folder or a table of files, texts and labels into WebDataset shards, split by hash of the key."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import replace

import pyarrow as pa

from jobs._job import Job, counts, main
from pipeline.config import Config
from pipeline.errors import BadDataError, ConfigError
from pipeline.packing.census import table
from pipeline.packing.config import PackConfig
from pipeline.packing.pack import PackResult, pack
from pipeline.packing.reading import Reading
from pipeline.runs import Summary, process_clock
from pipeline.sample import OUTCOME, QUARANTINE_SCHEMA, QUARANTINED
from pipeline.sinks.quarantine import clear_quarantine, write_rows


def work(config: Config, summary: Summary) -> None:
    """Packs; see :func:`pipeline.packing.pack.pack`.

    Raises:
        BadDataError: More is bad than ``input.max_bad_fraction`` allows; the shards of the rest are in place by then.
    """
    from pipeline.engine.progress import Progress

    section = _section(config)
    summary.first_sample = process_clock()
    with Progress("pack", 0, "samples") as progress:

        def follow(done: int, total: int) -> None:
            progress.total = total
            progress.advance(done - progress.done, done - progress.done)

        result = pack(section, _reading(config), follow)
    summary.samples_read = result.samples_read
    summary.samples_written = result.samples_written
    summary.samples_quarantined = result.samples_quarantined
    summary.reasons = dict(Counter(row.reason for row in result.quarantined))
    summary.parts_done = len(result.shards)
    summary.metrics = {f"samples_{name}": n for name, n in result.samples_per_split.items()}
    summary.report = {"splits": result.census.values(), "notes": result.notes}
    summary.outputs = {"shards": section.output}
    clear_quarantine(section.output)
    if result.quarantined:
        write_rows(section.output, "pack", _rows(result))
    try:
        summary.check_bad(config.input.max_bad_fraction, section.output)
    except BadDataError:
        print("\n".join(_packed(summary)), file=sys.stderr)
        raise


def _reading(config: Config) -> Reading:
    """How the other jobs read what is packed."""
    return Reading(
        modalities=config.modalities,
        metadata=config.input.metadata,
        label=getattr(config.objective, "label", None),
        limits=config.limits,
    )


def _packed(summary: Summary) -> list[str]:
    """What was packed, by split, modality and class, and what looks like a mistake."""
    lines = table(summary.report["splits"])
    return [*lines, *(f"  note: {note}" for note in summary.report["notes"])]


def answer(summary: Summary) -> str:
    """The summary for a person."""
    return "\n".join([counts(replace(summary, metrics={})), *_packed(summary)])


def _rows(result: PackResult) -> pa.Table:
    """The rows that could not be packed; ``shard`` says where in the source they stand."""
    rows = [
        {
            "key": row.key,
            "shard": row.origin,
            "ordinal": row.ordinal,
            "field": row.field,
            "reason": row.reason,
            "detail": row.detail,
            OUTCOME: QUARANTINED,
        }
        for row in result.quarantined
    ]
    return pa.Table.from_pylist(rows, schema=QUARANTINE_SCHEMA)


def _section(config: Config) -> PackConfig:
    if config.pack is None:
        raise ConfigError(
            "there is nothing to pack",
            where="pack",
            fix="set pack.source to a folder or a table, and pack.output to the shards' folder",
        )
    return config.pack


def plan(config: Config) -> str:
    """What would be done."""
    section = _section(config)
    return f"would pack {section.source} into {section.output}/{section.name}-SPLIT-*.tar"


JOB = Job(
    name="pack",
    about=__doc__ or "",
    output=lambda config: _section(config).output,
    work=work,
    plan=plan,
    sections=("run", "input", "modalities", "pack"),
    answer=answer,
    locked=False,
)

if __name__ == "__main__":
    sys.exit(main(JOB))

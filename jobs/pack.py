"""Packs a folder or a table of files, texts and labels into WebDataset shards, split by hash of the key."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace

import pyarrow as pa

from jobs._job import Job, counts, main
from pipeline.config import Config
from pipeline.errors import BadDataError, ConfigError
from pipeline.packing.census import PackedSplit, table
from pipeline.packing.config import PackConfig
from pipeline.packing.pack import PackResult, pack
from pipeline.packing.reading import Reading
from pipeline.runs import Summary, process_clock
from pipeline.safe_text.printable import printable
from pipeline.sample import OUTCOME, QUARANTINE_SCHEMA, QUARANTINED
from pipeline.sinks.quarantine import clear_quarantine, write_rows


def work(config: Config, summary: Summary) -> None:
    """Packs; see :func:`pipeline.packing.pack.pack`.

    Raises:
        BadDataError: More is bad than ``input.max_bad_fraction`` allows; the shards of the rest are in place by then.
    """
    from pipeline.engine.observe.progress import Progress

    section = _section(config)
    summary.first_sample = process_clock()
    with Progress("pack", 0, "samples") as progress:

        def follow(done: int, total: int) -> None:
            progress.total = total
            fresh = done - round(progress.done)
            progress.advance(fresh, fresh)

        result = pack(section, _reading(config), follow)
    splits = {name: asdict(split) for name, split in result.splits.items()}
    summary.report = {"splits": splits, "notes": list(result.notes)}
    summary.metrics = {f"samples_{name}": n for name, n in result.samples_per_split.items()}
    summary.outputs = {"shards": section.output}
    if result.is_done_before:
        summary.parts_skipped = len(result.shards)
    else:
        _count(result, summary)
        clear_quarantine(section.output)
        if result.quarantined:
            write_rows(section.output, "pack", _rows(result))
    _check(result, config)


def _count(result: PackResult, summary: Summary) -> None:
    summary.samples_read = result.samples_read
    summary.samples_written = result.samples_written
    summary.samples_quarantined = result.samples_quarantined
    summary.reasons = dict(result.reasons)
    summary.settings = {reason: list(names) for reason, names in result.settings.items()}
    summary.parts_done = len(result.shards)


def _check(result: PackResult, config: Config) -> None:
    """Raises where too much is bad, also where that was so before; the shards of the rest are in place by then."""
    section = _section(config)
    if not result.samples_written:
        first = result.quarantined[0]
        raise BadDataError(
            f"none of {result.samples_read} samples can be packed; the first: {first.detail}",
            where=f"{first.origin} key={first.key} field={first.field}",
            fix="; ".join([*result.notes, f"look at {section.output}/_quarantine"]),
            reasons=result.reasons,
            settings=result.settings,
        )
    counted = Summary("pack")
    _count(result, counted)
    try:
        counted.check_bad(config.input.max_bad_fraction, section.output)
    except BadDataError:
        print("\n".join(map(printable, _packed(result.splits, result.notes))), file=sys.stderr)
        raise


def _reading(config: Config) -> Reading:
    """How the other jobs read what is packed."""
    return Reading(
        modalities=config.modalities,
        metadata=config.input.metadata,
        target=config.objective.targets() if config.objective else None,
        limits=config.limits,
    )


def _packed(splits: Mapping[str, PackedSplit], notes: Sequence[str]) -> list[str]:
    """What was packed, by split, modality and class, and what looks like a mistake."""
    return [*table(splits), *(f"  note: {note}" for note in notes)]


def answer(summary: Summary) -> str:
    """The summary for a person."""
    splits = {name: PackedSplit(**split) for name, split in summary.report["splits"].items()}
    packed = _packed(splits, summary.report["notes"])
    return "\n".join([counts(replace(summary, metrics={})), *packed])


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
            "setting": row.setting or None,
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

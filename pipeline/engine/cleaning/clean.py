"""Finds copies in the input of a job, and tells its parts which samples to leave out."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np

from pipeline import storage
from pipeline.cleaning import CleaningConfig
from pipeline.cleaning.copies import Signatures, find_copies
from pipeline.cleaning.report import CleaningReport
from pipeline.config import SPLITS, Config, Patterns
from pipeline.engine.cleaning.signing import FOLDER, Signer, load, sign_parts
from pipeline.engine.cleaning.verdict import (
    EXACT,
    LEAK,
    NEAR,
    TRAIN_SPLIT,
    Compared,
    Result,
    Verdict,
)
from pipeline.engine.executors.workplace import Workplace
from pipeline.engine.plans.prepare import plan_parts
from pipeline.logs import event
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.shards.planning.plan import Part
from pipeline.shards.reading.left_out import write_left_out

HELD_OUT = ("val", "test")  # where training samples leak from
METRICS = {EXACT: "duplicates", NEAR: "near_duplicates", LEAK: "leaks"}

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cleaned:
    """A job's parts, and what was found in them.

    Attributes:
        parts: Split -> its parts, in their order.
        digest: Of what is left out; empty where nothing was looked for.
        report: What was found; None where nothing was looked for.
    """

    parts: dict[str, list[Part]]
    digest: str = ""
    report: CleaningReport | None = None

    @property
    def metrics(self) -> dict[str, float]:
        """The numbers of the summary: copies found, those that are only reported included."""
        numbers: dict[str, float] = {}
        for split in self.report.splits.values() if self.report else ():
            for reason, count in split.found.items():
                numbers[METRICS[reason]] = numbers.get(METRICS[reason], 0) + count
        return numbers


Find = Callable[[Sequence[Part], Set[str]], Cleaned]


def cleaning_of(
    config: Config, job: str, wanted: Patterns, decoder: Decoder, workplace: Workplace
) -> Find | None:
    """How a batch job finds what to leave out of its parts, given those that are done; None where nothing is asked for.

    Args:
        config: The whole configuration.
        job: Its name.
        wanted: Its input: a split, or patterns.
        decoder: How its samples are decoded.
        workplace: Who signs them.
    """
    if not config.cleaning.active:
        return None
    split = split_name(wanted)
    return lambda parts, done: clean(config, job, {split: parts}, decoder, workplace, done)


def split_name(wanted: Patterns) -> str:
    """The split that a job's input is; ``input`` where it is another pattern."""
    return wanted if isinstance(wanted, str) and wanted in SPLITS else "input"


def clean(
    config: Config,
    job: str,
    parts: Mapping[str, Sequence[Part]],
    decoder: Decoder,
    workplace: Workplace,
    done: Set[str] = frozenset(),
) -> Cleaned:
    """Looks for copies as the configuration asks, within each split and, for leaks, between them.

    A preprocessed folder has no files left that could be compared; its rows are taken as they are.

    Args:
        config: The whole configuration.
        job: Its name.
        parts: Split -> parts that the job reads. Where ``train`` is among them, leaks are looked for too.
        decoder: How samples are decoded; one that it refuses is no copy.
        workplace: Who signs them.
        done: Names of parts whose rows are written already: of several copies, theirs are kept.
    """
    same = Cleaned({name: list(split_parts) for name, split_parts in parts.items()})
    reasons = _looked_for(config.cleaning, parts)
    if not any(reasons.values()):
        return same
    held = (
        _held_out(config, parts)
        if any(LEAK in split_reasons for split_reasons in reasons.values())
        else {}
    )
    compared = Compared.of({**held, **parts}, done)
    if not compared.parts:
        return same
    result = _compare(config, compared, decoder, list(parts), workplace)
    digest = result.digest()
    url = storage.join(config.run, FOLDER, f"{job}-{digest}.jsonl")
    noted = write_left_out(url, result.left_out())
    noted_parts = {(compared.split(at), part.id): part for at, part in enumerate(noted)}
    report = CleaningReport(
        job=job,
        settings=config.cleaning.model_dump(mode="json"),
        splits=result.counts(reasons),
        parts_not_compared=compared.unread,
        examples=tuple(result.examples()),
    )
    text = json.dumps(report.to_json(), indent=1, ensure_ascii=False)
    storage.write_bytes(storage.join(config.run, FOLDER, f"{job}.json"), text.encode())
    cleaned = Cleaned(
        {
            name: [noted_parts.get((name, part.id), part) for part in split_parts]
            for name, split_parts in parts.items()
        },
        digest,
        report,
    )
    event(logger, "cleaned", job=job, samples=len(result.signed.content), **cleaned.metrics)
    return cleaned


def _looked_for(settings: CleaningConfig, splits: Mapping[str, object]) -> dict[str, list[str]]:
    """Split -> reasons for which its samples may be left out, or counted."""
    copies = {"none": [], "exact": [EXACT], "near": [EXACT, NEAR]}[settings.duplicates]
    leaks = {TRAIN_SPLIT: [LEAK]} if settings.leakage != "none" else {}
    return {name: copies + leaks.get(name, []) for name in splits}


def _held_out(config: Config, parts: Mapping[str, object]) -> dict[str, list[Part]]:
    """The parts of the splits that training samples may leak from and that the job does not read."""
    return {
        name: plan_parts(config, name, f"input.{name}")
        for name in HELD_OUT
        if name not in parts and getattr(config.input, name)
    }


def _compare(
    config: Config,
    compared: Compared,
    decoder: Decoder,
    splits: Sequence[str],
    workplace: Workplace,
) -> Result:
    """Signs all samples and judges them.

    Args:
        config: The whole configuration.
        compared: All parts.
        decoder: How samples are decoded.
        splits: Those that the job reads.
        workplace: Who signs them.
    """
    settings = config.cleaning
    signer = Signer.build(config, decoder)
    sign_parts(signer, compared.parts, workplace)
    signed = load(signer, compared.parts)
    number = compared.splits_of_samples(signed)
    signatures = Signatures(signed.content, number, signed.rows, signed.present)
    copies = find_copies(signatures, signer.comparisons(settings) if settings.near else None)
    read = np.isin(number, [compared.names.index(name) for name in splits])
    return Result(compared, signer, signed, Verdict.judge(settings, copies, read))

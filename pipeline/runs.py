"""The run folder: where a job's files lie, its summary, and the fingerprints that tell two jobs apart."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from typing import Any, Protocol

from pipeline import storage
from pipeline.errors import BadDataError, RunError
from pipeline.safe_text.redaction import redacted

TOKENIZER = "tokenizer.json"
SUMMARY = "summary.json"
METRICS_LOG = "metrics.jsonl"
PROFILE = "profile"  # folder of what --profile writes


class Counts(Protocol):
    """What became of some samples: the ledger of a part (:class:`pipeline.sinks.base.PartResult`), or of more."""

    @property
    def read(self) -> int:
        """Samples, as they were counted where shards are read."""

    @property
    def written(self) -> int:
        """Samples in the output."""

    @property
    def quarantined(self) -> int:
        """Samples in the quarantine."""

    @property
    def filtered(self) -> int:
        """Samples that a filter left out."""

    @property
    def noted(self) -> int:
        """Of those in the output, samples with something odd about them."""

    @property
    def strays(self) -> int:
        """Members of shards that belong to no sample."""

    @property
    def reasons(self) -> Mapping[str, int]:
        """Reason -> samples, fields and damages that have it."""

    @property
    def settings(self) -> Mapping[str, Sequence[str]]:
        """Reason -> the settings that would let through what has it."""


@dataclass(frozen=True)
class Total:
    """The counts of some samples together; see :class:`Counts`."""

    read: int
    written: int
    quarantined: int
    filtered: int
    noted: int = 0
    strays: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)
    settings: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass
class Summary:
    """What a job did; ``summary.json`` in the folder it wrote, and the answer of ``--json``."""

    job: str
    status: str = "done"
    exit_code: int = 0
    samples_read: int = 0
    samples_written: int = 0
    samples_quarantined: int = 0
    samples_filtered: int = 0
    # Of those written: something about them is odd.
    samples_noted: int = 0
    shards_damaged: int = 0
    # Members of shards that belong to no sample; left out where there are none.
    members_passed_over: int = 0
    parts_done: int = 0
    parts_skipped: int = 0
    seconds: float = 0.0
    start_up_seconds: float = 0.0
    samples_per_second: float = 0.0
    fingerprint: str = ""
    metrics: dict[str, float] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    # Why samples, fields and shards are in the quarantine, and how many; left out where nothing is.
    reasons: dict[str, int] = field(default_factory=dict)
    # Reason -> the settings that would let them through; left out where there are none.
    settings: dict[str, list[str]] = field(default_factory=dict)
    # Of a job whose answer is more than counts; left out where it is empty.
    report: dict[str, Any] = field(default_factory=dict)
    first_sample: float | None = field(
        default=None, repr=False
    )  # process_clock when it was asked for

    @property
    def bad_fraction(self) -> float:
        """(quarantined + shards damaged) / (read + shards damaged); 0 where nothing was read."""
        total = self.samples_read + self.shards_damaged
        return (self.samples_quarantined + self.shards_damaged) / total if total else 0.0

    def count(self, counts: Counts) -> None:
        """Adds the ledger of one part, or of several together."""
        self.samples_read += counts.read
        self.samples_written += counts.written
        self.samples_quarantined += counts.quarantined
        self.samples_filtered += counts.filtered
        self.samples_noted += counts.noted
        self.members_passed_over += counts.strays
        for reason, number in counts.reasons.items():
            self.reasons[reason] = self.reasons.get(reason, 0) + number
        for reason, names in counts.settings.items():
            self.settings[reason] = sorted({*self.settings.get(reason, ()), *names})

    def close(self, began: float = 0.0) -> None:
        """Checks the counts and sets the times.

        Args:
            began: :func:`process_clock` when the job began; 0 counts from the start of the process.

        Raises:
            RunError: The counts do not add up, which is a bug.
        """
        accounted = self.samples_written + self.samples_quarantined + self.samples_filtered
        if self.samples_read != accounted:
            raise RunError(
                f"{self.samples_read} samples were read and {accounted} accounted for",
                where=self.job,
                fix="this is a bug: report it with the command and the log",
            )
        now = process_clock()
        self.seconds = round(now - began, 3)
        # Counts of a job that asked for no sample are another's, and so is their rate.
        first = self.first_sample if self.first_sample is not None else now
        self.start_up_seconds = round(first - began, 3)
        if self.first_sample is not None:
            working = max(self.seconds - self.start_up_seconds, 1e-3)
            self.samples_per_second = round(self.samples_read / working, 1)

    def check_bad(self, allowed: float, where: str) -> None:
        """Raises when more is bad than is allowed; what is good is committed by then.

        Args:
            allowed: The bad fraction, ``input.max_bad_fraction``.
            where: The folder with the quarantine.

        Raises:
            BadDataError: Too much is.
        """
        if self.bad_fraction > allowed:
            raise BadDataError(
                f"{self.samples_quarantined} of {self.samples_read} samples are bad and "
                f"{self.shards_damaged} shards are damaged, {self.bad_fraction:.1%} of the input",
                where=where,
                fix=f"look at _quarantine there, or raise input.max_bad_fraction ({allowed})",
                reasons=self.reasons,
                settings=self.settings,
            )

    def to_json(self) -> str:
        """One JSON object, indented."""
        values = asdict(self)
        del values["first_sample"]
        values["reasons"] = dict(sorted(self.reasons.items()))
        for name in ("reasons", "settings", "report", "members_passed_over"):
            if not values[name]:
                del values[name]
        return json.dumps(redacted(values), indent=2, ensure_ascii=False)

    def write(self, folder: str) -> None:
        """Writes ``summary.json`` into ``folder``."""
        storage.write_bytes(storage.join(folder, SUMMARY), self.to_json().encode() + b"\n")


def process_clock() -> float:
    """Seconds since this process was started."""
    ticks = os.sysconf("SC_CLK_TCK")
    try:
        with open("/proc/self/stat", encoding="ascii") as file:
            started = int(file.read().rpartition(")")[2].split()[19]) / ticks
        return time.clock_gettime(time.CLOCK_BOOTTIME) - started
    except (OSError, AttributeError):  # not Linux
        return time.monotonic() - _IMPORTED


_IMPORTED = time.monotonic()


def fingerprint(values: Mapping[str, object] | Sequence[object]) -> str:
    """Digest of JSON-ready values, whatever the order of their keys."""
    text = json.dumps(values, sort_keys=True, ensure_ascii=False, default=str)
    return blake2b(text.encode(), digest_size=16).hexdigest()


def differences(
    there: Mapping[str, object], ours: Mapping[str, object], path: str = ""
) -> Iterator[str]:
    """What is different between two trees of settings, in words."""
    for name in sorted({*there, *ours}):
        before, now = there.get(name), ours.get(name)
        if before == now:
            continue
        if isinstance(before, dict) and isinstance(now, dict):
            yield from differences(before, now, f"{path}{name}.")
        else:
            yield f"{path}{name} was {before!r} and is now {now!r}"

"""The ledger of a run: one JSON file for each logical date, and a page of it that a person reads in the morning."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from pipeline import storage
from pipeline.nightly import FOLDER
from pipeline.safe_text.redaction import redact, redacted

DONE, STOPPED, FAILED = "done", "stopped", "failed"  # stopped: at the deadline, with work left
UNFINISHED = "it has not ended, or was killed"
SHOWN_REASONS = 8


@dataclass
class Attempt:
    """One try at a night.

    Attributes:
        began: When, in UTC, as ISO 8601 has it.
        ended: As ``began``; empty while it is under way, and where it was killed.
        status: ``done``, ``stopped`` or ``failed``.
        exit_code: What it would have been, had this been the only one.
        error: Empty where it went well.
        samples: As the night's, of this attempt alone.
        parts: ``done``, of this attempt alone.
    """

    began: str
    ended: str = ""
    status: str = FAILED
    exit_code: int = 1
    error: str = UNFINISHED
    samples: dict[str, int] = field(default_factory=dict)
    parts: dict[str, int] = field(default_factory=dict)


@dataclass
class Night:
    """What a night did.

    Attributes:
        date: Logical date.
        status: ``done``, ``stopped`` or ``failed``.
        exit_code: Of the job.
        began: When, in UTC, as ISO 8601 has it.
        seconds: That it took, all attempts together, those of earlier runs of the date included.
        attempts: All tries at it, those of earlier runs of the date included, the first first.
        error: Of the last attempt; empty where it went well.
        fingerprint: Of the model.
        shards: ``new``, ``changed``, ``deleted`` and ``unchanged``: how many.
        samples: ``read``, ``written``, ``quarantined`` and ``filtered``, and of the written ``noted``: how many, of all
            attempts.
        parts: ``done``, of all attempts, and ``left``: how many.
        reasons: Reason -> samples, fields and damages.
        profile: What the new rows are like; see :mod:`pipeline.nightly.drift`.
        counted: Identities of the parts whose rows are in this profile, or in an earlier one, and which readers did not
            see when this was written: whoever goes on after a kill does not count them again.
        drift: How far they are from those of the nights before; empty where there is nothing to compare.
        alerts: Thresholds that were crossed, in words.
    """

    date: str
    status: str = FAILED
    exit_code: int = 1
    began: str = ""
    seconds: float = 0.0
    attempts: list[Attempt] = field(default_factory=list)
    error: str = ""
    fingerprint: str = ""
    shards: dict[str, int] = field(default_factory=dict)
    samples: dict[str, int] = field(default_factory=dict)
    parts: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)
    profile: dict[str, object] = field(default_factory=dict)
    counted: list[str] = field(default_factory=list)
    drift: dict[str, float] = field(default_factory=dict)
    alerts: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Ledger:
    """The nights of a run.

    Attributes:
        run: Its folder.
    """

    run: str

    def location(self, date: str, suffix: str = ".json") -> str:
        """The file of a night."""
        return storage.join(self.run, FOLDER, f"{date}{suffix}")

    def write(self, night: Night) -> str:
        """Replaces a night's file and page; returns the page's location."""
        text = json.dumps(redacted(asdict(night)), indent=1, ensure_ascii=False)
        storage.write_bytes(self.location(night.date), text.encode() + b"\n")
        page = self.location(night.date, ".md")
        storage.write_bytes(page, redact(render(night)).encode())
        return page

    def read(self, date: str) -> Night | None:
        """A night; None where nothing is known of it."""
        try:
            values = json.loads(storage.read_bytes(self.location(date)))
        except FileNotFoundError:
            return None
        attempts = values.get("attempts")
        # Earlier versions wrote how many there were.
        values["attempts"] = (
            [Attempt(**values) for values in attempts] if isinstance(attempts, list) else []
        )
        return Night(**values)

    def before(self, date: str, count: int) -> list[Night]:
        """The last nights before a date that did not fail, at most ``count``, the oldest first."""
        nights: list[Night] = []
        for name in reversed([name for name in self._dates() if name < date]):
            night = self.read(name)
            if night is not None and night.status != FAILED:
                nights.append(night)
            if len(nights) == count:
                break
        return nights[::-1]

    def last(self, count: int, before: str | None = None) -> list[Night]:
        """The nights of the last ``count`` dates, or of the last before one, good or not."""
        dates = [name for name in self._dates() if before is None or name < before]
        nights = [self.read(name) for name in dates[-count:]]
        return [night for night in nights if night is not None]

    def _dates(self) -> list[str]:
        """All dates that have a page, ascending."""
        names = [info.url for info in storage.list_files(storage.join(self.run, FOLDER))]
        return sorted(
            name.rpartition("/")[2].removesuffix(".json")
            for name in names
            if name.endswith(".json")
        )


def render(night: Night) -> str:
    """The page, in Markdown."""
    lines = [f"# {night.date}: {night.status}", ""]
    if night.error:
        lines += [f"**{night.error}**", ""]
    lines += [f"- **{alert}**" for alert in night.alerts] + [""] * bool(night.alerts)
    rate = night.samples.get("read", 0) / night.seconds if night.seconds else 0.0
    lines += [
        "| | |",
        "| --- | --- |",
        f"| began | {night.began} |",
        f"| took | {night.seconds:.0f} s, {rate:.0f} samples a second |",
        f"| shards | {_counts(night.shards)} |",
        f"| samples | {_counts(night.samples)} |",
        f"| parts | {_counts(night.parts)} |",
        f"| model | {night.fingerprint} |",
    ]
    lines += _attempts(night.attempts)
    if night.reasons:
        lines += ["", "| reason | |", "| --- | --- |"]
        ranked = sorted(night.reasons.items(), key=lambda each: (-each[1], each[0]))
        lines += [f"| {reason} | {count} |" for reason, count in ranked[:SHOWN_REASONS]]
    if night.drift:
        lines += ["", "| against the nights before | |", "| --- | --- |"]
        lines += [
            f"| {name.replace('_', ' ')} | {value:.4f} |" for name, value in night.drift.items()
        ]
    return "\n".join(lines) + "\n"


def _attempts(attempts: Sequence[Attempt]) -> list[str]:
    """A line each; no table, since errors have bars in them."""
    lines = [""] * bool(attempts)
    for number, attempt in enumerate(attempts, 1):
        counts = _counts(attempt.samples | {f"parts {key}": n for key, n in attempt.parts.items()})
        lines.append(
            f"{number}. {attempt.began} to {attempt.ended or '?'}: {attempt.status}, exit code {attempt.exit_code}; "
            f"{counts}{attempt.error and ': '}{attempt.error}"
        )
    return lines


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items()) or "none"

"""What a job has done, for a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.modalities.known_kinds import meanings
from pipeline.runs import Summary


def counts(summary: Summary) -> str:
    """The summary for a person: what all jobs count."""
    already = " already" if summary.parts_skipped and not summary.parts_done else ""
    lines = [
        f"{summary.job}: {summary.status}{already} in {summary.seconds:.1f} s",
        f"  samples  {summary.samples_read} read, {summary.samples_written} good, "
        f"{summary.samples_quarantined} quarantined, {summary.samples_filtered} filtered, "
        f"{summary.samples_noted} noted; "
        f"{summary.shards_damaged} shards damaged",
        f"  parts    {summary.parts_done} done, {summary.parts_skipped} skipped",
    ]
    lines += reasons_table(summary.reasons, summary.settings)
    shown = {name: value for name, value in summary.metrics.items() if value is not None}
    lines += [f"  {name:<28} {_number(value)}" for name, value in shown.items()]
    lines += [f"  {name:<8} {value}" for name, value in summary.outputs.items()]
    return "\n".join(lines)


def reasons_table(reasons: Mapping[str, int], settings: Mapping[str, Sequence[str]]) -> list[str]:
    """Reasons, what they mean, and the settings that would let samples through; the most frequent first."""
    ordered = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    lines = []
    for reason, number in ordered:
        lines.append(f"  {number:>8}  {reason:<18} {meanings().get(reason, '')}")
        if reason in settings:
            lines.append(f"  {'':>8}  {'':<18} see {', '.join(settings[reason])}")
    return lines


def _number(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)

"""Looks through shards without decoding them, and puts together what was found."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from pipeline.config import SPLITS, Config, Patterns
from pipeline.engine.lint.estimate import TOKENIZER_SAMPLES, Work, estimate
from pipeline.engine.lint.findings import Inspector
from pipeline.engine.lint.tasks import Stretch, connection, look_through, runs_here, smallest
from pipeline.engine.observe.progress import Progress
from pipeline.errors import BadDataError, ConfigError
from pipeline.inspection.census import Census
from pipeline.inspection.duplicates import find_duplicates
from pipeline.inspection.picks import Pick
from pipeline.inspection.report import Duplicates, Estimate
from pipeline.logs import event
from pipeline.runs import Summary
from pipeline.shards.planning.patterns import archives_beside
from pipeline.shards.planning.plan import PART_BYTES, expand, limit, plan
from pipeline.sinks.folder import QUARANTINE
from pipeline.sinks.quarantine import clear_quarantine

logger = logging.getLogger(__name__)

REPORT = "lint.json"
WHOLE = 1 << 62  # larger than any shard: one part a shard
OWN = "input"  # what patterns of lint.input are called in the report


@dataclass
class Findings:
    """All that was found.

    Attributes:
        censuses: Split -> its counts.
        picks: Split -> samples drawn at random.
        duplicates: Keys that come more than once.
        estimate: What preprocessing costs; None where it was not asked for, or nothing can be decoded.
        not_read: What lies beside the shards and would hold samples if it were read -> how many files.
    """

    censuses: dict[str, Census] = field(default_factory=dict)
    picks: dict[str, list[Pick]] = field(default_factory=dict)
    duplicates: Duplicates = field(default_factory=Duplicates)
    estimate: Estimate | None = None
    not_read: Counter[str] = field(default_factory=Counter)

    def total(self, splits: Sequence[str] | None = None) -> Census:
        """The counts of some splits together, of all by default."""
        total = Census()
        for split in self.censuses if splits is None else splits:
            total.merge(self.censuses[split])
        return total


def stretches(config: Config) -> list[Stretch]:
    """The shards to look through, at most ``input.max_samples`` samples of each split.

    Raises:
        ConfigError: No split is set, or one that is named is not, or nothing matches.
    """
    stretches_found = []
    for split, patterns in _inputs(config).items():
        shards = expand(patterns, where=f"{'lint' if split == OWN else 'input'}.{split}")
        sizes = {shard.url: shard.size for shard in shards}
        parts = plan(shards, WHOLE)
        if config.input.max_samples is not None:
            parts = limit(parts, config.input.max_samples)
        stretches_found += [
            Stretch(split, p, sizes[p.url] if p.end is None else p.end) for p in parts
        ]
    return stretches_found


def _inputs(config: Config) -> dict[str, Patterns]:
    patterns = config.lint.input
    names = [patterns] if isinstance(patterns, str) else list(patterns or [])
    if patterns is None:
        names = [name for name in SPLITS if getattr(config.input, name)]
        if not names:
            raise ConfigError(
                "there is nothing to look at",
                where="input",
                fix="set input.train, input.val or input.test, or lint.input to a pattern",
            )
    if all(name in SPLITS for name in names):
        return {name: config.patterns(name, "lint.input") for name in names}
    return {OWN: patterns or []}


def lint(config: Config, todo: Sequence[Stretch], output: str, summary: Summary) -> Findings:
    """Looks through shards; quarantine rows are written on the way.

    Args:
        config: The configuration.
        todo: From :func:`stretches`.
        output: The folder of the quarantine.
        summary: Gets the counts.

    Raises:
        InputError: A shard is gone, or cannot be reached.
    """
    clear_quarantine(output)
    num_picks = config.lint.estimate_samples
    texts = TOKENIZER_SAMPLES if num_picks and config.modalities.tokenized() else 0
    inspector = Inspector(config, max(num_picks, texts))
    size = sum(stretch.size for stretch in todo)
    where = "this_process" if runs_here(todo) else "workers"
    event(logger, "lint", shards=len(todo), bytes=size, on=where)
    splits = list(dict.fromkeys(stretch.split for stretch in todo))
    findings = Findings({name: Census() for name in splits}, {name: [] for name in splits})
    with connection(config.cluster, todo), Progress("lint", len(todo), "shards") as progress:
        for split, result in look_through(inspector, todo, output, progress):
            findings.censuses[split].merge(result.census)
            picks = [*findings.picks[split], *result.picks]
            findings.picks[split] = smallest(picks, inspector.num_picks)
    _count(summary, findings.total())
    findings.duplicates = find_duplicates(findings.censuses)
    for patterns in _inputs(config).values():
        for pattern in [patterns] if isinstance(patterns, str) else patterns:
            findings.not_read += archives_beside(pattern)
    if num_picks:
        _estimate(config, findings, inspector.num_picks)
    return findings


def _count(summary: Summary, total: Census) -> None:
    summary.samples_read = total.read
    summary.samples_quarantined = total.bad
    summary.samples_written = total.good
    summary.samples_noted = total.noted
    summary.members_passed_over = total.strays.total()
    summary.shards_damaged = total.shards_damaged
    summary.parts_done = total.shards


def _estimate(config: Config, found: Findings, num_picks: int) -> None:
    """Estimates ``preprocess`` of its own input, or of all that was linted where that is another."""
    patterns = config.preprocess.input
    is_split = isinstance(patterns, str) and patterns in found.censuses
    splits = (str(patterns),) if is_split else tuple(found.censuses)
    total = found.total(splits)
    good = total.samples - total.bad
    fields = {name for section in config.modalities.by_name().values() for name in section.fields}
    used = sum(sizes.total for name, sizes in total.field_bytes.items() if name in fields)
    largest_shard = max((len(keys) for _, keys in total.keys), default=0)
    in_a_part = int(PART_BYTES * total.samples / max(1, total.bytes)) + 1
    work = Work(
        splits=splits,
        samples=good,
        bytes=used * good / max(1, total.samples),
        parts=max(total.shards, -(-total.bytes // PART_BYTES)),
        largest_part=min(largest_shard, in_a_part),
    )
    picks = [pick for split in splits for pick in found.picks[split]]
    found.estimate = estimate(config, smallest(picks, num_picks), work)


def check(config: Config, summary: Summary, output: str) -> None:
    """Raises where more is bad than the configuration allows, or nothing can be read at all.

    Raises:
        BadDataError: It is so.
    """
    allowed = config.input.max_bad_fraction
    if summary.bad_fraction <= allowed and (summary.samples_read or not summary.shards_damaged):
        return
    raise BadDataError(
        f"{summary.samples_quarantined} of {summary.samples_read} samples are bad and "
        f"{summary.shards_damaged} shards are damaged, {summary.bad_fraction:.1%} of the input",
        where=output,
        fix=f"look at {QUARANTINE} there, or raise input.max_bad_fraction ({allowed})",
    )


def metrics(found: Findings) -> dict[str, float]:
    """The numbers of the summary."""
    total = found.total()
    shared = found.duplicates
    counts: dict[str, float] = {
        "members": total.members,
        "bytes": total.bytes,
        "keys_in_two_splits": sum(repeats.keys for repeats in shared.across_splits.values()),
        "keys_in_two_shards": sum(repeats.keys for repeats in shared.across_shards.values()),
        "members_misnamed": sum(total.misnamed.values()),
        "samples_unlabelled": sum(total.unlabelled.values()),
    }
    if found.estimate is not None:
        names = ("decode_cpu_seconds", "write_cpu_seconds", "output_bytes", "peak_memory_bytes")
        counts |= {f"preprocess_{name}": getattr(found.estimate, name) for name in names}
    return counts


def explain(config: Config) -> str:
    """What would be looked through, and where."""
    todo = stretches(config)
    lines = []
    for split in dict.fromkeys(stretch.split for stretch in todo):
        sizes = [stretch.size for stretch in todo if stretch.split == split]
        lines.append(f"{split}: {len(sizes)} shards, {sum(sizes) / 2**20:.1f} MiB")
    where = "this process" if runs_here(todo) else "Ray workers"
    return "\n".join([*lines, f"would look through them in {where}"])

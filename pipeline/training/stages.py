"""Where the time of a training goes: seconds of each stage of its steps, and what to do about the longest."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

STAGES: Mapping[str, tuple[str, str]] = {
    "waiting": (
        "waiting for data",
        "train.cache=memory or disk decodes once; a cluster with more CPUs decodes faster",
    ),
    "copying": (
        "copying and augmenting batches",
        "train.augment=false, or fewer changes in modalities.NAME.augment",
    ),
    "computing": (
        "computing",
        "train.precision=bfloat16 on a GPU, a smaller encoder, or more cluster.workers",
    ),
    "communicating": (
        "adding up gradients of the workers",
        "a larger train.batch_size, or fewer cluster.workers: all wait for the slowest",
    ),
    "saving": (
        "writing checkpoints",
        "a larger train.checkpoint_every.seconds, or a faster disk for the run",
    ),
}
"""Stage -> what it is in words, and what makes it shorter."""
SUFFIX, MOST = (
    "_seconds",
    "most_",
)  # of a row: waiting_seconds is the workers' mean, most_waiting_seconds the longest
WORTH_TELLING = 0.03  # share of the time from which on a stage beside computing is told


class StageClock:
    """Tells time to the stages of a training's steps, without a gap.

    On a GPU this is the time of the process, which runs ahead of the device: what the device is still computing counts
    where the process waits for it.

    Args:
        now: A clock, seconds.

    Attributes:
        seconds: Stage -> seconds since the last :meth:`start`.
    """

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        self.start()

    def start(self) -> None:
        """Begins anew."""
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._last = self._now()

    def lap(self, stage: str) -> None:
        """What has passed since the last lap belongs to a stage."""
        now = self._now()
        self.seconds[stage] += now - self._last
        self._last = now

    @contextmanager
    def within(self, stage: str, around: str) -> Iterator[None]:
        """What happens inside belongs to a stage, what was before it to the one around it."""
        self.lap(around)
        try:
            yield
        finally:
            self.lap(stage)


def stage_columns(
    means: Mapping[str, float], workers: Sequence[Mapping[str, float]]
) -> dict[str, float]:
    """The seconds of an epoch's stages as numbers of its row.

    Args:
        means: Stage -> mean of the workers.
        workers: Of each worker, stage -> seconds; the longest is told where there are several.
    """
    columns = {f"{stage}{SUFFIX}": round(means.get(stage, 0.0), 3) for stage in STAGES}
    if len(workers) > 1:
        for stage in STAGES:
            longest = max(seconds.get(stage, 0.0) for seconds in workers)
            columns[f"{MOST}{stage}{SUFFIX}"] = round(longest, 3)
    return columns


def bottleneck(history: Sequence[Mapping[str, float]]) -> str:
    """A sentence on where the time of a training went, and which setting to change.

    The first epoch, which decodes, counts only where there is no other.

    Args:
        history: A row an epoch.

    Returns:
        Empty where no row tells.
    """
    rows = [row for row in history if f"computing{SUFFIX}" in row]
    rows = rows[1:] or rows
    seconds = {stage: sum(row.get(f"{stage}{SUFFIX}", 0.0) for row in rows) for stage in STAGES}
    total = sum(seconds.values())
    if total <= 0:
        return ""
    ordered = sorted(STAGES, key=lambda stage: -seconds[stage])
    first = ordered[0]
    told = [
        f"{seconds[stage] / total:.0%} {STAGES[stage][0]}"
        for stage in ordered
        if stage == first or seconds[stage] >= WORTH_TELLING * total
    ]
    what = f"Of the training's time, {', '.join(told)}"
    # Computing is what a training is for: another stage is in its way as soon as it counts.
    others = [stage for stage in ordered if stage != "computing"]
    slow = others[0] if seconds[others[0]] >= 0.1 * total else first
    return f"{what}. To shorten {STAGES[slow][0]}: {STAGES[slow][1]}."

"""What a worker counts in an epoch."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

import pyarrow as pa
import torch

from pipeline.sample import KEY, SHARD
from pipeline.training.state import Position
from pipeline.training.steps import Taken

SUM = "sum_"  # before the names of what the network counts
SHOWN = 5  # keys that an error names


class Tally:
    """Counts the steps of an epoch, behind what was counted before an interruption.

    Args:
        start: Where the epoch goes on; what was counted before is of all workers, and the first one has it.
        is_first: Whether this is the first worker.
        device: Where sums are kept.

    Attributes:
        learning_rate: Of the last step.
        left_out: Steps that moved no weights.
        steps: Steps that were taken, those before the interruption among them.
    """

    def __init__(self, start: Position, *, is_first: bool, device: torch.device) -> None:
        before = start if is_first else Position()
        self.learning_rate = start.learning_rate
        self.left_out, self.steps = start.left_out, start.steps
        self._given, self._samples = before.given, before.samples
        self._sums = {
            name: torch.tensor(value, dtype=torch.float64, device=device)
            for name, value in before.sums.items()
        }

    def add(self, taken: Taken, rows: int, learning_rate: float) -> None:
        """Counts a step; of one that was left out the network's counts are none.

        Args:
            taken: The step.
            rows: Of this worker's share.
            learning_rate: Of the step.
        """
        self.steps += 1
        self.learning_rate = learning_rate
        self._given += rows
        if taken.left_out:
            self.left_out += 1
            return
        for name, value in taken.counted.items():
            self._sums[name] = self._sums.get(name, torch.zeros_like(value)) + value.detach()

    def numbers(self, samples: int) -> dict[str, float]:
        """What is to be added up over the workers.

        Args:
            samples: Different samples that this worker was given since the epoch went on.
        """
        numbers = {f"{SUM}{name}": float(value) for name, value in self._sums.items()}
        return {**numbers, "rows": self._given, "samples": self._samples + samples}


def sums_of(totals: Mapping[str, float]) -> dict[str, float]:
    """What the network counted, of the sum of all workers' numbers."""
    return {name.removeprefix(SUM): value for name, value in totals.items() if name.startswith(SUM)}


class RecentKeys:
    """The samples of the last steps, for an error that is seen only later.

    Args:
        steps: How many steps are kept.
    """

    def __init__(self, steps: int) -> None:
        self._kept: deque[tuple[int, pa.Table | None]] = deque(maxlen=steps)

    def add(self, step: int, samples: pa.Table | None) -> None:
        """Notes a step's samples; see :attr:`pipeline.training.feed.Feed.keys`."""
        self._kept.append((step, samples))

    def where(self, step: int) -> str:
        """The samples of a step in words; empty where they are not known."""
        return next((words(samples) for kept, samples in self._kept if kept == step), "")


def words(samples: pa.Table | None) -> str:
    """Shards and keys of some samples, the first of them by name."""
    if samples is None or not samples.num_rows:
        return ""
    shards = _named(samples[SHARD].unique().to_pylist())
    return f"shard={shards} keys={_named(samples[KEY].to_pylist())}"


def _named(names: Sequence[object]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(map(str, names[:SHOWN])) + more

"""What a bundle says of its training: which settings in which epochs, which epoch was kept, on which shards."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NotRequired, TypedDict

CHECKPOINTS, LAST, BEST = "checkpoints", "last.pt", "best.pt"  # in the run folder
EARLIER = "earlier-"  # begin of the names of checkpoints before the last
SIZED_FOR = (
    "sized_for"  # in a recipe: training samples that settings were chosen for which nobody had said
)
ROWS = "rows_"  # before a split's name, in the row of an epoch: different samples that all workers were given
PROGRESS = "progress.json"  # in the checkpoints' folder: how far an epoch is


TIME_IS_OVER = "the time of train.max_seconds was over"  # why a training ended


class EpochRange(TypedDict):
    """Epochs that were trained with the same settings.

    Attributes:
        first: Number of the first, from 1.
        last: Number of the last.
        settings: The settings.
    """

    first: int
    last: int
    settings: dict[str, Any]


class Kept(TypedDict):
    """The epoch whose weights a bundle has.

    Attributes:
        epoch: Its number, from 1.
        of: Epochs that were trained.
        chosen_by: The number that was best in it, such as ``val_loss``; ``train_loss`` without a validation split.
        best: Number of the epoch that was best in it, where that is another: what was kept is no worse by more than
            chance.
        stopped_before: Epochs that were asked for, where training ended early.
        since: Why it did; where that is not said, it had got no better.
    """

    epoch: int
    of: int
    chosen_by: str
    best: NotRequired[int]
    stopped_before: NotRequired[int]
    since: NotRequired[str]


def extended(
    ranges: Sequence[EpochRange], settings: Mapping[str, object], epoch: int
) -> list[EpochRange]:
    """The ranges with one more epoch.

    Args:
        ranges: Of the epochs before.
        settings: Of this epoch.
        epoch: Its number, from 1.
    """
    if ranges and ranges[-1]["settings"] == settings:
        return [*ranges[:-1], {**ranges[-1], "last": epoch}]
    return [*ranges, {"first": epoch, "last": epoch, "settings": dict(settings)}]


@dataclass(frozen=True)
class Score:
    """The number that says how good an epoch is.

    Attributes:
        name: Of the metric, as the objective's ``metrics`` names it.
        direction: Whether the highest or the lowest is the best.
        otherwise: What says it in a training without this number, in any of whose epochs it is undefined.
        is_share: Whether it is a mean over samples of numbers from 0 to 1, as a share of right answers is.
    """

    name: str
    direction: Literal["max", "min"]
    otherwise: Score | None = None
    is_share: bool = False

    def column(self, row: Mapping[str, float]) -> str:
        """Its name in an epoch's row: of the validation split where that was looked at."""
        score = self._of(row)
        return f"val_{score.name}" if f"val_{score.name}" in row else f"train_{score.name}"

    def rank(self, row: Mapping[str, float]) -> float:
        """How good an epoch is; the higher, the better, and a number that is none is the worst."""
        value = row.get(self.column(row), math.nan)
        if math.isnan(value):
            return -math.inf
        return value if self._of(row).direction == "max" else -value

    def is_as_good(self, row: Mapping[str, float], best: float) -> bool:
        """Whether an epoch is no worse than the best rank so far, its own included, by more than chance.

        That is one standard error on the validation split. Where it is not known, and on the training split, which says
        nothing of the error, no epoch is as good as a better one.

        Source:
            Breiman et al. 1984, "Classification and regression trees", the one-standard-error rule.
        """
        return self.rank(row) >= best - self._standard_error(row)

    def _standard_error(self, row: Mapping[str, float]) -> float:
        """Of a share, which is the largest that a mean of numbers from 0 to 1 can have; 0 where it is not known."""
        column, count = self.column(row), row.get(f"{ROWS}val", 0)
        if not self._of(row).is_share or not column.startswith("val_") or not count:
            return 0.0
        share = min(1.0, max(0.0, row[column]))
        return math.sqrt(share * (1.0 - share) / count)

    def _of(self, row: Mapping[str, float]) -> Score:
        """This score where the row has it."""
        is_there = {f"val_{self.name}", f"train_{self.name}"} & row.keys()
        return self if is_there or self.otherwise is None else self.otherwise


def kept_epoch(kept: Mapping[str, object] | None) -> str:
    """Which epoch was kept, in words; empty where it is not known."""
    if not kept:
        return ""
    how = "the best by the validation split"
    if "best" in kept:
        how = f"within chance of the best by the validation split, epoch {kept['best']}"
    if not str(kept["chosen_by"]).startswith("val_"):
        how = "chosen on the training data, since there was no validation split"
    early = ""
    if "stopped_before" in kept:
        early = (
            f"; training stopped early after epoch {kept['of']} of {kept['stopped_before']}, since "
            f"{kept.get('since', str(kept['chosen_by']) + ' had got no better')}"
        )
    return f"epoch {kept['epoch']} of {kept['of']}, {how}{early}"


def seen_in_words(seen: Mapping[str, int]) -> str:
    """Warns that a model is judged on what it has seen.

    Args:
        seen: Split of the training -> how many of the shards that it is judged on are of it, and ``of`` how many.
    """
    parts = [
        f"{count} of the {seen['of']} shards {'chose its epoch' if split == 'val' else 'were in its training set'}"
        for split, count in seen.items()
        if split != "of"
    ]
    return (
        f"the model is judged on what it has seen: {' and '.join(parts)}, so the metrics flatter it"
    )

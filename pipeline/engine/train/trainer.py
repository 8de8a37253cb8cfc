"""What a trainer is: whoever decodes and trains, in this process or on Ray."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from pipeline.engine.train.decoding import GoodRows
from pipeline.engine.train.worker import Job
from pipeline.shards.planning.plan import Part
from pipeline.training.parts import PartRows


class Trainer(Protocol):
    """Where a training is done: in this process, or on Ray."""

    def decode(
        self,
        splits: Mapping[str, Sequence[Part]],
        rows: GoodRows,
        *,
        keep: bool,
        embedding: Job | None = None,
    ) -> dict[str, list[PartRows]]:
        """Decodes all parts once, so that what is good is known before the first epoch.

        Args:
            splits: Split -> its parts.
            rows: How they are decoded.
            keep: Whether their tables stay for the epochs.
            embedding: The training whose frozen networks see each sample that is kept; what they make of it is kept in
                place of its values. None keeps what was decoded.

        Returns:
            Split -> its parts, in the same order.
        """

    def fit(self, job: Job, splits: Mapping[str, Sequence[PartRows]]) -> dict[str, float]:
        """Trains, with checkpoints in the run folder.

        Args:
            job: What is trained.
            splits: What :meth:`decode` returned.

        Returns:
            For the summary, what has happened beside the training: how often its workers were started again.
        """

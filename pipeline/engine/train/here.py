"""Training in this process, without Ray: one worker, on the CPUs or the GPU of this machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa
import torch

from pipeline.engine.executors.here import HereExecutor
from pipeline.engine.train.decoding import GoodRows
from pipeline.engine.train.kept import KeptTables
from pipeline.engine.train.worker import Job, Splits, frozen_features, train_share
from pipeline.shards.planning.plan import Part
from pipeline.training.parts import PartRows
from pipeline.training.ranks import LocalRanks


class HereTrainer:
    """Trains in this process, beside its decoding processes; see :class:`pipeline.engine.train.trainer.Trainer`.

    Args:
        executor: Decodes.
        kept: Takes the decoded parts that stay.
    """

    def __init__(self, executor: HereExecutor, kept: KeptTables) -> None:
        self._executor, self._kept = executor, kept
        self._rows: GoodRows | None = None

    def decode(
        self,
        splits: Mapping[str, Sequence[Part]],
        rows: GoodRows,
        *,
        keep: bool,
        embedding: Job | None = None,
    ) -> dict[str, list[PartRows]]:
        """Decodes all parts on all cores, while this process runs frozen networks."""
        self._rows = rows
        features = embedding and frozen_features(embedding, _device(embedding))
        described: dict[str, list[PartRows]] = {split: [] for split in splits}
        for split, parts in splits.items():
            for part, table in zip(parts, self.tables(parts), strict=True):
                described[split].append(rows.describe(part, table))
                if keep and part.id not in self._kept:  # a shard may be of two splits
                    self._kept[part.id] = features(table, split) if features else table
        return described

    def fit(self, job: Job, splits: Mapping[str, Sequence[PartRows]]) -> dict[str, float]:
        """Trains with one worker, of which there is nothing to tell."""
        train_share(job, Splits(splits, self.tables), LocalRanks(), _device(job))
        return {}

    def tables(self, parts: Sequence[Part]) -> Iterator[pa.Table]:
        """The good samples of parts that :meth:`decode` has seen, in their order."""
        assert self._rows is not None, "decode() comes first"
        if parts and parts[0].id in self._kept:
            yield from (self._kept[part.id] for part in parts)
            return
        for table in self._executor.in_order(parts, self._rows.decoder):
            yield self._rows.good(table)


def _device(job: Job) -> torch.device:
    return torch.device("cuda" if job.config.cluster.gpus_per_worker else "cpu")

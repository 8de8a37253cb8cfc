"""What a training's workers take, written down where they take it: ``python -m bench.soak.taken CONFIG [SETTING ...]``.

The job is ``jobs.train``, but each worker writes a line for each of its shares of a batch into RUN/taken/, before it
computes anything of it. What was taken and lost with a killed worker is there too; :func:`read_epochs` tells which of
two lines about one batch is that of the model.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

FOLDER = "taken"


@dataclass(frozen=True)
class Share:
    """What one worker took of one batch.

    Attributes:
        team: The workers that were started with it.
        rank: Of the worker.
        size: Workers of the team.
        epoch: Counted from 0.
        end: Position in the epoch behind the batch.
        keys: Of its samples; none where it has no share of the batch.
        seconds: When, in seconds since 1970.
    """

    team: str
    rank: int
    size: int
    epoch: int
    end: int
    keys: Sequence[str]
    seconds: float


def main() -> int:
    from jobs import _job, train
    from pipeline.engine.train import on_ray

    on_ray._worker = counting_worker
    return _job.main(train.JOB, sys.argv[1:])


def counting_worker(job: Any, splits: Any, tables: Any) -> None:
    """Does what a worker does, and writes down what it takes."""
    import ray.train

    from pipeline.sample import KEY, SHARD
    from pipeline.training.feed import LaneFeed

    context, batch_of = ray.train.get_context(), LaneFeed._batch
    team = f"{os.environ.get('MASTER_PORT', '')}-{time.time() if context.get_world_size() == 1 else ''}"
    folder = Path(job["config"]["run"]) / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    file = os.open(folder / f"{os.getpid()}-{time.time_ns()}.jsonl", os.O_WRONLY | os.O_CREAT)

    def batch(feed: LaneFeed, pieces: Any, epoch: int) -> Any:
        tables = [piece.table.select([SHARD, KEY]) for piece in pieces if piece.table.num_rows]
        rows = pa.concat_tables(tables).to_pylist() if tables else []
        share = Share(
            team,
            context.get_world_rank(),
            context.get_world_size(),
            epoch,
            feed.position,
            [f"{Path(row[SHARD]).name}/{row[KEY]}" for row in rows],
            time.time(),
        )
        os.write(file, (json.dumps(vars(share)) + "\n").encode())
        return batch_of(feed, pieces, epoch)

    LaneFeed._batch = batch  # type: ignore[method-assign]
    _WORKER(job, splits, tables)


def read_shares(run: Path) -> list[Share]:
    """All that were taken in a run, in the order of time; a line that a kill has cut is left out."""
    shares = []
    for file in (run / FOLDER).glob("*.jsonl"):
        lines = file.read_text("utf-8").split("\n")
        shares += [Share(**json.loads(line)) for line in lines[:-1]]
    return sorted(shares, key=lambda share: share.seconds)


def read_epochs(shares: Sequence[Share], *, is_ended: bool = True) -> list[Counter[str]]:
    """For each epoch how often the model has seen each sample.

    A team goes on behind a checkpoint of those before it: of a batch that several have taken, the last one's counts.

    Args:
        shares: What :func:`read_shares` gives.
        is_ended: Whether the training went to its end; else its last epoch, which was cut off, is left out.

    Raises:
        ValueError: A worker of the team that counts has not taken part in a batch.
    """
    began: dict[str, float] = {}
    batches: dict[tuple[int, int], dict[str, dict[int, Share]]] = defaultdict(dict)
    for share in shares:
        began.setdefault(share.team, share.seconds)
        batches[share.epoch, share.end].setdefault(share.team, {})[share.rank] = share
    epochs: dict[int, Counter[str]] = defaultdict(Counter)
    last = max((epoch for epoch, _ in batches), default=-1)
    for (epoch, end), teams in batches.items():
        if epoch == last and not is_ended:
            continue
        team = max(teams, key=began.__getitem__)
        size = next(iter(teams[team].values())).size
        if sorted(teams[team]) != list(range(size)):
            raise ValueError(
                f"epoch {epoch}, batch up to {end}: ranks {sorted(teams[team])} of {size}"
            )
        for share in teams[team].values():
            epochs[epoch].update(share.keys)
    return [epochs[epoch] for epoch in range(max(epochs, default=-1) + 1)]


def _own_worker() -> Any:
    from pipeline.engine.train import on_ray

    return on_ray._worker


_WORKER = _own_worker()

if __name__ == "__main__":
    from bench.soak import taken  # workers know it by this name

    sys.exit(taken.main())

"""What all configurations share: the command line, the passes and their times, and the answer on stdout."""

from __future__ import annotations

import argparse
import glob
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pipeline.runs import process_clock

BATCH_SAMPLES = 256  # a consumer's batch; what Ray Data hands over unless told otherwise


class Batch(NamedTuple):
    """What a consumer is handed.

    Attributes:
        samples: How many.
        arrays: Makes (B, 224, 224, 3) uint8, (B, 80, N) float16 and the ids of each text; called for the first batch
            of a pass alone unless all are checked, so that it may cost something. None where all went to files.
    """

    samples: int
    arrays: Callable[[], tuple[np.ndarray, np.ndarray, Sequence[Any]]] | None


Pass = Callable[[], Iterator[Batch]]
Peer = Callable[[argparse.Namespace], AbstractContextManager[Pass]]


@dataclass
class Tally:
    """What a pass has handed over, and how it looks.

    Attributes:
        samples: How many.
        first: When the first batch came, on the clock that starts with the process.
        shapes: Of one image, of one spectrogram, and the number of ids of the longest text seen.
        sums: Of pixels, decibels and ids; of all samples where all are checked.
    """

    samples: int = 0
    first: float = 0.0
    shapes: dict[str, Any] = field(default_factory=dict)
    sums: dict[str, float] = field(default_factory=dict)

    def add(self, batch: Batch, *, check: bool) -> None:
        """Counts a batch."""
        if not self.samples:
            self.first = process_clock()
        if batch.arrays is not None and (check or not self.samples):
            self._look(*batch.arrays())
        self.samples += batch.samples

    def _look(self, images: np.ndarray, mels: np.ndarray, ids: Sequence[Any]) -> None:
        longest = max(len(one) for one in ids)
        self.shapes = {
            "image": [*images.shape[1:], str(images.dtype)],
            "audio": [*mels.shape[1:], str(mels.dtype)],
            "text": max(longest, self.shapes.get("text", 0)),
        }
        sums = {
            "image": float(images.mean(axis=(1, 2, 3), dtype=np.float64).sum()),
            "audio": float(mels.mean(axis=(1, 2), dtype=np.float64).sum()),
            "text": float(sum(np.asarray(one, dtype=np.int64).sum() for one in ids)),
        }
        for name, value in sums.items():
            self.sums[name] = self.sums.get(name, 0.0) + value


def parser(about: str | None, kernels: Sequence[str] = ("conventional", "ours")) -> Any:
    """The options that every configuration understands."""
    options = argparse.ArgumentParser(description=about)
    options.add_argument("--shards", required=True, help="the input files, as a glob")
    options.add_argument("--tokenizer", type=Path, required=True, help="the tokenizer's JSON")
    options.add_argument("--kernels", choices=kernels, default=kernels[0])
    options.add_argument("--passes", type=int, default=1)
    options.add_argument("--write", type=Path, help="a folder for Parquet, instead of batches")
    options.add_argument("--check", action="store_true", help="sum up every array, unmeasured")
    return options


def written(folder: Path) -> Batch:
    """What lies in a folder of Parquet files, as a batch of all that was written."""
    from pyarrow import parquet

    paths = sorted(folder.rglob("*.parquet"))
    rows = sum(parquet.read_metadata(path).num_rows for path in paths)
    return Batch(rows, None)


def files(pattern: str) -> list[str]:
    """The files that a glob matches, by name.

    Raises:
        SystemExit: None does.
    """
    found = sorted(glob.glob(pattern))
    if not found:
        raise SystemExit(f"no file matches {pattern}")
    return found


def run(peer: Peer, options: argparse.Namespace) -> None:
    """Runs the passes and prints the answer.

    ``seconds`` are those of each pass, ``warm_seconds`` the last of several, ``start_seconds`` those of the process
    before the first pass was begun, and ``first_seconds`` those before the first batch came.
    """
    tallies: list[Tally] = []
    seconds: list[float] = []
    with peer(options) as one_pass:
        start = process_clock()
        for _ in range(options.passes):
            began = time.perf_counter()
            tally = Tally()
            for batch in one_pass():
                tally.add(batch, check=options.check)
            seconds.append(time.perf_counter() - began)
            tallies.append(tally)
    counts = {tally.samples for tally in tallies}
    if len(counts) != 1:
        raise SystemExit(f"the passes differ in their samples: {sorted(counts)}")
    answer(
        tallies[0].samples,
        seconds,
        start_seconds=start,
        first_seconds=tallies[0].first,
        shapes=tallies[0].shapes,
        **({"sums": tallies[0].sums} if options.check else {}),
    )


def answer(samples: int, seconds: Sequence[float], **more: Any) -> None:
    """Prints what was done, as one line of JSON, the last of stdout."""
    found = {"samples": samples, "seconds": [round(one, 4) for one in seconds], **more}
    if len(seconds) > 1:
        found["warm_seconds"] = round(seconds[-1], 4)
    print(json.dumps(found), flush=True)

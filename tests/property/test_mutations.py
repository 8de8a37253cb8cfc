"""Files damaged at random: every one ends in a row, and no decoder takes the process down or stays forever.

The suite runs a few thousand. For a night of them, with other numbers than anyone has run before:

    MUTATIONS_COUNT=1000000 MUTATIONS_SEED=20000000 python -m pytest tests/property/test_mutations.py --timeout=0

Numbers are independent of each other: a run that was stopped goes on from the number that it was at, and a number that
a failure names is run again alone by ``MUTATIONS_COUNT=1 MUTATIONS_SEED=NUMBER``.
"""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
COUNT = int(os.environ.get("MUTATIONS_COUNT", "5000"))
SEED = int(os.environ.get("MUTATIONS_SEED", "0"))
BATCHES = max(1, COUNT // 25_000)
HANG_SECONDS = 900  # that a batch may take; not a measure, but an end


def run_batch(first: int, count: int, folder: Path) -> Counter[str]:
    """Runs mutations in a process of their own, and names the one at which it ended before its time."""
    progress = folder / f"progress-{first}"
    command = [sys.executable, "-m", "support.mutations", str(first), str(count), str(progress)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)])}
    try:
        done = subprocess.run(
            command, env=env, capture_output=True, text=True, timeout=HANG_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        pytest.fail(f"mutation {int(progress.read_bytes())} does not end")
    if done.returncode:
        number = int(progress.read_bytes() or b"-1")
        pytest.fail(f"mutation {number} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    pairs = (line.rpartition(": ") for line in done.stdout.splitlines())
    return Counter({name: int(times) for name, _, times in pairs})


def test_every_mutation_ends_in_a_row(tmp_path: Path) -> None:
    size = -(-COUNT // BATCHES)
    outcomes: Counter[str] = Counter()
    for first in range(SEED, SEED + COUNT, size):
        outcomes += run_batch(first, min(size, SEED + COUNT - first), tmp_path)
    assert outcomes.total() == COUNT
    if COUNT >= 5_000:  # else nothing can be said of how they are spread
        for kind in (
            "png",
            "jpg",
            "gif",
            "webp",
            "wav",
            "flac",
            "ogg",
            "mp3",
            "txt",
            "json",
            "tar",
        ):
            found = {name: times for name, times in outcomes.items() if name.startswith(kind)}
            assert len(found) > 1, f"{kind}: some are refused, some are harmless"

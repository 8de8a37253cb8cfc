"""A training whose nodes come, and whose workers, controller, node and driver are killed: each sample once an epoch."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.ray_cluster import Head, running_head, running_node

from bench.soak.taken import Share, read_epochs, read_shares
from bench.soak.trainings import (
    HEALTH,
    KINDS,
    VARIABLES,
    CountedTraining,
    storm,
    write_training,
)
from pipeline.training.state import load_checkpoint

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    """A head that asks twice a second whether nodes live."""
    with running_head(**HEALTH, **VARIABLES) as head:
        yield head


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_whatever_is_killed_each_epoch_has_each_sample_once(
    head: Head, tmp_path: Path, seed: int
) -> None:
    """Counted where workers take them."""
    keys, config = write_training(tmp_path)
    run = storm(head, config, tmp_path, seed)
    shares = read_shares(run)
    epochs = read_epochs(shares)
    assert len(epochs) > 1
    assert epochs == [Counter(keys)] * len(epochs)
    assert {share.size for share in shares} >= {2, 3}, "as many as there was room for"
    teams = {share.team for share in shares}
    assert len(teams) >= 3 + len(KINDS) - 1, (
        "one more after each kill, and after the node that came"
    )
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert {row["rows_train"] for row in rows} == {120}


# As a cloud's autoscaler tells Ray that it will take back a machine.
DRAIN = """
import sys, time
import ray
from ray.core.generated import autoscaler_pb2
ray.init(address=sys.argv[1], logging_level="ERROR")
[node] = [node["NodeID"] for node in ray.nodes() if node["Alive"] and node["NodeID"] not in sys.argv[2]]
reason = autoscaler_pb2.DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
deadline = int((time.time() + 25) * 1000)
accepted, why = ray._raylet.GcsClient(address=sys.argv[1]).drain_node(node, reason, "spot", deadline)
assert accepted, why
"""
HEADS = """
import sys
import ray
ray.init(address=sys.argv[1], logging_level="ERROR")
print([node["NodeID"] for node in ray.nodes() if node["Alive"]])
"""


def ask_ray(head: Head, code: str, *words: str) -> str:
    command = [sys.executable, "-c", code, head.address, *words]
    done = subprocess.run(command, env=head.client(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_notice_writes_a_checkpoint_and_the_node_is_left(head: Head, tmp_path: Path) -> None:
    """No rhythm writes one: what lies within an epoch was written because of the notice."""
    keys, config = write_training(tmp_path)
    run = tmp_path / "run"
    words = [f"run={run}", "train.epochs=100000", "cluster.workers=[1,3]", "train.batch_size=2"]
    words += ["cluster.num_cpus=null", "train.checkpoint_every.seconds=null"]
    words += ["train.keep_checkpoints=100000"]
    heads = ask_ray(head, HEADS)
    with running_node(head, **VARIABLES):
        training = CountedTraining(head, config, run, tmp_path / "log", words)
        try:
            training.next_team(10, size=3)
            assert not within_epochs(run)
            ask_ray(head, DRAIN, heads)
            training.next_team(10, size=2)
        finally:
            training.end()
    assert within_epochs(run)
    said = training.said()
    assert "workers_ended why='node taken away'" in said, said
    epochs = read_epochs(read_shares(run), is_ended=False)
    assert epochs
    assert epochs == [Counter(keys)] * len(epochs)


def within_epochs(run: Path) -> list[int]:
    """Positions of the checkpoints that lie within epochs."""
    files = sorted((run / "checkpoints").glob("*.pt"))
    states = [load_checkpoint(str(file)) for file in files if file.name != "best.pt"]
    return [state["position"]["rows"] for state in states if state["position"]["rows"]]


def test_a_batch_that_was_taken_again_counts_once() -> None:
    def share(team: str, rank: int, size: int, end: int, keys: str, seconds: float) -> Share:
        return Share(team, rank, size, 0, end, list(keys), seconds)

    first = [share("a", 0, 2, 2, "x", 1), share("a", 1, 2, 2, "y", 2), share("a", 1, 2, 4, "z", 3)]
    again = [share("b", 0, 1, 4, "zw", 4)]
    assert read_epochs(first + again) == [Counter("xyzw")]
    with pytest.raises(ValueError, match=r"ranks \[1\] of 2"):
        read_epochs(first)
    twice = [share("b", 0, 1, 4, "xw", 4)]
    assert read_epochs(first + twice) == [Counter("xxyw")]

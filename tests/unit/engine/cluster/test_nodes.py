"""Lost nodes are noticed where nothing gets done, and only there."""

import pytest

from pipeline.engine.cluster.nodes import NEVER, STALL_SECONDS, NodeWatch
from pipeline.errors import RunError


class Cluster:
    """Nodes that are there, and a clock."""

    def __init__(self) -> None:
        self.nodes, self.now = {"here", "other"}, 0.0

    def watch(self) -> NodeWatch:
        return NodeWatch("here", lambda: set(self.nodes), lambda: self.now)


def test_what_began_before_the_loss_is_given_up_after_a_quiet_while() -> None:
    cluster = Cluster()
    watch = cluster.watch()
    cluster.now = 1000.0
    assert watch.stalled_since() == NEVER, "slow parts of a whole cluster are left alone"
    cluster.nodes = {"here"}
    assert watch.stalled_since() == NEVER, "what is left may go on by itself"
    cluster.now += STALL_SECONDS
    assert watch.stalled_since() == 1000.0
    watch.progress()
    assert watch.stalled_since() == NEVER, "it goes on"
    cluster.nodes = {"here", "new"}
    cluster.now += STALL_SECONDS
    assert watch.stalled_since() == 1000.0, "a node that comes makes up for none that went"


def test_without_the_node_of_the_driver_there_is_no_going_on() -> None:
    cluster = Cluster()
    watch = cluster.watch()
    cluster.nodes = {"other"}
    with pytest.raises(RunError, match="run the job again"):
        watch.stalled_since()

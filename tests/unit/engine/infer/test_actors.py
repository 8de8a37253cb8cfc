"""Which errors say that an actor is gone."""

import pytest
from ray.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    ObjectLostError,
    OutOfMemoryError,
    RayError,
    RayTaskError,
    WorkerCrashedError,
)

from pipeline.engine.cluster.failures import is_loss
from pipeline.engine.infer.actors import is_lost


def of_a_stage(cause: Exception) -> RayError:
    """What Ray hands out where a worker raised an error, or could not be given what it was to work on."""
    error: RayError = RayTaskError("predict", "traceback", cause).as_instanceof_cause()
    return error


@pytest.mark.parametrize(
    "error",
    [ActorDiedError(), ActorUnavailableError("no answer", b"0" * 16), OutOfMemoryError("killed")],
    ids=["died", "unavailable", "memory"],
)
def test_an_actor_that_is_gone_is_replaced_and_its_part_done_again(error: RayError) -> None:
    assert is_lost(error)
    assert is_loss(error)


@pytest.mark.parametrize(
    "error",
    [
        ObjectLostError("0" * 56, None, ""),
        of_a_stage(WorkerCrashedError()),
        of_a_stage(ActorDiedError()),
        of_a_stage(OutOfMemoryError("killed")),
    ],
    ids=["block", "decoder", "actor before", "memory before"],
)
def test_an_actor_that_lacks_its_block_stays(error: RayError) -> None:
    assert not is_lost(error)
    assert is_loss(error)


def test_an_actor_with_a_bug_stays() -> None:
    error = of_a_stage(ValueError("a bug"))
    assert not is_lost(error)
    assert not is_loss(error)

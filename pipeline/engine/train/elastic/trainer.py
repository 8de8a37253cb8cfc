"""Ray Train with as many workers as there is room for, and an end where a restart would not help.

Ray Train's own policies decide; what is added here reaches into them, as they are in the version of Ray that the
project asks for (2.60).
"""

from __future__ import annotations

import signal
import time
from typing import Any

import ray
from ray import PlacementGroupID
from ray.data._internal.cluster_autoscaler.default_autoscaling_coordinator import (
    get_or_create_autoscaling_coordinator,
)
from ray.train.v2._internal.execution.failure_handling import DefaultFailurePolicy
from ray.train.v2._internal.execution.scaling_policy import NoopDecision, ResizeDecision
from ray.train.v2._internal.execution.scaling_policy.elastic import ElasticScalingPolicy
from ray.train.v2.api.exceptions import ControllerError, WorkerGroupError
from ray.train.v2.torch.torch_trainer import TorchTrainer
from ray.util.placement_group import (
    PlacementGroup,
    placement_group_table,
    remove_placement_group,
)

from pipeline.engine.train.elastic import notices
from pipeline.errors import PipelineError, RunError

ROOM_CPUS = 1.0  # of all nodes, left by workers that compute on CPUs: parts are decoded meanwhile
CHECKPOINT_SECONDS = 60.0  # at most, from the wish for other workers to the end of those there are
ANSWER_SECONDS, ABORT_SECONDS = 5.0, 20.0


class RoomPolicy(ElasticScalingPolicy):  # type: ignore[misc, unused-ignore]
    """As many workers as there is room for, counted on nodes that will stay, and changed behind a checkpoint.

    Ray's own counts nodes as they were up to 20 seconds ago, with those that are being taken away; gives all CPUs to
    workers, so that nothing is left to decode with; and ends workers wherever they are.
    """

    def __init__(self, scaling_config: Any, wait_seconds: float) -> None:
        super().__init__(scaling_config)
        self._wait_seconds = wait_seconds
        self._waits_since: float | None = None
        self._give_up: float | None = None  # on the checkpoint before a change

    def make_decision_for_non_running_worker_group(self) -> Any:
        """How many workers to start, once enough of them have room.

        Raises:
            RunError: They have had none for too long.
        """
        self._give_up = None
        decision = super().make_decision_for_non_running_worker_group()
        if isinstance(decision, ResizeDecision):
            self._waits_since = None
            return decision
        now = time.monotonic()
        self._waits_since = self._waits_since or now
        if now - self._waits_since > self._wait_seconds:
            raise RunError(
                f"no room for {self.scaling_config.min_workers} workers in {self._wait_seconds:.0f} s",
                where="cluster.workers",
                fix="set the least of them lower, or cluster.wait_seconds higher; train.resume=true goes on",
            )
        time.sleep(self.GET_RESERVED_RESOURCES_INTERVAL_S)  # Ray's own loop would not wait
        return decision

    def make_decision_for_running_worker_group(
        self, worker_group_state: Any, worker_group_status: Any
    ) -> Any:
        """Whether workers are to be others, once the state of those there are is written."""
        if self._give_up is not None:
            if time.monotonic() < self._give_up and not self._is_written(worker_group_state):
                return NoopDecision()
            self._give_up = None
            self._latest_monitor_time = float("-inf")  # and looks again, since time has passed
            return super().make_decision_for_running_worker_group(
                worker_group_state, worker_group_status
            )
        decision = super().make_decision_for_running_worker_group(
            worker_group_state, worker_group_status
        )
        if isinstance(decision, ResizeDecision):
            worker_group_state.workers[0].execute_async(notices.ask)
            self._give_up = time.monotonic() + CHECKPOINT_SECONDS
            return NoopDecision()
        return decision

    def _is_written(self, worker_group_state: Any) -> bool:
        try:
            answer = worker_group_state.workers[0].execute_async(notices.is_written)
            return bool(ray.get(answer, timeout=ANSWER_SECONDS))
        except ray.exceptions.RayError:
            return False  # the controller finds out itself what has become of it

    def _get_reserved_resources(self) -> Any:
        """Node -> what is set aside for this training there."""
        try:
            reserved = ray.get(
                self._autoscaling_coordinator.get_reserved_resources.remote(
                    self._requester_id, recompute=True
                ),
                timeout=ANSWER_SECONDS,
            )
        except ray.exceptions.RayError:
            return None  # workers stay as they are
        going = _nodes_that_go()
        return {node: resources for node, resources in reserved.items() if node not in going}

    def _count_possible_workers(self, reserved_resources: Any) -> int:
        possible: int = super()._count_possible_workers(reserved_resources)
        cpus = self.scaling_config._resources_per_worker_not_none.get("CPU", 0.0)
        if not cpus:
            return possible
        fitting = int((_num_cpus() - ROOM_CPUS) / cpus)
        return min(possible, max(fitting, self.scaling_config.min_workers))


class OwnErrorsEnd(DefaultFailurePolicy):  # type: ignore[misc, unused-ignore]
    """Starts workers again, but for errors that they would only raise again: wrong settings, bad data."""

    def _is_retryable_error(self, training_failed_error: Any) -> bool:
        if own_error(training_failed_error) is not None:
            return False
        return bool(super()._is_retryable_error(training_failed_error))


def own_error(error: BaseException) -> PipelineError | None:
    """What a worker, or a policy, has raised for the user to read; None where there is no such thing."""
    failures = list(error.worker_failures.values()) if isinstance(error, WorkerGroupError) else []
    if isinstance(error, ControllerError):
        failures.append(error.controller_failure)
    return next((failure for failure in failures if isinstance(failure, PipelineError)), None)


class WorkersTrainer(TorchTrainer):  # type: ignore[misc, unused-ignore]
    """Ray's trainer with the policies above.

    Args:
        wait_seconds: For room for the least number of workers.
        settings: Of :class:`ray.train.torch.TorchTrainer`.
    """

    def __init__(self, *arguments: Any, wait_seconds: float, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._wait_seconds = wait_seconds
        self._reserved_before: set[str] = set()

    def forget(self) -> None:
        """Gives back what a controller that was lost had set aside.

        Ray's own helper for that needs a dashboard, and the claim of the workers to come lives on for three minutes:
        who comes next would be without all of it.
        """
        job = ray.get_runtime_context().get_job_id()
        for name in _reserved() - self._reserved_before:
            if name.endswith(job):
                group = PlacementGroup(PlacementGroupID(bytes.fromhex(name)))
                remove_placement_group(group)
        requester = f"train-{self.train_run_context.run_id}"
        coordinator: Any = get_or_create_autoscaling_coordinator()  # type: ignore[no-untyped-call]
        coordinator.cancel_request.remote(requester)

    def _initialize_and_run_controller(self, **settings: Any) -> Any:
        self._reserved_before = _reserved()
        scaling: Any = self.scaling_config
        if scaling.elasticity_enabled:
            settings["scaling_policy"] = RoomPolicy(scaling, self._wait_seconds)
        limits: Any = self.run_config.failure_config
        settings["failure_policy"] = OwnErrorsEnd(limits)
        return super()._initialize_and_run_controller(**settings)

    def _register_sigint_handler(self, controller: Any) -> None:
        """Ctrl-C ends a controller that does not answer, as one that waits for room, too."""

        def interrupt(signum: int, frame: object) -> None:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            try:
                ray.get(controller.abort.remote(), timeout=ABORT_SECONDS)
            except ray.exceptions.RayError:  # it has ended, or does not answer
                ray.kill(controller)
            raise KeyboardInterrupt

        signal.signal(signal.SIGINT, interrupt)


def _reserved() -> set[str]:
    """Names of the cluster's placement groups that hold something, or wait for it; each ends with its job's."""
    groups = placement_group_table()
    return {name for name, group in groups.items() if group["state"] != "REMOVED"}


def _num_cpus() -> float:
    """CPUs of the nodes that will stay."""
    going, nodes = _nodes_that_go(), ray.nodes()  # type: ignore[no-untyped-call]
    staying = (node for node in nodes if node["Alive"] and node["NodeID"] not in going)
    return float(sum(node["Resources"].get("CPU", 0.0) for node in staying))


def _nodes_that_go() -> set[str]:
    from ray._private import state

    return set(state.state.get_draining_nodes())

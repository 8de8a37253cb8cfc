"""Workers that come and go: what is asked for before they change, how many there may be, and who is told."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from ray.exceptions import ActorDiedError
from ray.train.v2._internal.execution import context
from ray.train.v2._internal.execution.controller import state as states
from ray.train.v2._internal.execution.preemption import PreemptionContext
from ray.train.v2._internal.execution.scaling_policy import NoopDecision, ResizeDecision
from ray.train.v2.api.config import FailureConfig, ScalingConfig
from ray.train.v2.api.exceptions import ControllerError, PreemptionError, WorkerGroupError
from ray.train.v2.api.preemption import PreemptionInfo

from pipeline.config import load
from pipeline.engine.executors.workplace import Workplace
from pipeline.engine.train import fit, on_ray
from pipeline.engine.train.elastic import changes, notices, trainer
from pipeline.engine.train.elastic.changes import Change, ChangesLog, counted, read_changes
from pipeline.engine.train.elastic.notices import Notices
from pipeline.engine.train.elastic.trainer import OwnErrorsEnd, RoomPolicy
from pipeline.errors import ConfigError, RunError
from pipeline.training.callbacks.checkpoint import Checkpoint


@pytest.mark.parametrize(
    ("words", "numbers"), [("3", (3, 3)), ("[1,4]", (1, 4)), ("[2,2]", (2, 2))]
)
def test_workers_are_a_number_or_the_least_and_the_most(
    tone_config: Path, words: str, numbers: tuple[int, int]
) -> None:
    config = load(tone_config, [f"cluster.workers={words}"])
    assert (config.cluster.least_workers, config.cluster.most_workers) == numbers
    again = type(config).model_validate_json(config.model_dump_json())
    assert again.cluster == config.cluster, "as it travels to workers"


@pytest.mark.parametrize("words", ["0", "[0,2]", "[4,1]", "[1]", "[]", "[1,2,3]", "many", "1.5"])
def test_other_workers_are_refused_in_one_line(tone_config: Path, words: str) -> None:
    with pytest.raises(ConfigError, match=r"cluster\.workers: (one number|the least)") as error:
        load(tone_config, [f"cluster.workers={words}"])
    assert len(str(error.value).splitlines()) == 1


def test_the_most_workers_are_what_others_go_by(
    tone_config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = "cluster.workers=[1,9]"
    config = load(tone_config, [pair])
    rows: Any = {"train": [SimpleNamespace(num_rows=1)]}
    with pytest.raises(ConfigError, match=r"9 workers share 8 lanes,.*set train\.lanes to 9"):
        fit._check_rows(config, rows)
    with Workplace(config.cluster) as workplace, pytest.raises(ConfigError, match="without Ray"):
        workplace.executor(1, config.cluster.most_workers)
    with pytest.raises(ConfigError, match=r"cluster\.workers is 9"):
        load(tone_config, [pair, "cluster.executor=ray", "sweep.parallel=2"])


class Asked(SimpleNamespace):
    """What a training is to these callbacks."""

    def __init__(self, *callbacks: Any) -> None:
        super().__init__(callbacks=callbacks, wants_checkpoint=False)

    def step(self, callback: Notices) -> bool:
        """Ends a step, and takes what it has asked for."""
        callback.step_ended(self, 0.5)  # type: ignore[arg-type]
        wanted, self.wants_checkpoint = self.wants_checkpoint, False
        return wanted


def test_a_notice_writes_a_checkpoint_at_once_and_then_every_few_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, reasons, looks = SimpleNamespace(now=1000.0), {"node": False}, []
    monkeypatch.setattr(notices, "time", SimpleNamespace(monotonic=lambda: clock.now))
    callback = Notices(lambda: bool(looks.append(clock.now)) or reasons["node"])
    training = Asked(callback)
    callback.begin(training)  # type: ignore[arg-type]
    for _ in range(100):
        assert not training.step(callback)
        clock.now += 0.1
    assert len(looks) <= 11, "once a second"
    reasons["node"] = True
    clock.now += 1
    assert training.step(callback)
    callback.checkpoint(training)  # type: ignore[arg-type]
    written = clock.now
    while not training.step(callback):
        clock.now += 0.5
    assert clock.now - written == pytest.approx(notices.SECONDS_BETWEEN_CHECKPOINTS)


def test_what_the_controller_asks_for_is_answered_when_it_is_written() -> None:
    class Writer(Checkpoint):
        is_writing = False

        def __init__(self) -> None:
            pass

    writer, callback = Writer(), Notices(lambda: False)
    training = Asked(writer, callback)
    callback.begin(training)  # type: ignore[arg-type]
    assert not training.step(callback)
    notices.ask()
    assert training.step(callback)
    assert training.step(callback), "until it has one"
    assert not notices.is_written()
    writer.is_writing = True
    callback.checkpoint(training)  # type: ignore[arg-type]
    assert not notices.is_written()
    writer.is_writing = False
    assert notices.is_written()
    assert not training.step(callback)


def test_a_notice_is_where_ray_train_puts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """As its watcher gives it to a worker, by ``mark_preempt``."""
    assert not notices.node_will_go(), "no worker of Ray Train"
    told = PreemptionContext()
    monkeypatch.setattr(
        context, "_train_context", SimpleNamespace(preemption_context=told), raising=True
    )
    assert not notices.node_will_go()
    told.preemption_info = PreemptionInfo(None, {"node": [1]})
    assert notices.node_will_go()
    monkeypatch.setattr(context, "_train_context", SimpleNamespace())
    assert not notices.node_will_go(), "another version of Ray"


CPUS = {"CPU": on_ray.TRAINER_CPUS}


def policy(least: int, most: int, resources: dict[str, float]) -> RoomPolicy:
    scaling = ScalingConfig(
        num_workers=(least, most),
        use_gpu="GPU" in resources,
        resources_per_worker=resources,
        elastic_resize_monitor_interval_s=0,
    )
    made = RoomPolicy(scaling, wait_seconds=100)
    made._maybe_send_resource_request = lambda: None  # type: ignore[method-assign]
    return made


@pytest.mark.parametrize(
    ("nodes", "resources", "expected"),
    [
        ([2], CPUS, 2),  # one CPU is left to decode with
        ([2, 2], CPUS, 6),
        ([3], CPUS, 4),
        ([1], CPUS, 1),  # the least, whatever is left
        ([64, 64], CPUS, 8),
        ([2, 2], {"GPU": 1.0}, 4),
        ([2, 1], {"GPU": 0.5}, 6),
    ],
)
def test_workers_leave_room_for_decoding(
    monkeypatch: pytest.MonkeyPatch,
    nodes: list[float],
    resources: dict[str, float],
    expected: int,
) -> None:
    monkeypatch.setattr(trainer, "_num_cpus", lambda: float(sum(nodes)))
    [name] = resources
    reserved = {str(number): {name: float(amount)} for number, amount in enumerate(nodes)}
    assert policy(1, 8, resources)._count_possible_workers(reserved) == expected


def test_workers_change_behind_a_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    made = policy(1, 4, {"GPU": 1.0})
    room = {"one": {"GPU": 2.0}}
    monkeypatch.setattr(made, "_get_reserved_resources", lambda: room)
    monkeypatch.setattr(ray, "get", lambda answer, timeout: answer)
    called: list[Any] = []
    written = False

    def execute_async(function: Any) -> bool:
        called.append(function)
        return written

    worker = SimpleNamespace(execute_async=execute_async)
    group: Any = SimpleNamespace(start_time=-1e9, num_workers=2, workers=[worker])

    def decide() -> Any:
        return made.make_decision_for_running_worker_group(group, None)

    assert isinstance(decide(), NoopDecision)
    assert called == []
    room["two"] = {"GPU": 1.0}
    assert isinstance(decide(), NoopDecision)
    assert called == [notices.ask]
    assert isinstance(decide(), NoopDecision), "nothing is written yet"
    written = True
    assert decide() == ResizeDecision(3, {"GPU": 1.0})
    assert called == [notices.ask, notices.is_written, notices.is_written]
    group.num_workers = 3
    del room["two"]
    assert isinstance(decide(), NoopDecision)
    made._give_up = 0.0  # it cannot write
    written = False
    assert decide() == ResizeDecision(2, {"GPU": 1.0})


def test_nobody_waits_for_ever_for_room(monkeypatch: pytest.MonkeyPatch) -> None:
    made = policy(2, 4, {"GPU": 1.0})
    clock = SimpleNamespace(now=5.0)

    def sleep(seconds: float) -> None:
        clock.now += 40

    module = SimpleNamespace(monotonic=lambda: clock.now, sleep=sleep)
    monkeypatch.setattr(trainer, "time", module)
    monkeypatch.setattr(made, "_get_reserved_resources", lambda: {"one": {"GPU": 1.0}})
    for _ in range(3):
        assert isinstance(made.make_decision_for_non_running_worker_group(), NoopDecision)
    with pytest.raises(RunError, match=r"no room for 2 workers in 100 s .*wait_seconds") as error:
        made.make_decision_for_non_running_worker_group()
    assert not OwnErrorsEnd(FailureConfig(max_failures=3))._is_retryable_error(
        ControllerError(error.value)
    )


def test_an_error_of_ours_is_raised_once() -> None:
    limits = OwnErrorsEnd(FailureConfig(max_failures=3))
    lost = WorkerGroupError("two failed", {0: RuntimeError("connection reset"), 1: OSError()})
    ours = ConfigError("the loss is not finite", where="here", fix="do")
    assert limits._is_retryable_error(lost)
    diverged = WorkerGroupError("two failed", {0: RuntimeError("connection reset"), 1: ours})
    assert not limits._is_retryable_error(diverged)
    assert on_ray._in_our_words(diverged, "run") is ours
    assert "train.resume=true" in str(on_ray._in_our_words(lost, "run"))


def test_a_log_tells_starts_and_ends(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run, log = str(tmp_path), None

    def starting(workers: int) -> states.SchedulingState:
        return states.SchedulingState(ResizeDecision(workers, {}))

    running = states.RunningState()
    info = PreemptionInfo(None, {"node": [1]})
    gone = states.RestartingState(PreemptionError(info, drain_timed_out=True))
    lost = states.RestartingState(WorkerGroupError("rank 1 was lost", {1: OSError("gone")}))
    failed = states.ReschedulingState(ControllerError(TimeoutError("no room")))
    caplog.set_level(logging.INFO)
    with changes.told(run):
        log = ChangesLog(run)
        assert counted(read_changes(run)) == {}
        for before, now in [
            (starting(4), running),
            (running, running),
            (running, lost),
            (starting(2), failed),
            (starting(2), running),
            (running, states.ResizingState(ResizeDecision(3, {}))),
            (starting(3), running),
            (running, gone),
        ]:
            log.after_controller_state_update(before, now)
        # The controller is lost, and another one goes on.
        log = ChangesLog(run, [*read_changes(run), Change(0, changes.NO_CONTROLLER)])
        log.after_controller_state_update(starting(1), running)
    rows = [json.loads(line) for line in (tmp_path / changes.CHANGES).read_text().splitlines()]
    assert [row["workers"] for row in rows] == [4, 0, 0, 2, 0, 3, 0, 0, 1]
    assert [row["why"] for row in rows if not row["workers"]] == [
        changes.LOST,
        changes.NOT_STARTED,
        changes.RESIZED,
        changes.TAKEN_AWAY,
        changes.NO_CONTROLLER,
    ]
    expected = {"restarts": 4, "resizes": 1, "workers_at_the_end": 1}
    assert counted(read_changes(run)) == expected
    assert caplog.text.count("workers_started") == 4
    assert "workers_ended why='worker lost'" in caplog.text


@pytest.mark.parametrize("losses", [2, 3])
def test_a_lost_controller_is_replaced_so_often(
    tone_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, losses: int
) -> None:
    config = load(tone_config, ["cluster.max_restarts=2", "cluster.workers=2"])
    begun, forgotten = list[list[Change]](), list[int]()

    def made(job: Any, work: Any, before: list[Change]) -> Any:
        begun.append(list(before))

        def run() -> None:
            ChangesLog(config.run, before)._add(Change(2))
            if len(begun) <= losses:
                raise ActorDiedError

        return SimpleNamespace(fit=run, forget=lambda: forgotten.append(len(begun)))

    monkeypatch.setattr(on_ray, "_trainer", made)
    monkeypatch.setattr(ray, "put", lambda value: value)
    ray_trainer = on_ray.RayTrainer()
    ray_trainer._source = SimpleNamespace()  # type: ignore[assignment]
    job: Any = SimpleNamespace(config=config, to_dict=dict)
    if losses > 2:
        with pytest.raises(RunError, match="a worker failed"):
            ray_trainer.fit(job, {})
        assert len(begun) == 3
        return
    assert ray_trainer.fit(job, {}) == {"restarts": 2, "resizes": 0, "workers_at_the_end": 2}
    assert forgotten == [1, 2]
    lost = Change(0, changes.NO_CONTROLLER)
    assert begun == [[], [Change(2), lost], [Change(2), lost, Change(2), lost]]

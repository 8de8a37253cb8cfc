"""Where the work runs: Ray started for this process alone, or a cluster that is already there."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import AuthenticationError

from pipeline.engine.cluster import processes, scratch, signals
from pipeline.engine.cluster.address import inside_ray_job, resolve
from pipeline.engine.cluster.auth import environment, private_token, use_saved_token
from pipeline.engine.cluster.package import PROJECT, runtime_env
from pipeline.errors import RunError
from pipeline.logs import event

if TYPE_CHECKING:
    from psutil import Process

    from pipeline.config import ClusterConfig

FOLLOWED_VERSION = "2.60."  # of Ray, whose executor was measured
EXECUTOR_WAIT, EXECUTOR_WAIT_SECONDS = "WAIT_FOR_TASK_COMPLETION_TIMEOUT_S", 0.01
MIN_STORE_BYTES = 128 * 2**20
MAX_STORE_BYTES = (2 if sys.platform == "darwin" else 32) * 2**30  # Ray's own limit on macOS is 2

START_ATTEMPTS = 2  # Ray gives its own processes 30 s; several jobs starting at once can need more
_logger = logging.getLogger(__name__)

# Ray's console lines would drown ours; warnings and errors still come through.
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DATA_LOG_LEVEL": "WARNING",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


@dataclass(frozen=True, slots=True)
class Cluster:
    """What a job runs on.

    Attributes:
        address: ``host:port`` of Ray's control service.
        num_cpus: CPUs of all nodes, as Ray counts them.
        num_gpus: GPUs of all nodes.
        is_local: True if this process started it and it ends with this process.
    """

    address: str
    num_cpus: float
    num_gpus: float
    is_local: bool


@contextmanager
def connect(
    cluster: ClusterConfig, meanwhile: Callable[[], object] | None = None
) -> Iterator[Cluster]:
    """Starts or joins Ray for the duration of the ``with`` block.

    ``local`` starts a Ray of this process's own, whatever ``RAY_ADDRESS`` or a recorded cluster
    say; inside a submitted Ray job it means the cluster that runs the job. ``auto`` joins the
    cluster of ``RAY_ADDRESS`` or the one last started on this machine with ``ray start``; any
    other value joins that address. A Ray that this process has started already is used as it is.

    Ctrl-C and SIGTERM both leave the block as KeyboardInterrupt, after which no process started
    here is alive. When this process is killed outright, Ray's processes end by themselves.

    Args:
        cluster: The ``cluster`` section of the configuration.
        meanwhile: What the job can do without Ray, done while Ray starts: that takes seconds, spent waiting.

    Yields:
        What the job runs on.

    Raises:
        ConfigError: The address has a form that jobs cannot use.
        RunError: No cluster answers there, or it refuses this user.
        KeyboardInterrupt: Ctrl-C, or SIGTERM.
        PipelineError: Whatever ``meanwhile`` raises.
    """
    aside = _Aside(meanwhile)
    if ray.is_initialized():
        aside.finish()
        yield _describe(is_local=False)
        return
    address = resolve(cluster.address)
    with signals.as_interrupt(), environment(_QUIET):
        if address is None:
            with _started(cluster.num_cpus):
                aside.finish()
                yield _describe(is_local=True)
        else:
            with _joined(address):
                aside.finish()
                yield _describe(is_local=False)


class _Aside:
    """Runs a function in a thread that an interrupted process does not wait for."""

    def __init__(self, function: Callable[[], object] | None) -> None:
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(function,), daemon=True)
        if function is not None:
            self._thread.start()

    def _run(self, function: Callable[[], object]) -> None:
        try:
            function()
        except BaseException as error:  # noqa: BLE001  (raised again by the thread that waits)
            self._error = error

    def finish(self) -> None:
        """Waits for the function, and raises what it raised."""
        if self._thread.ident is not None:
            self._thread.join()
        if self._error is not None:
            raise self._error


def configure_data(*, verbose: bool = False) -> None:
    """Sets what every use of Ray Data here wants; call it after :func:`connect`.

    Args:
        verbose: Let Ray Data print its plan and draw its own progress bars.
    """
    import ray.data

    # Ray Data sets its level when it is imported, which may have been before `connect` could ask for silence.
    logging.getLogger("ray.data").setLevel(logging.INFO if verbose else logging.WARNING)
    # One line of it says that its progress bars are off.
    logging.getLogger("ray.data._internal.progress").setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = verbose
    context.enable_operator_progress_bars = verbose
    context.print_on_execution_start = verbose
    _follow_tasks_closely()


def _follow_tasks_closely() -> None:
    """Lets Ray Data's executor notice a finished task after 0.01 s rather than 0.1 s.

    It waits for *all* running tasks with that time-out before it looks which of them are done, so that a task's place
    stays empty for up to 0.1 s, a third of what a part takes: 570 against 750 samples/s on two cores. There is no
    public setting; with another version of Ray nothing is changed.
    """
    if ray.__version__.startswith(FOLLOWED_VERSION):
        from ray.data._internal.execution import streaming_executor_state as state

        if hasattr(state, EXECUTOR_WAIT):
            setattr(state, EXECUTOR_WAIT, EXECUTOR_WAIT_SECONDS)


def num_cpus() -> int:
    """CPUs of the cluster, as Ray counts them."""
    return int(resource("CPU")) or os.cpu_count() or 1


def resource(name: str) -> float:
    """How much of a resource the cluster has in all."""
    total: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return total.get(name, 0.0)


def object_store_bytes() -> int:
    """Size of a local object store: 30 % of free memory, within /dev/shm and fixed limits."""
    import psutil  # type: ignore[import-not-found, import-untyped, unused-ignore]  # ray's own
    from ray._common.utils import get_system_memory

    share = 0.3 * min(psutil.virtual_memory().available, get_system_memory())
    if os.path.isdir("/dev/shm"):
        share = min(share, 0.8 * shutil.disk_usage("/dev/shm").free)
    return int(max(MIN_STORE_BYTES, min(share, MAX_STORE_BYTES)))


@contextmanager
def _started(num_cpus: int | None) -> Iterator[None]:
    strangers = processes.descendants()
    # Workers import this project from where it lies, installed or not.
    paths = [str(PROJECT), *filter(None, [os.environ.get("PYTHONPATH")])]
    variables = {"RAY_ADDRESS": None, "PYTHONPATH": os.pathsep.join(paths)}
    with scratch.folder() as folder, environment(variables), private_token() as token:

        def find() -> set[Process]:
            return (processes.descendants() - strangers) | processes.marked("RAY_AUTH_TOKEN", token)

        try:
            _start(
                find,
                address="local",
                num_cpus=num_cpus,
                include_dashboard=False,
                object_store_memory=object_store_bytes(),
                _temp_dir=str(folder),
            )
            yield
        finally:
            _leave(find)


@contextmanager
def _joined(address: str) -> Iterator[None]:
    strangers = processes.descendants()
    # A submitted job's own environment carries the code, but what lies elsewhere than in its working directory.
    environment = runtime_env(is_submitted=inside_ray_job())
    options: dict[str, Any] = {"address": address}
    if environment:
        options["runtime_env"] = environment
    try:
        try:
            _init(**options)
        except AuthenticationError:
            if not use_saved_token():
                raise
            _init(**options)
        except (ConnectionError, RuntimeError) as error:
            raise RunError(
                f"the Ray cluster cannot be joined: {_first_line(error)}",
                where=f"cluster.address={address}",
                fix="run on one of its nodes, or hand the job over with python -m jobs.submit",
            ) from error
        yield
    except AuthenticationError as error:
        raise RunError(
            "the Ray cluster asks for a token that this user does not have",
            where=f"cluster.address={address}",
            fix="set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN to the cluster's token",
        ) from error
    finally:
        _leave(lambda: processes.descendants() - strangers)


def _start(find: Callable[[], set[Process]], **options: object) -> None:
    for attempt in range(1, START_ATTEMPTS + 1):
        try:
            return _init(**options)
        except Exception as error:
            processes.end(find)
            event(_logger, "ray_not_started", attempt=attempt, reason=_first_line(error))
            if attempt == START_ATTEMPTS:
                raise RunError(
                    f"Ray does not start: {_first_line(error)}",
                    where="cluster.address=local",
                    fix="try again when the machine is less busy, and see that /tmp has room",
                ) from error


def _init(**options: Any) -> None:
    ray.init(logging_level=logging.ERROR, log_to_driver=False, **options)
    signals.catch_sigterm()


def _leave(find: Callable[[], set[Process]]) -> None:
    # A second Ctrl-C must not cut this short: it ends in bounded time.
    with signals.ignored():
        try:
            ray.shutdown(wait_for_processes=True)
        finally:
            processes.end(find)


def _describe(*, is_local: bool) -> Cluster:
    address = ray.get_runtime_context().gcs_address
    return Cluster(address, resource("CPU"), resource("GPU"), is_local)


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]

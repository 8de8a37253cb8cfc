"""Hands a job to a Ray cluster, follows its log, and returns the exit code that it really had."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shlex
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from ray.exceptions import AuthenticationError
from ray.job_submission import JobDetails, JobStatus, JobSubmissionClient

from pipeline.config import load, names_classes, to_yaml
from pipeline.engine.cluster import signals
from pipeline.engine.cluster.address import API_VARIABLES, api_address, unreachable
from pipeline.engine.cluster.auth import environment, use_saved_token
from pipeline.engine.cluster.package import working_dir
from pipeline.errors import ConfigError, RunError, in_words
from pipeline.logs import event

LOST_SECONDS = 60.0  # how long the cluster may stay silent before we stop following
STOP_SECONDS = 20.0
INTERRUPTED = 130
_ENDED_BY_SIGNAL = (-2, -15, 130, 143)
_logger = logging.getLogger(__name__)


def submit(
    job: str,
    config: Path,
    overrides: Sequence[str] = (),
    *,
    write: Callable[[str], object],
    address: str | None = None,
    submission_id: str | None = None,
    as_json: bool = False,
) -> int:
    """Runs ``python -m jobs.JOB CONFIG OVERRIDES`` on a cluster and waits for its end.

    The code and the configuration travel with the job. ``cluster.address=auto`` is added unless an
    override says otherwise, so that a configuration written for one machine runs as it is.

    Args:
        job: Name of the job: ``train``, ``infer``, ...
        config: The configuration file.
        overrides: ``dotted.path=value`` each, and flags of the job.
        write: Takes the job's log, in pieces as they come.
        address: Address of the cluster, see :func:`~pipeline.engine.cluster.address.api_address`.
        submission_id: Name of this submission. One that the cluster knows already is followed
            instead of being started a second time.
        as_json: Passes ``--json`` on.

    Returns:
        The job's exit code; 130 if it was stopped.

    Raises:
        ConfigError: The configuration cannot be read, names classes of a person's own that cannot be imported here, or
            no address is known.
        RunError: The cluster cannot be reached, or refuses the job.
        KeyboardInterrupt: Ctrl-C or SIGTERM; the job has been told to stop.
    """
    words = _words(config, overrides, as_json=as_json)
    settings = _settings(words)
    if names_classes(config, settings):
        load(config, settings)  # imports them, and what is imported travels
    with working_dir(config) as (folder, place):
        command = ["python", "-m", f"jobs.{job}", place, *words]
        return run_command(
            command, folder, write=write, address=address, submission_id=submission_id
        )


def plan(
    job: str,
    config: Path,
    overrides: Sequence[str] = (),
    address: str | None = None,
    *,
    as_json: bool = False,
) -> str:
    """The configuration as the job will read it, what would be handed over, and where; see :func:`submit`.

    Raises:
        ConfigError: The configuration is wrong, or no address is known.
    """
    words = _words(config, overrides, as_json=as_json)
    settings = load(config, _settings(words))
    try:
        cluster = api_address(address)
    except RunError as error:
        cluster = f"a cluster that does not answer now ({error.what})"
    with working_dir(config) as (folder, place):
        sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
        command = shlex.join(["python", "-m", f"jobs.{job}", place, *words])
    return (
        f"{to_yaml(settings)}\nwould hand to {cluster}: {command}\n"
        f"with {len(sizes)} files of code and configuration, {sum(sizes) / 1e6:.1f} MB"
    )


def _settings(words: Sequence[str]) -> list[str]:
    return [word for word in words if not word.startswith("-") and "=" in word]


def _words(config: Path, overrides: Sequence[str], *, as_json: bool) -> list[str]:
    """What follows the configuration on the job's command line."""
    if not config.is_file():
        raise ConfigError(
            "there is no such configuration", where=str(config), fix="give the path of a YAML file"
        )
    words = list(overrides)
    if not any(word.startswith("cluster.address=") for word in words):
        words.append("cluster.address=auto")
    return [*words, "--json"] if as_json else words


def run_command(
    command: Sequence[str],
    folder: Path,
    *,
    write: Callable[[str], object],
    address: str | None = None,
    submission_id: str | None = None,
) -> int:
    """Runs a command on a cluster, in a copy of a folder, and waits for its end.

    Args:
        command: The words of the command.
        folder: What the command finds as its working directory.
        write: Takes the command's output, in pieces as they come.
        address: Address of the cluster, see :func:`~pipeline.engine.cluster.address.api_address`.
        submission_id: Name of this submission, see :func:`submit`.

    Returns:
        The command's exit code; 130 if it was stopped.

    Raises:
        ConfigError: No address is known.
        RunError: The cluster cannot be reached, or refuses the command.
        KeyboardInterrupt: Ctrl-C or SIGTERM; the command has been told to stop.
    """
    url = api_address(address)
    with signals.as_interrupt():
        client = _client(url)
        name = _start(client, shlex.join(command), folder, submission_id)
        event(_logger, "submitted", submission_id=name, cluster=url)
        try:
            return _exit_code(_follow(client, name, write), write)
        except KeyboardInterrupt:
            with signals.ignored():
                _stop(client, name)
            raise


def _client(url: str) -> JobSubmissionClient:
    for name in ("ray.dashboard.modules.job.sdk", "ray.dashboard.modules.dashboard_sdk"):
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        # Ray lets these variables override the argument.
        with environment(dict.fromkeys(API_VARIABLES)):
            try:
                return JobSubmissionClient(url)
            except AuthenticationError:
                if not use_saved_token():
                    raise
                return JobSubmissionClient(url)
    except AuthenticationError as error:
        raise RunError(
            "the cluster asks for a token that this user does not have",
            where=url,
            fix="set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN to the cluster's token",
        ) from error
    except (ConnectionError, RuntimeError) as error:
        raise unreachable(url, "--address", error) from error


def _start(client: JobSubmissionClient, entry: str, folder: Path, name: str | None) -> str:
    if name and _known(client, name):
        event(_logger, "already_submitted", submission_id=name)
        return name
    try:
        return client.submit_job(
            entrypoint=entry, submission_id=name, runtime_env={"working_dir": str(folder)}
        )
    except (RuntimeError, ValueError, OSError) as error:
        if name and _known(client, name):  # somebody was faster
            return name
        raise RunError(
            f"the cluster refuses the job: {in_words(error)}",
            where=client.get_address(),
            fix="see the message; its dashboard's log has more",
        ) from error


def _known(client: JobSubmissionClient, name: str) -> bool:
    try:
        client.get_job_info(name)
    except (RuntimeError, OSError):
        return False
    return True


def _follow(client: JobSubmissionClient, name: str, write: Callable[[str], object]) -> JobDetails:
    """Passes the log on until the job has ended; reconnects where the connection breaks."""
    seen = 0
    heard = time.monotonic()
    while True:
        try:
            seen = asyncio.run(_tail(client, name, seen, write))
            details = client.get_job_info(name)
            heard = time.monotonic()
            if JobStatus(details.status).is_terminal():
                return details
        except (RuntimeError, OSError) as error:
            if time.monotonic() - heard > LOST_SECONDS:
                raise RunError(
                    f"the cluster has not answered for {LOST_SECONDS:.0f} s",
                    where=f"submission_id={name}",
                    fix="the job may go on; submit it again with the same --submission-id",
                ) from error
        time.sleep(0.2)


async def _tail(
    client: JobSubmissionClient, name: str, seen: int, write: Callable[[str], object]
) -> int:
    # Each connection tells the log from its beginning; skip what has been passed on.
    position = 0
    with contextlib.suppress(RuntimeError, OSError):
        async for piece in client.tail_job_logs(name):
            position += len(piece)
            if position > seen:
                write(piece[seen - position :])
                seen = position
    return seen


def _exit_code(details: JobDetails, write: Callable[[str], object]) -> int:
    code = details.driver_exit_code
    if details.status == JobStatus.SUCCEEDED:
        return 0
    if details.status == JobStatus.STOPPED or code in _ENDED_BY_SIGNAL:
        return INTERRUPTED
    if code is None:  # it never started: the message is all there is
        write(f"{details.message}\n")
        return 1
    return code if code > 0 else 1


def _stop(client: JobSubmissionClient, name: str) -> None:
    event(_logger, "stopping", submission_id=name)
    end = time.monotonic() + STOP_SECONDS
    try:
        client.stop_job(name)
        while time.monotonic() < end:
            if JobStatus(client.get_job_status(name)).is_terminal():
                return
            time.sleep(0.2)
    except (RuntimeError, OSError) as error:
        event(_logger, "stop_failed", submission_id=name, reason=error)

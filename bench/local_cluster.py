"""A real Ray cluster on this machine: a head and nodes on free ports, whose processes are known and can be killed."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

PROJECT = Path(__file__).resolve().parents[1]
RAY = str(Path(sys.executable).with_name("ray"))
START_SECONDS = 60.0
_TAG = "MMP_TEST_TAG"
_NODE_PORTS = (
    "--dashboard-agent-listen-port",
    "--dashboard-agent-grpc-port",
    "--runtime-env-agent-port",
    "--metrics-export-port",
)
_HEAD_PORTS = ("--port", "--dashboard-port", "--ray-client-server-port")
_OPTIONS = ["--num-gpus=0", "--object-store-memory=300000000", "--disable-usage-stats", "--block"]
_OPTIONS += ["--min-worker-port=0", "--max-worker-port=0"]


@dataclass
class Family:
    """Processes that carry one mark in their environment, whoever started them."""

    mark: str = field(default_factory=lambda: secrets.token_hex(8))

    def environment(self, **more: str) -> dict[str, str]:
        """What a member starts with: nothing of Ray's, and `python` is the one of the tests."""
        plain = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        path = f"{Path(sys.executable).parent}{os.pathsep}{plain.get('PATH', '')}"
        return {**plain, "PATH": path, "OMP_NUM_THREADS": "1", _TAG: self.mark, **more}

    def alive(self) -> list[str]:
        """Command lines of the living ones."""
        return [line for _, line in self.processes()]

    def wait_gone(self, seconds: float) -> list[str]:
        """Waits until none is alive; the command lines of those that are after all."""
        end = time.monotonic() + seconds
        while (left := self.alive()) and time.monotonic() < end:
            time.sleep(0.2)
        return left

    def kill(self) -> None:
        """kill -9 of all."""
        for process, _ in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def processes(self) -> list[tuple[int, str]]:
        """Number and command line of the living ones."""
        import ray  # noqa: F401, I001  (carries psutil)
        import psutil

        found = []
        for process in psutil.process_iter():
            try:  # a process that ends meanwhile, and a zombie, raise
                if process.environ().get(_TAG) == self.mark:
                    found.append((process.pid, " ".join(process.cmdline()) or process.name()))
            except psutil.Error:
                continue
        return found


@dataclass(frozen=True)
class Head:
    """A running Ray head.

    Attributes:
        address: host:port of its control service.
        url: Address of its job service.
        token: What it asks of its clients.
        family: Its processes; those of jobs submitted to it too.
    """

    address: str
    url: str
    token: str
    family: Family

    def client(self, **more: str) -> dict[str, str]:
        """Environment of a process that may use this head; no member of its family."""
        secret = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self.token}
        return Family().environment(**secret, **more)


@contextlib.contextmanager
def running_head(num_cpus: int = 2, **variables: str) -> Iterator[Head]:
    """A head behind a token, in a folder of its own.

    Args:
        num_cpus: As Ray counts them.
        variables: Added to the environment of its processes.

    Raises:
        RuntimeError: It does not come up, or some of its processes do not end.
    """
    family, token = Family(), secrets.token_hex(16)
    ports = _free_ports(len(_HEAD_PORTS + _NODE_PORTS))
    with _folder() as folder, (folder / "head.log").open("w") as log:
        command = [RAY, "start", "--head", "--dashboard-host=127.0.0.1", f"--temp-dir={folder}"]
        command += [f"--num-cpus={num_cpus}", *_OPTIONS]
        command += map("{}={}".format, _HEAD_PORTS + _NODE_PORTS, ports)
        process = _start(command, family.environment(**variables), token, folder, log)
        try:
            url = f"http://127.0.0.1:{ports[1]}"
            _wait_for(url, token, process, folder / "head.log")
            yield Head(_control_address(ports[0]), url, token, family)
        finally:
            left = _end(process, family)
    if left:
        raise RuntimeError(f"left behind: {left}")


@contextlib.contextmanager
def running_node(head: Head, num_cpus: int = 2, **variables: str) -> Iterator[Family]:
    """Another node of a head's cluster; its processes, which may be killed.

    Args:
        head: Of the cluster.
        num_cpus: As Ray counts them.
        variables: Added to the environment of its processes.

    Raises:
        RuntimeError: It does not come up.
    """
    family, ports = Family(), _free_ports(len(_NODE_PORTS))
    with _folder() as folder, (folder / "node.log").open("w") as log:
        command = [RAY, "start", f"--address={head.address}", f"--num-cpus={num_cpus}", *_OPTIONS]
        command += map("{}={}".format, _NODE_PORTS, ports)
        process = _start(command, family.environment(**variables), head.token, folder, log)
        try:
            end = time.monotonic() + START_SECONDS
            while "Ray runtime started" not in (said := (folder / "node.log").read_text()):
                if time.monotonic() > end or process.poll() is not None:
                    raise RuntimeError(f"the node has not come up:\n{said[-3000:]}")
                time.sleep(0.1)
            yield family
        finally:
            _end(process, family)


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="mmph-", dir="/tmp"))  # socket paths must be short
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _start(
    command: list[str], environment: dict[str, str], token: str, folder: Path, log: TextIO
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        env={**environment, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token},
        stdout=log,
        stderr=log,
        start_new_session=True,
        cwd=folder,
    )


def _end(process: subprocess.Popen[bytes], family: Family) -> list[str]:
    process.send_signal(signal.SIGTERM)
    left = family.wait_gone(60)  # Ray ends its own one after the other
    family.kill()
    process.wait(10)
    return left


def _wait_for(url: str, token: str, process: subprocess.Popen[bytes], log: Path) -> None:
    request = urllib.request.Request(
        f"{url}/api/version", headers={"Authorization": f"Bearer {token}"}
    )
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(request, timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"the head has not come up:\n{log.read_text()[-3000:]}")


def _control_address(port: int) -> str:
    # As a node of the cluster, a driver has to use the address that the node registered with.
    from ray.util import get_node_ip_address

    return f"{get_node_ip_address()}:{port}"


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()

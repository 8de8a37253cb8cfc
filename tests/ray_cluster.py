"""A real Ray head on free ports, whose processes are known and gone at the end."""

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

import pytest

PROJECT = Path(__file__).resolve().parents[1]
RAY = str(Path(sys.executable).with_name("ray"))
_TAG = "MMP_TEST_TAG"
_PORTS = (
    "--port",
    "--dashboard-port",
    "--dashboard-agent-listen-port",
    "--dashboard-agent-grpc-port",
    "--runtime-env-agent-port",
    "--metrics-export-port",
    "--ray-client-server-port",
)


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
        return [line for _, line in self._processes()]

    def wait_gone(self, seconds: float) -> list[str]:
        end = time.monotonic() + seconds
        while (left := self.alive()) and time.monotonic() < end:
            time.sleep(0.2)
        return left

    def kill(self) -> None:
        for process, _ in self._processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def _processes(self) -> list[tuple[int, str]]:
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


@pytest.fixture
def family() -> Iterator[Family]:
    """Processes of one test; none may be left at its end."""
    family = Family()
    yield family
    left = family.wait_gone(10)
    family.kill()
    assert not left, f"left behind: {left}"


@pytest.fixture(scope="module")
def ray_head() -> Iterator[Head]:
    """A head with 2 CPUs, behind a token, in a folder of its own."""
    family, token = Family(), secrets.token_hex(16)
    ports = _free_ports(len(_PORTS))
    folder = Path(tempfile.mkdtemp(prefix="mmph-", dir="/tmp"))  # socket paths must be short
    command = [RAY, "start", "--head", "--block", "--num-cpus=2", "--num-gpus=0"]
    command += ["--object-store-memory=300000000", "--dashboard-host=127.0.0.1"]
    command += ["--disable-usage-stats", "--min-worker-port=0", "--max-worker-port=0"]
    command += [f"--temp-dir={folder}", *map("{}={}".format, _PORTS, ports)]
    environment = family.environment(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=token)
    with (folder / "head.log").open("w") as log:
        process = subprocess.Popen(
            command,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd=folder,
        )
        try:
            url = f"http://127.0.0.1:{ports[1]}"
            _wait_for(url, token, process, folder / "head.log")
            address = _control_address(ports[0])
            yield Head(address, url, token, family)
        finally:
            process.send_signal(signal.SIGTERM)
            left = family.wait_gone(60)  # Ray ends its own one after the other
            family.kill()
            process.wait(10)
            shutil.rmtree(folder, ignore_errors=True)
    assert not left, f"left behind: {left}"


def _wait_for(url: str, token: str, process: subprocess.Popen, log: Path) -> None:
    request = urllib.request.Request(
        f"{url}/api/version", headers={"Authorization": f"Bearer {token}"}
    )
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(request, timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"the head has not come up:\n{log.read_text()[-3000:]}")


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

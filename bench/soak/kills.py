"""Jobs in processes of their own, and kill -9 of what they consist of."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bench.local_cluster import Family, Head
from pipeline.isolation.forkserver import CHILD_NAME, SERVER_NAME

NODE = "node"  # of two: all that runs on one that is not the driver's
KINDS = ("driver", "decode worker", "model actor", "raylet", "whole tree", NODE)
SURVIVED = ("decode worker", "model actor", NODE)  # kills after which the job goes on
DELAY_SECONDS, DECODING_SECONDS = 0.1, 2.0  # at most
ACTOR_COMMITS = 8  # at most, after which the model may have seen all there is
LOOK_SECONDS, LOOK_FOR_PROCESSES_SECONDS = 0.01, 0.1
DECODING, IDLE = "decoding child", "ray::IDLE"
# Ray's own agents look once a minute whether their raylet is gone, and write nothing; what ends has no name any more.
AGENTS = {"ray::DashboardAgent", "ray::RuntimeEnvAgent", ""}
MARK = "SOAK_JOB"  # in the environment of all processes of a job
PROJECT = Path(__file__).resolve().parents[2]
_RECORD = re.compile(r"[0-9a-f]{24}\.json")


@dataclass(frozen=True)
class Point:
    """When a job is killed.

    Attributes:
        commits: After this many commits more; with 0, as soon as there is what is to be killed.
        delay_seconds: So much later.
    """

    commits: int
    delay_seconds: float

    @classmethod
    def draw(cls, kind: str, random: np.random.Generator, most: int) -> Point:
        """Any point from the first commit until shortly after the one of number ``most``.

        Parts as small as these are decoded by the time that the first is written, so that decode workers are killed
        while they decode; what was committed before this job is there by then.
        """
        if kind == "decode worker":
            return cls(0, float(random.uniform(0, DECODING_SECONDS)))
        commits = random.integers(
            1, 1 + (min(most, ACTOR_COMMITS) if kind == "model actor" else most)
        )
        return cls(int(commits), float(random.uniform(0, DELAY_SECONDS)))


@dataclass
class InferenceJob:
    """A ``python -m jobs.infer`` of its own.

    Attributes:
        config: Its configuration.
        output: Where it writes.
        log: Takes what it prints.
        head: Of the cluster that it runs on; None starts a Ray of its own.
        node: Another node of that cluster.
        overrides: Of the configuration.
    """

    config: Path
    output: Path
    log: Path
    head: Head | None = None
    node: Family | None = None
    overrides: Sequence[str] = ()
    mark: str = field(default_factory=lambda: secrets.token_hex(8))

    def __post_init__(self) -> None:
        self._before = self._records()
        words = ["-m", "jobs.infer", str(self.config), f"infer.output={self.output}", "--json"]
        words += self.overrides
        if self.head is not None:
            words.append(f"cluster.address={self.head.address}")
        plain = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
        known = plain if self.head is None else self.head.client()
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, *words],
                env={**known, MARK: self.mark, "OMP_NUM_THREADS": "1"},
                cwd=PROJECT,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def commits(self) -> int:
        """Parts that were committed since it began."""
        return len(self._records() - self._before)

    def strike(
        self, kind: str, point: Point, random: np.random.Generator, seconds: float = 300
    ) -> str:
        """Kills one process of a kind, or all processes, at a point of time.

        Returns:
            What was killed; empty where the job ended before there was anything of the kind.
        """
        end = time.monotonic() + seconds
        first = self.commits()
        while not self._reached(kind, first, point):
            if self._ended(kind, end):
                return ""
            time.sleep(LOOK_SECONDS if point.commits else LOOK_FOR_PROCESSES_SECONDS)
        time.sleep(point.delay_seconds)
        while not self._ended(kind, end):
            if killed := self._kill(kind, random):
                return killed
            time.sleep(LOOK_SECONDS)  # those there are may be between two parts
        return ""

    def _reached(self, kind: str, first: int, point: Point) -> bool:
        if self.commits() < first + point.commits:
            return False
        return bool(point.commits or self._victims(kind))

    def _ended(self, kind: str, end: float) -> bool:
        if time.monotonic() > end:
            raise TimeoutError(f"no {kind} to kill until the time limit, see {self.log}")
        return self.process.poll() is not None

    def _kill(self, kind: str, random: np.random.Generator) -> str:
        if kind == "whole tree":
            return self._kill_all()
        if kind == NODE and self.node is not None:
            self.node.kill()
            return kind
        found = sorted(self._victims(kind))
        if not found:
            return ""
        pid, name = found[random.integers(len(found))]
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            return name
        return ""

    def wait(self, seconds: float = 300) -> int:
        """Waits for the end of its driver; returns the exit code, negative where it was a signal."""
        return self.process.wait(seconds)

    def left(self) -> list[str]:
        """Names of its processes that are alive, Ray's agents aside."""
        return [name for _, name, _ in self._members() if name not in AGENTS]

    def wait_gone(self, seconds: float) -> list[str]:
        """Waits until none of its processes is alive but Ray's agents; returns those that are after all."""
        end = time.monotonic() + seconds
        while (left := self.left()) and time.monotonic() < end:
            time.sleep(0.2)
        return left

    def end(self) -> None:
        """Kills what there is of it."""
        self._kill_all()
        self.process.wait()

    def said(self) -> str:
        """What it has printed."""
        return self.log.read_text("utf-8", errors="replace")

    def _kill_all(self) -> str:
        killed: set[int] = set()
        while members := self._members():  # some of them start others meanwhile
            for pid, _, _ in members:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                killed.add(pid)
            self.process.poll()
        return f"{len(killed)} processes"

    def _victims(self, kind: str) -> list[tuple[int, str]]:
        members = self._members()
        if kind == "decode worker":
            servers = {parent for _, name, parent in members if name == DECODING}
            wanted = {parent for pid, _, parent in members if pid in servers}
            return [(pid, name) for pid, name, _ in members if pid in wanted and name != IDLE]
        if kind == DECODING:
            return [(pid, name) for pid, name, _ in members if name == DECODING]
        if kind == "driver":
            return [(pid, name) for pid, name, _ in members if pid == self.process.pid]
        word = {"raylet": "raylet", "model actor": "_Predict"}[kind]
        return [(pid, name) for pid, name, _ in members if word in name]

    def _members(self) -> list[tuple[int, str, int]]:
        """Process, name and parent of each that is alive: those of its session, and those that carry its mark."""
        found = []
        mark = f"{MARK}={self.mark}".encode()
        for name in os.listdir("/proc"):
            if not name.isdigit():
                continue
            with contextlib.suppress(OSError, ValueError):  # it may end while it is looked at
                folder = Path("/proc", name)
                # The name stands in brackets and may hold anything; what follows it is numbers.
                called, _, rest = (folder / "stat").read_text().partition("(")[2].rpartition(")")
                words = rest.split()
                state, parent, session = words[0], int(words[1]), int(words[3])
                if state in "ZX" or session == 0:  # of the kernel
                    continue
                if session == self.process.pid or mark in (folder / "environ").read_bytes():
                    command = (folder / "cmdline").read_bytes().decode(errors="replace")
                    found.append((int(name), _name(command.split("\0"), called), parent))
        return found

    def _records(self) -> set[str]:
        try:
            return {name for name in os.listdir(self.output / "_commit") if _RECORD.fullmatch(name)}
        except FileNotFoundError:
            return set()


def run_unkilled(config: Path, output: Path) -> None:
    """Runs the job and leaves it alone.

    Raises:
        RuntimeError: It failed all the same.
    """
    with tempfile.TemporaryDirectory() as folder:
        job = InferenceJob(config, output, Path(folder) / "log")
        try:
            if job.wait():
                raise RuntimeError(f"a job that nobody killed has failed:\n{job.said()}")
        finally:
            job.end()


def _name(words: Sequence[str], called: str) -> str:
    """What a process is, by its command line, and by what it calls itself where that is a copied one."""
    line = " ".join(words)
    if called in (CHILD_NAME, SERVER_NAME):
        return {CHILD_NAME: DECODING, SERVER_NAME: "fork server"}[called]
    if line.startswith("ray::"):
        return line.split()[0]
    if "jobs.infer" in line:
        return "driver"
    scripts = [word for word in words if word.endswith(".py")]
    return Path(scripts[0] if scripts else words[0]).name

"""Runs a command and measures it with everything it starts: wall and CPU seconds, and peak memory.

    python -m bench.measure COMMAND...

Linux only. CPU seconds are the last seen user and system time of every process of the tree, summed, because Ray's
workers are not waited for by their parent; where the kernel's own account of waited-for processes is larger, that
counts. Memory is the largest sum of the tree's proportional set sizes (PSS), in which a page that several processes
share counts once.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

INTERVAL_SECONDS = 0.33
LARGEST_SHARE = 0.02  # of one core for the looking itself; above it, it looks less often
LINGER_SECONDS = 20.0  # that processes may outlive the command before they are ended
TAIL = 3000  # characters of stderr kept of a command that failed
TICKS = os.sysconf("SC_CLK_TCK")
PR_SET_CHILD_SUBREAPER = 36
GB = 1e9


class Process(NamedTuple):
    """A line of /proc: who, whose child, since when, and how much it has computed."""

    pid: int
    parent: int
    state: str
    started: int
    cpu_seconds: float


@dataclass
class Measured:
    """What a command took.

    Attributes:
        wall_seconds: From the start of the command's process to its end.
        cpu_seconds: User and system time of its whole tree.
        peak_gb: Largest sum of PSS seen, in 10^9 bytes.
        peak_kinds: That sum by kind of memory: ``anon``, ``file`` (page cache mapped), ``shmem`` (object stores).
        processes: Most processes alive at once.
        looks: How often memory was looked at.
        looking_cpu_seconds: What the looking cost, which is in no other number.
        exit_code: Of the command; None where it was ended for taking too long.
        answer: The JSON object it printed, empty where it printed none.
        error: The end of its stderr where it failed.
    """

    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_gb: float = 0.0
    peak_kinds: dict[str, float] = field(default_factory=dict)
    processes: int = 0
    looks: int = 0
    looking_cpu_seconds: float = 0.0
    exit_code: int | None = None
    answer: dict[str, Any] = field(default_factory=dict)
    error: str = ""

    @property
    def failed(self) -> bool:
        """Whether it ended badly, or did not say what it had done."""
        return self.exit_code != 0 or not self.answer


def measure(
    command: Sequence[str],
    *,
    variables: Mapping[str, str] | None = None,
    timeout_seconds: float = 1800.0,
) -> Measured:
    """Runs a command to its end; what it leaves behind is ended.

    Args:
        command: The program and its arguments.
        variables: Added to the environment.
        timeout_seconds: After which the command is ended and counts as failed.
    """
    found = Measured()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, _adopting() as others:
        began = time.perf_counter()
        child = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env={**os.environ, **(variables or {})},
        )
        watch = _Watch(found, others)
        watch.start()
        late = threading.Timer(timeout_seconds, watch.kill)
        late.start()
        try:
            _, status, usage = os.wait4(child.pid, 0)
        except BaseException:  # an interrupt: what was started ends with this process
            late.cancel()
            watch.kill()
            raise
        found.wall_seconds = time.perf_counter() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        found.exit_code = None if watch.killed else child.returncode
        late.cancel()
        watch.finish()
        found.cpu_seconds = max(watch.cpu_seconds, usage.ru_utime + usage.ru_stime)
        found.answer = _last_object(_text(out))
        found.error = _text(err)[-TAIL:] if found.failed else ""
    return found


class _Watch(threading.Thread):
    """Looks at the tree of this process's children, but for ``others``, until it is told to finish."""

    def __init__(self, found: Measured, others: set[int]) -> None:
        super().__init__(daemon=True)
        self.found = found
        self.others = others
        self.times: dict[tuple[int, int], float] = {}
        self.ended = threading.Event()
        self.killed = False

    @property
    def cpu_seconds(self) -> float:
        return sum(self.times.values())

    def run(self) -> None:
        while True:
            began = time.thread_time()
            self.look()
            cost = time.thread_time() - began
            self.found.looks += 1
            self.found.looking_cpu_seconds += cost
            if self.ended.wait(max(INTERVAL_SECONDS, cost / LARGEST_SHARE)):
                return

    def look(self) -> list[Process]:
        """Notes the time and memory of every process of the tree that is alive."""
        alive = self.tree()
        kinds = {"": 0, "anon": 0, "file": 0, "shmem": 0}
        for process in alive:
            for kind, size in _pss(process.pid):
                kinds[kind] += size
        self.found.processes = max(self.found.processes, len(alive))
        if kinds[""] / GB > self.found.peak_gb:
            self.found.peak_gb = kinds.pop("") / GB
            self.found.peak_kinds = {kind: size / GB for kind, size in kinds.items()}
        return alive

    def tree(self) -> list[Process]:
        """The tree's processes that are alive; what has ended is reaped here, for this process adopts orphans."""
        everyone = list(_processes())
        children: dict[int, list[Process]] = {}
        for process in everyone:
            children.setdefault(process.parent, []).append(process)
        alive: list[Process] = []
        todo = [one for one in children.get(os.getpid(), []) if one.pid not in self.others]
        while todo:
            process = todo.pop()
            todo += children.get(process.pid, [])
            self.times[process.pid, process.started] = process.cpu_seconds
            if process.state != "Z":
                alive.append(process)
            elif process.parent == os.getpid() and self.ended.is_set():
                with suppress(ChildProcessError):
                    os.waitpid(process.pid, os.WNOHANG)
        return alive

    def kill(self) -> None:
        self.killed = True
        _signal(self.tree(), signal.SIGKILL)

    def finish(self) -> None:
        """Waits for what the command left behind, and ends it after a while."""
        self.ended.set()
        self.join()
        deadline = time.monotonic() + LINGER_SECONDS
        while left := self.tree():
            if time.monotonic() > deadline:
                _signal(left, signal.SIGKILL)
            time.sleep(0.05)


@contextmanager
def _adopting() -> Iterator[set[int]]:
    """Makes this process the parent of orphans below it; yields the children that it has already."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield {process.pid for process in _processes() if process.parent == os.getpid()}
    finally:
        prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def _processes() -> Iterator[Process]:
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        with suppress(OSError, ValueError):  # it may end while it is looked at
            text = Path("/proc", name, "stat").read_text(errors="replace")
            # The name stands in brackets and may hold anything; what follows it is numbers.
            state, *numbers = text.rpartition(")")[2].split()
            cpu = (int(numbers[10]) + int(numbers[11])) / TICKS
            yield Process(int(name), int(numbers[0]), state, int(numbers[18]), cpu)


def _pss(pid: int) -> Iterator[tuple[str, int]]:
    """Bytes of a process's proportional set size: all of it under the empty name, and by kind."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            name, _, rest = line.partition(":")
            if name == "Pss" or name in ("Pss_Anon", "Pss_File", "Pss_Shmem"):
                yield name[4:].lower(), int(rest.split()[0]) * 1024


def _signal(processes: Sequence[Process], number: int) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)


def _last_object(text: str) -> dict[str, Any]:
    """The JSON object that a text is or ends in (Ray may print warnings before it), or that its last line is."""
    object_on = text[max(0, text.find("\n{")) :]
    for candidate in (text, object_on, *text.strip().splitlines()[-1:]):
        with suppress(ValueError):
            value = json.loads(candidate)
            if isinstance(value, dict):
                return value
    return {}


def _text(file: Any) -> str:
    file.seek(0)
    return str(file.read().decode(errors="replace"))


if __name__ == "__main__":
    result = measure(sys.argv[1:])
    print(json.dumps(asdict(result), indent=1))
    sys.exit(result.exit_code or 0)

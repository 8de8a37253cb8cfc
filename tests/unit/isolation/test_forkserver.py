"""The process that decoding processes are copies of."""

import contextlib
import errno
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest
from support.children import children, fork_servers

from pipeline.engine.decoding.isolated import _modules_of, end_child
from pipeline.isolation import Guard, forkserver
from pipeline.isolation.forkserver import ForkServer
from pipeline.limits import Limits
from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.modalities.text.codec import train_tokenizer

TOKENIZER = train_tokenizer(["a tone"], 300)


def look(name: str, *_: object) -> dict[str, object]:
    """What a child sees of the process that has it started."""
    os.write(1, f"said by a child: {name}".encode())
    found = {"folder": os.getcwd(), "variable": os.environ.get(name), "path": sys.path[0]}
    return found | {"pid": os.getpid(), "server": os.getppid()}


@pytest.fixture(autouse=True)
def others() -> set[int]:
    """Children that tests before have left to this process."""
    end_child()
    return set(children(os.getpid()))


@contextlib.contextmanager
def looking() -> Iterator[Guard]:
    guard = Guard(look, ("image",), Limits())
    try:
        yield guard
    finally:
        guard.close()


def end(pid: int) -> None:
    """Kills a process; it is nobody's business any more when this returns."""
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not is_alive(pid))


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def wait_for(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_all_children_come_from_one(others: set[int]) -> None:
    with looking() as one, looking() as other:
        found = [one("A"), other("A")]
        assert set(children(os.getpid())) - others == {each["pid"] for each in found}
    assert {each["server"] for each in found} == set(fork_servers(os.getpid()))
    assert set(children(os.getpid())) <= others


def test_a_child_has_the_surroundings_of_its_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with looking() as guard:
        guard("VARIABLE")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        monkeypatch.setenv("VARIABLE", name)
        monkeypatch.syspath_prepend(str(tmp_path / name))
        with looking() as guard:
            found = guard("VARIABLE")
        assert found["folder"] == found["path"] == str(tmp_path / name)
        assert found["variable"] == name
        assert "said by a child: VARIABLE" in capfd.readouterr().out


def test_one_that_is_killed_is_replaced(others: set[int]) -> None:
    with looking() as guard:
        before = guard("A")
        end(before["server"])
        wait_for(lambda: not children(before["server"]) and not is_alive(before["pid"]))
        after = guard("A")  # its child was ended with it
        assert after["server"] != before["server"]
        assert set(children(os.getpid())) - others == {after["pid"]}
    (server,) = fork_servers(os.getpid())
    end(server)
    with looking() as guard:  # and where there is no child
        assert guard("A")["server"] != server


def test_an_answer_that_was_not_waited_for_is_nobody_elses(
    others: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    receive = forkserver._receive

    def interrupted(by: socket.socket) -> None:
        raise KeyboardInterrupt

    with looking() as guard:
        before = guard("A")["server"]
        monkeypatch.setattr(forkserver, "_receive", interrupted)
        with pytest.raises(KeyboardInterrupt), looking() as other:
            other("A")
        monkeypatch.setattr(forkserver, "_receive", receive)
        with looking() as other:
            found = other("A")
            assert set(children(os.getpid())) - others == {found["pid"]}
            assert found["server"] != before
        assert guard("A")["server"] == found["server"]


def num_open(file: IO[str]) -> int:
    """How often this process has a file open."""
    wanted = os.readlink(f"/proc/self/fd/{file.fileno()}")
    found = 0
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # of another thread, closed meanwhile
            found += os.readlink(f"/proc/self/fd/{name}") == wanted
    return found


def test_a_machine_without_room_is_told_and_nothing_is_left_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room() -> int:
        raise BlockingIOError(errno.EAGAIN, "no room")

    monkeypatch.setattr(os, "fork", no_room)
    ours, theirs = socket.socketpair()
    serving = threading.Thread(target=forkserver._serve, args=(theirs,))
    serving.start()
    with ours, theirs, (tmp_path / "x").open("w") as nothing:
        opened = num_open(nothing)
        for _ in range(2):
            forkserver._send(ours, {"start": []}, [nothing.fileno()])
            assert forkserver._receive(ours) == ({"errno": errno.EAGAIN}, [])
        assert num_open(nothing) == opened
        ours.close()
        serving.join()


def test_threads_that_begin_together_share_it() -> None:
    for server in fork_servers(os.getpid()):
        end(server)
    found = []

    def begin() -> None:
        with looking() as guard:
            found.append(guard("A")["server"])

    threads = [threading.Thread(target=begin) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert set(found) == set(fork_servers(os.getpid()))


def test_a_copy_of_this_process_has_one_of_its_own() -> None:
    with looking() as guard:
        ours = guard("A")["server"]
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException), looking() as guard:
            found = guard("A")["server"]
            os._exit(0 if found != ours and Path(f"/proc/{found}").exists() else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    with looking() as guard:
        assert guard("A")["server"] == ours


def test_it_has_one_thread_whatever_it_has_imported() -> None:
    """A lock that another thread held would stay locked in every copy."""
    decoder = Decoder.build(ModalitiesConfig.model_validate(KINDS), TOKENIZER)
    modules = _modules_of(decoder)
    server = ForkServer()
    try:
        for _ in range(2):
            with open(os.devnull) as nothing:
                child = server.start(modules, [nothing.fileno()])
            while server.code_of(child) is None:  # it has no connection, and ends
                pass
        assert len(os.listdir(f"/proc/{server._process.pid}/task")) == 1
    finally:
        server.close()


KINDS = {"image": {}, "text": {}, "audio": {}, "vector": {"fields": ["npy"], "shape": [4]}}


def test_closed_outputs_are_no_reason_to_fail(tmp_path: Path) -> None:
    """As of a daemon that was started with none."""
    program = f"""
import traceback, sys
try:
    from pipeline.isolation import Guard, forkserver
    from pipeline.limits import Limits
    import test_forkserver
    guard = Guard(test_forkserver.look, ("image",), Limits())
    found = str(guard("A")["pid"])
    guard.close()
except BaseException:
    found = traceback.format_exc()
open({str(tmp_path / "found")!r}, "w").write(found)
"""
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    words = ["bash", "-c", 'exec "$0" -c "$1" 1>&- 2>&-', sys.executable, program]
    subprocess.run(words, check=True, env={**os.environ, "PYTHONPATH": path})
    assert (tmp_path / "found").read_text().isdigit(), (tmp_path / "found").read_text()

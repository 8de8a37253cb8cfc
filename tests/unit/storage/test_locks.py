"""What keeps two jobs out of one folder: on a disk, on one that several hosts mount, and where there are no locks."""

import errno
import fcntl
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pipeline.errors import LockedError, SinkError
from pipeline.storage.locking import locks
from pipeline.storage.locking.locks import file_system, lock
from pipeline.storage.locking.numbered import NumberedFile

SECONDS = 1.0  # a lease lasts without a renewal; 20 in earnest

# A process on another host: it sees the files, and none of our locks. {0}: the folder, {1}: seconds it holds it.
OTHER_HOST = """
import fcntl, sys, time
from pipeline.errors import LockedError
from pipeline.storage.locking import locks
fcntl.flock = lambda handle, how: None
locks.file_system = lambda path: "nfs4"
locks.LEASE_SECONDS = {seconds}
try:
    with locks.lock({folder!r}):
        print("held", flush=True)
        time.sleep({hold})
except LockedError as error:
    sys.exit(error.exit_code)
"""


def other_host(folder: Path, hold: float) -> subprocess.Popen[str]:
    program = OTHER_HOST.format(folder=str(folder), hold=hold, seconds=SECONDS)
    return subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)


def wait_held(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


@pytest.fixture
def short_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "LEASE_SECONDS", SECONDS)


def test_the_lock_keeps_others_out_and_dies_with_its_process(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    hold = (
        "import time; from pipeline.storage.locking import locks\n"
        f"with locks.lock({str(folder)!r}):\n"
        "    print('held', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", hold], stdout=subprocess.PIPE, text=True)
    wait_held(other)
    with pytest.raises(LockedError) as caught, lock(str(folder)):
        pass
    assert caught.value.exit_code == 75
    end(other)
    with lock(str(folder)):
        assert list(folder.iterdir()) == [], "no lock file is left, and no lease is taken"


def test_two_hosts_are_kept_apart_on_a_file_system_that_both_mount(tmp_path: Path) -> None:
    first = other_host(tmp_path, 60)
    wait_held(first)
    second = other_host(tmp_path, 0)
    assert second.wait() == 75
    end(first)  # as kill -9 does: nothing gives the lease back
    third = other_host(tmp_path, 0)
    assert third.wait() == 0, "and it runs out"
    for process in (second, third):
        end(process)


@pytest.mark.parametrize(
    "code", [errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL]
)
def test_a_file_system_without_locks_has_a_lease(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, short_lease: None, code: int
) -> None:
    def refuse(handle: int, how: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with lock(str(tmp_path)):
        locks.check_held(str(tmp_path))
        with pytest.raises(LockedError, match="another job"), lock(str(tmp_path)):
            pass
    began = time.monotonic()
    with lock(str(tmp_path)):
        assert time.monotonic() - began < SECONDS, "one that was given back is free at once"


@pytest.mark.parametrize(
    ("code", "kind"), [(errno.EWOULDBLOCK, LockedError), (errno.EIO, SinkError)]
)
def test_a_lock_that_is_held_is_told_from_a_disk_that_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, kind: type[Exception]
) -> None:
    def refuse(handle: int, how: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises((LockedError, SinkError)) as raised, lock(str(tmp_path)):
        pass
    assert type(raised.value) is kind
    assert str(tmp_path) in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_the_kind_of_a_file_system_is_that_of_the_mount_nearest_above(tmp_path: Path) -> None:
    mounts = "\n".join(
        f"{number} 1 0:{number} / {place} rw,relatime shared:1 - {kind} source rw"
        for number, (place, kind) in enumerate(
            [
                ("/", "ext4"),
                (f"{tmp_path}/my\\040data", "xfs"),
                (f"{tmp_path}/my\\040data", "nfs4"),  # mounted over it
                (f"{tmp_path}/my", "cifs"),
            ]
        )
    )
    (tmp_path / "my data" / "run").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "my data")
    assert file_system(tmp_path, mounts) == "ext4"
    assert file_system(tmp_path / "my data" / "run", mounts) == "nfs4"
    assert file_system(tmp_path / "link", mounts) == "nfs4"
    assert "ext4" in locks.OF_ONE_MACHINE
    assert not locks.OF_ONE_MACHINE & {"nfs", "nfs4", "cifs", "smb3", "lustre", "ceph", "9p", ""}
    assert not any(kind.startswith("fuse.") for kind in locks.OF_ONE_MACHINE)


def test_a_numbered_file_is_replaced_by_who_has_read_it_last(tmp_path: Path) -> None:
    file = NumberedFile(tmp_path / "lease")
    with pytest.raises(FileNotFoundError):
        file.read()
    first = file.replace(b"1", None)
    assert first is not None
    assert file.replace(b"x", None) is None
    second = file.replace(b"2", first)
    assert second is not None
    assert file.replace(b"x", first) is None
    third = file.replace(b"3", second)
    assert file.replace(b"slow", None) is None, "the number that it asks for is free again"
    assert file.read() == (b"3", third)
    assert len(list((tmp_path / "lease").iterdir())) == 1


def test_of_many_that_replace_a_numbered_file_at_once_one_succeeds(tmp_path: Path) -> None:
    NumberedFile(tmp_path).replace(b"0", None)
    barrier, won = threading.Barrier(8), list[bytes]()

    def replace(number: int) -> None:
        file, content = NumberedFile(tmp_path), f"{number}".encode()
        version = file.read()[1]
        barrier.wait()
        if file.replace(content, version):
            won.append(content)

    threads = [threading.Thread(target=replace, args=(number,)) for number in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert won == [NumberedFile(tmp_path).read()[0]]


def test_a_link_whose_answer_was_lost_is_known_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network file system may ask a second time, and then be told that the name is there."""
    real = os.link

    def link(source: Path, target: Path) -> None:
        real(source, target)
        real(source, target)

    monkeypatch.setattr(os, "link", link)
    assert NumberedFile(tmp_path).replace(b"mine", None) is not None


def test_a_lease_that_a_power_cut_left_empty_runs_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, short_lease: None
) -> None:
    monkeypatch.setattr(locks, "file_system", lambda path: "nfs4")
    (tmp_path / locks.LEASE).mkdir(parents=True)
    (tmp_path / locks.LEASE / "7").write_bytes(b"")
    with lock(str(tmp_path)):
        locks.check_held(str(tmp_path))

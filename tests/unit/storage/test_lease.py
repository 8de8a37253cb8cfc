"""The lease that keeps two jobs out of one folder of an object store."""

import json
import threading
import time
from pathlib import Path

import pytest

from pipeline import storage
from pipeline.errors import LockedError
from pipeline.storage.locking import locks
from pipeline.storage.locking.lease import Lease

SECONDS = 2.0  # a lease that was not renewed for so long is anybody's; 20 in earnest


def lease(bucket: str) -> Lease:
    return Lease(f"{bucket}/out/_commit/_lease.json", f"{bucket}/out", SECONDS)


def content(bucket: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(storage.read_bytes(f"{bucket}/out/_commit/_lease.json"))
    return found


def kill(held: Lease) -> None:
    """Ends the renewals, as kill -9 does."""
    held._over.set()
    held._thread.join()


def test_one_holder_at_a_time(bucket: str) -> None:
    first, second = lease(bucket), lease(bucket)
    first.acquire()
    first.check()
    with pytest.raises(LockedError, match="another job works on this folder"):
        second.acquire()
    assert content(bucket)["epoch"] == 1
    first.release()
    began = time.monotonic()
    second.acquire()
    assert time.monotonic() - began < SECONDS, "one that was given back is free at once"
    assert content(bucket)["epoch"] == 2
    second.release()


def test_a_dead_holder_is_waited_for_and_then_followed(bucket: str) -> None:
    first, second = lease(bucket), lease(bucket)
    first.acquire()
    kill(first)
    began = time.monotonic()
    second.acquire()
    assert SECONDS * 0.9 < time.monotonic() - began < SECONDS * 3
    assert content(bucket)["epoch"] == 2
    with pytest.raises(LockedError, match="lost its lease"):
        first.check()
    first.release()  # changes nothing
    second.check()
    second.release()


def test_a_holder_that_was_away_learns_that_it_was_replaced(bucket: str) -> None:
    """Its process was stopped for longer than the lease lasts; another has come and gone."""
    held = lease(bucket)
    held.acquire()
    others = json.dumps({"epoch": 7, "holder": None, "seconds": SECONDS, "renewals": 0})
    storage.write_bytes(f"{bucket}/out/_commit/_lease.json", others.encode())
    time.sleep(SECONDS)
    with pytest.raises(LockedError, match="lost its lease"):
        held.check()
    held.release()
    assert content(bucket)["epoch"] == 7


def test_a_holder_whose_renewals_hang_stops_trusting_its_lease(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody tells it of a loss: its own clock has to."""
    held = Lease(str(tmp_path / "lease"), str(tmp_path), 0.5)
    held.acquire()
    held.check()
    goes_on = threading.Event()

    def hang(data: bytes, version: str | None) -> str | None:
        goes_on.wait()
        return None

    monkeypatch.setattr(held._register, "replace", hang)
    time.sleep(0.7)
    with pytest.raises(LockedError, match="lost its lease"):
        held.check()
    goes_on.set()
    held.release()


def test_of_many_that_wait_for_a_dead_holder_one_gets_it(tmp_path: Path) -> None:
    folder = str(tmp_path)
    dead = lease(folder)
    dead.acquire()
    kill(dead)
    won: list[Lease] = []

    def acquire() -> None:
        mine = lease(folder)
        try:
            mine.acquire()
        except LockedError:
            return
        won.append(mine)

    threads = [threading.Thread(target=acquire) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    [winner] = won
    winner.check()
    winner.release()


def test_jobs_lock_folders_of_stores_with_it(bucket: str) -> None:
    folder = f"{bucket}/out"
    with locks.lock(folder):
        locks.check_held(folder)
        assert content(bucket)["holder"] is not None
    assert content(bucket)["holder"] is None
    locks.check_held(folder)  # not locked here: nothing to check

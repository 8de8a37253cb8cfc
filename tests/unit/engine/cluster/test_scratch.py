import fcntl
import os
import time

import pytest

from pipeline.engine.cluster import scratch
from pipeline.errors import RunError


@pytest.fixture(autouse=True)
def parent(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("error", [None, RunError("x"), KeyboardInterrupt()])
def test_the_folder_is_gone_after_an_expected_end(parent, error) -> None:
    def use() -> None:
        with scratch.folder() as folder:
            (folder / "session").mkdir()
            if error:
                raise error

    if error:
        with pytest.raises(type(error)):
            use()
    else:
        use()
    assert list(parent.iterdir()) == []


def test_a_bug_leaves_the_logs_until_the_next_job(parent) -> None:
    with pytest.raises(ZeroDivisionError), scratch.folder() as folder:
        raise ZeroDivisionError
    assert folder.exists()
    old = time.time() - 120
    os.utime(folder, (old, old))
    with scratch.folder():
        assert not folder.exists()


def test_a_folder_in_use_is_left_alone(parent) -> None:
    mine = parent / "mmp-ray-mine"
    mine.mkdir()
    with (mine / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.utime(mine, (0, 0))
        with scratch.folder():
            assert mine.exists()

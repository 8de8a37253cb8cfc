"""The watchdog of a night: what moves, wherever it does, keeps it quiet, and a stall does not."""

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pipeline import pulse
from pipeline.engine.executors.tasks import work_through
from pipeline.engine.observe.beats import heard
from pipeline.nightly.ledger import Ledger


def test_a_stalled_night_shows_its_stacks_and_ends(tmp_path: Path) -> None:
    code = (
        "import pathlib, time\n"
        "from pipeline import pulse\n"
        "from pipeline.nightly.watchdog import Watchdog\n"
        f"said = pathlib.Path({str(tmp_path / 'said')!r})\n"
        "with Watchdog(0.4, lambda seconds: said.write_text(str(seconds))) as dog:\n"
        "    for _ in range(4):\n"
        "        time.sleep(0.2); dog.feed()\n"
        "    for _ in range(4):\n"
        "        time.sleep(0.2); pulse.beat()\n"
        "    assert not said.exists()\n"
        "    dog.feed(0.5); time.sleep(0.7)\n"
        "    assert not said.exists()\n"
        "    time.sleep(60)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 1, done.stderr
    assert (tmp_path / "said").read_text() == "0.4"
    assert "most recent call first" in done.stderr
    assert 'File "<string>", line 13' in done.stderr


def test_a_night_in_which_nothing_moves_is_given_up(tmp_path: Path) -> None:
    """Its shards lie on a server that takes requests and never answers."""
    config = tmp_path / "night.yaml"
    config.write_text(f"run: {tmp_path}/run\nmodalities: {{image: {{fields: [png]}}}}\n")
    with socket.create_server(("127.0.0.1", 0)) as server:
        hangs = f"infer.input=http://127.0.0.1:{server.getsockname()[1]}/x.tar"
        words = [hangs, "nightly.stall_minutes=0.03", "--date", "2026-11-01"]
        done = subprocess.run(
            [sys.executable, "-m", "jobs.nightly", str(config), *words],
            capture_output=True, text=True, timeout=100, check=False,
        )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "most recent call first" in done.stderr
    page = Ledger(str(tmp_path / "run")).read("2026-11-01")
    assert page is not None
    assert (page.status, page.error) == ("failed", "nothing moved for 0.03 minutes")
    assert page.attempts[-1].error == page.error


@pytest.mark.usefixtures("local_ray")
def test_what_moves_on_a_worker_is_a_sign_of_life(tmp_path: Path) -> None:
    """A part that takes long is read, decoded and merged elsewhere; meanwhile this process only waits."""
    heard_of = str(tmp_path / "heard")

    # In here, so that it travels by value: workers do not have this module.
    def moving(part: int) -> bool:
        """Moves until it is heard of, or for a minute."""
        end = time.monotonic() + 60
        while not os.path.exists(heard_of) and time.monotonic() < end:
            pulse.beat()
            time.sleep(0.1)
        return time.monotonic() < end

    results: list[bool] = []
    with heard(0.2):
        thread = threading.Thread(target=lambda: results.extend(work_through([1], moving, 2)))
        thread.start()
        began = pulse.last_beat()
        while thread.is_alive() and pulse.last_beat() == began:
            time.sleep(0.05)
        Path(heard_of).touch()
        thread.join()
    assert results == [True], "it was heard of before it ended"

"""The schedule of nights itself: a real firing, and what a night that fails does to it."""

import datetime
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from apscheduler.triggers.interval import IntervalTrigger
from support.ray_cluster import PROJECT, Family
from support.tones import make_samples, write_tar

from bench.soak.workload import MODALITIES, write_bundle
from jobs import nightly
from pipeline.nightly import schedule
from pipeline.nightly.cron import parse_cron
from pipeline.nightly.ledger import Ledger

# The schedule's own program, and one whose time comes in a second rather than with the next full minute.
MINUTE = ("-m", "jobs.nightly")
SECOND = (
    "-c",
    """
import datetime, sys
from apscheduler.triggers.date import DateTrigger
from jobs import nightly
from pipeline.nightly import schedule
soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=1)
schedule._Trigger = lambda *_: DateTrigger(soon)
sys.exit(nightly.main(sys.argv[1:]))
""",
)
FAR = ("Pacific/Kiritimati", "Etc/GMT+12")  # 14 hours before UTC and 12 behind it


def other_day() -> ZoneInfo:
    """A time zone that has another date than UTC, as one of the two always has."""
    now = datetime.datetime.now(datetime.UTC)
    return next(zone for zone in map(ZoneInfo, FAR) if now.astimezone(zone).date() != now.date())


@pytest.mark.parametrize(
    "program", [SECOND, pytest.param(MINUTE, marks=pytest.mark.slow)], ids=["second", "minute"]
)
def test_a_night_begins_when_its_time_comes(
    tmp_path: Path, family: Family, program: tuple[str, str]
) -> None:
    write_bundle(tmp_path / "model")
    zone = other_day()
    today = datetime.datetime.now(zone).date()
    for day in (today, today + datetime.timedelta(1)):  # should it become midnight there meanwhile
        write_tar(tmp_path / "in" / day.isoformat() / "x.tar", make_samples(4, seed=day.day))
    config = tmp_path / "night.yaml"
    settings = {
        "run": str(tmp_path / "run"),
        "modalities": MODALITIES,
        "infer": {"input": f"{tmp_path}/in/{{date}}/*.tar", "model": str(tmp_path / "model")},
        "cluster": {"num_cpus": 1},
    }
    config.write_text(json.dumps(settings))
    words = [str(config), "serve", "--cron", "* * * * *", "--timezone", zone.key]
    served = subprocess.Popen(
        [sys.executable, *program, *words],
        env=family.environment(),
        cwd=PROJECT,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert served.stderr is not None
    said = []
    for line in served.stderr:
        said.append(line)
        if "night_ended" in line:
            break
    assert "exit_code=0" in said[-1], "".join(said)
    served.send_signal(signal.SIGTERM)
    assert served.wait(100) == 0, served.stderr.read()
    ledger = Ledger(str(tmp_path / "run"))
    nights = [ledger.read(day.isoformat()) for day in (today, today + datetime.timedelta(1))]
    night = next(night for night in nights if night is not None)
    assert (night.status, night.samples["read"], len(night.attempts)) == ("done", 4, 1)
    assert f"date={night.date}" in said[-1]
    assert Path(ledger.location(night.date, ".md")).read_text().startswith(f"# {night.date}: done")
    served.stderr.close()


@pytest.mark.parametrize("kind", ["serve", "systemd", "cron", "kubernetes"])
def test_who_keeps_the_schedule_runs_nights_of_its_zone_that_catch_up(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "night.yaml"
    config.write_text(f"run: {tmp_path}/run\nmodalities: {{image: }}\n")
    commands = []
    monkeypatch.setattr(schedule, "serve", lambda command, *_: commands.append(command) or 0)
    mode = ["serve"] if kind == "serve" else ["emit", kind, "--to", str(tmp_path)]
    flags = ["--timezone", "Asia/Shanghai", "--catch-up", "3"]
    assert nightly.main([str(config), *mode, "input.max_samples=5", *flags]) == 0
    if kind == "serve":
        assert commands[0][-5:] == ["input.max_samples=5", *flags]
        return
    written = "".join(
        path.read_text() for path in tmp_path.iterdir() if path.name.startswith("pipeline-nightly")
    )
    words = re.sub("[\"'\\n -]+", " ", written)
    assert "input.max_samples=5 timezone Asia/Shanghai catch up 3" in words


@pytest.mark.parametrize(
    "words",
    [
        ["--cron", "0 2 31 2 *"],
        ["--cron", "0 0 */2 * mon"],
        ["--cron", "0 0 * * *", "--timezone", "Asia/Beirut"],
        ["--timezone", "Mars/Olympus"],
    ],
)
def test_what_cannot_be_kept_is_refused_in_one_line(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "night.yaml"
    config.write_text(f"run: {tmp_path}/run\nmodalities: {{image: }}\n")
    assert nightly.main([str(config), "emit", "kubernetes", "--to", str(tmp_path), *words]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["night.yaml"]


def test_the_schedule_is_asked_for_moments_and_not_for_times_of_a_clock() -> None:
    """A difference of two times of one zone, as the scheduler computes it, is wrong where the clocks change."""
    trigger = schedule._Trigger(parse_cron("0 0 * * *"), ZoneInfo("Asia/Beirut"))
    begin = datetime.datetime(2026, 3, 27, 22, tzinfo=datetime.UTC)
    first = trigger.get_next_fire_time(None, begin)
    assert first == begin, "it is due now"
    second = trigger.get_next_fire_time(first, first + datetime.timedelta(minutes=1))
    third = trigger.get_next_fire_time(second, second)
    assert [second - first, third - second] == [
        datetime.timedelta(hours=24),
        datetime.timedelta(hours=23),
    ]
    assert third.utcoffset() == datetime.timedelta(0)


@pytest.fixture
def own_signals() -> Iterator[None]:
    """A schedule takes SIGINT and SIGTERM over for as long as its process lives."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("own_signals")
def test_no_night_ends_the_schedule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that fails, one that is killed and one that takes longer than its turn are followed by others."""
    # cron has no shorter turns than a minute; all else is the real scheduler, and real processes.
    monkeypatch.setattr(schedule, "_Trigger", lambda *_: IntervalTrigger(seconds=0.3))
    night = tmp_path / "night.py"
    night.write_text(
        f"""
import os, pathlib, signal, sys, time
log = pathlib.Path({str(tmp_path / "log")!r})
turn = len(log.read_text().splitlines()) if log.exists() else 0
with log.open("a") as file:
    file.write(" ".join(sys.argv[1:]) + chr(10))
if turn == 0:
    sys.exit(1)
if turn == 1:
    os.kill(os.getpid(), signal.SIGKILL)
if turn == 2:
    (log.parent / "long").write_text(str(time.time()))
    time.sleep(1)
    (log.parent / "long").write_text("over")
else:
    assert (log.parent / "long").read_text() == "over", "never two nights at once"
    (log.parent / "after").write_text(str(turn))
"""
    )

    def stop() -> None:
        end = time.monotonic() + 60
        while not (tmp_path / "after").exists() and time.monotonic() < end:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=stop)
    thread.start()
    assert schedule.serve([sys.executable, "-S", str(night)], "* * * * *", "UTC") == 0
    thread.join()
    assert (tmp_path / "after").exists(), "a night followed on those that went wrong"
    today = datetime.datetime.now(datetime.UTC).date()
    for line in (tmp_path / "log").read_text().splitlines():
        word, date = line.split()
        assert word == "--date"
        assert abs(datetime.date.fromisoformat(date) - today) <= datetime.timedelta(1)


@pytest.mark.usefixtures("own_signals")
def test_a_command_that_is_not_there_does_not_end_the_schedule(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(schedule, "_Trigger", lambda *_: IntervalTrigger(seconds=0.2))
    threading.Timer(1.5, os.kill, [os.getpid(), signal.SIGTERM]).start()
    assert schedule.serve(["/nowhere/python"], "* * * * *", "UTC") == 0
    assert sum("raised an exception" in record.message for record in caplog.records) > 1

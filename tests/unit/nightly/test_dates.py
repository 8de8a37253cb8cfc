"""Which dates a night does beside its own, and what becomes of it where one of them goes wrong."""

import datetime
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from pipeline.nightly.dates import logical_date, run_dates, unfinished, worst
from pipeline.nightly.ledger import DONE, FAILED, STOPPED, Attempt, Ledger, Night

TODAY = datetime.date(2026, 11, 9)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """Four nights: one stopped, one done, one failed, and one that is missing between them."""
    ledger = Ledger(str(tmp_path))
    nights = {"02": STOPPED, "04": STOPPED, "05": DONE, "07": FAILED, "09": STOPPED}
    for day, status in nights.items():
        ledger.write(Night(f"2026-11-{day}", status))
    return ledger


def test_all_that_is_not_done_is_caught_up_with(ledger: Ledger) -> None:
    dates = unfinished(ledger, TODAY, catch_up=5)
    assert dates == ["2026-11-04", "2026-11-06", "2026-11-07", "2026-11-08"]
    assert unfinished(ledger, TODAY, catch_up=0) == []


def test_a_stopped_night_is_continued_without_being_asked_for(ledger: Ledger) -> None:
    assert unfinished(ledger, TODAY, 0, stopped_among=14) == ["2026-11-02", "2026-11-04"]
    assert unfinished(ledger, TODAY, 0, stopped_among=3) == ["2026-11-04"]
    assert unfinished(ledger, TODAY, 1, stopped_among=3) == ["2026-11-04", "2026-11-08"]


def runner(codes: dict[str, int], ran: list[str]) -> Callable[[str], int]:
    def run(date: str) -> int:
        ran.append(date)
        return codes.get(date, 0)

    return run


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ({}, 0),
        ({"a": 2}, 2),
        ({"a": 1, "b": 2}, 1),
        ({"b": 3, "tonight": 4}, 3),
        ({"a": 75}, 75),
        ({"a": -9}, 1),
        ({"tonight": 2}, 2),
    ],
)
def test_each_date_is_tried_and_tonight_is_whatever_became_of_them(
    codes: dict[str, int], expected: int
) -> None:
    ran: list[str] = []
    run = runner(codes, ran)
    assert run_dates(["a", "b"], None, run, lambda: run("tonight")) == expected
    assert ran == ["a", "b", "tonight"]


def test_who_interrupts_one_date_wants_none_of_the_others() -> None:
    ran: list[str] = []
    run = runner({"a": 130}, ran)
    assert run_dates(["a", "b"], None, run, lambda: run("tonight")) == 130
    assert ran == ["a"]


def test_behind_the_deadline_tonight_is_run_and_the_others_are_left() -> None:
    ran: list[str] = []
    run = runner({}, ran)
    past = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=1)
    assert run_dates(["a", "b"], past, run, lambda: run("tonight")) == 0
    assert ran == ["tonight"]


def test_the_worst_exit_code() -> None:
    assert worst([0, 4, 0]) == 4
    assert worst([4, 3, 75]) == 3
    assert worst([2, 1]) == 1, "a rerun may mend it"


def test_the_logical_date_is_that_of_the_time_zone() -> None:
    zones = {"Pacific/Kiritimati": 14, "Etc/GMT+12": -12, "UTC": 0}
    for zone, hours in zones.items():
        around = [datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=hours)]
        date = logical_date(None, zone)
        around.append(datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=hours))
        assert around[0].date() <= date <= around[1].date()
    assert logical_date("2026-11-09", "UTC") == TODAY
    for text, zone in (("yesterday", None), (None, "Mars/Olympus")):
        with pytest.raises(ConfigError):
            logical_date(text, zone)


def test_pages_of_earlier_versions_are_read(ledger: Ledger) -> None:
    path = Path(ledger.location("2026-11-05"))
    values = json.loads(path.read_text())
    path.write_text(json.dumps(values | {"attempts": 2}))
    night = ledger.read("2026-11-05")
    assert night is not None
    assert (night.status, night.attempts) == (DONE, [])


def test_every_attempt_has_its_line(ledger: Ledger) -> None:
    attempts = [
        Attempt("2026-11-21T02:00:00+00:00"),
        Attempt("2026-11-21T02:30:00+00:00", "2026-11-21T02:31:00+00:00", FAILED, 1, "no space | out | make room"),
        Attempt("2026-11-21T03:00:00+00:00", "2026-11-21T03:05:00+00:00", DONE, 0, "", {"read": 5}, {"done": 1}),
    ]  # fmt: skip
    page = Path(ledger.write(Night("2026-11-21", DONE, 0, attempts=attempts))).read_text()
    assert ledger.read("2026-11-21") == Night("2026-11-21", DONE, 0, attempts=attempts)
    lines = [line for line in page.splitlines() if line[:2] in ("1.", "2.", "3.")]
    assert "to ?: failed, exit code 1" in lines[0]
    assert "it has not ended, or was killed" in lines[0]
    assert lines[1].endswith(
        "02:31:00+00:00: failed, exit code 1; none: no space | out | make room"
    )
    assert lines[2].endswith("done, exit code 0; 5 read, 1 parts done")

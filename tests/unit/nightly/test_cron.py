"""Schedules, against a brute-force reading of cron's rules and against systemd."""

import datetime
import shutil
import subprocess

import pytest
from apscheduler.triggers.combining import OrTrigger
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.engine.schedule import _trigger, time_zone
from pipeline.errors import ConfigError
from pipeline.nightly.cron import Times, on_calendar, parse_cron

SPANS = {"minute": (0, 59), "hour": (0, 23), "day": (1, 28), "month": (1, 12), "weekday": (0, 7)}


@st.composite
def words(draw: st.DrawFn, name: str) -> tuple[str, set[int]]:
    """A field as it is written, and the values that it stands for."""
    low, high = SPANS[name]
    text, values = [], set()
    for _ in range(draw(st.integers(1, 3))):
        first = draw(st.integers(low, high))
        last = draw(st.integers(first, high))
        step = draw(st.integers(1, 9))
        kind = draw(st.sampled_from(["one", "range", "steps"]))
        text.append(
            {"one": f"{first}", "range": f"{first}-{last}", "steps": f"{first}-{last}/{step}"}[kind]
        )
        values |= {
            "one": {first},
            "range": set(range(first, last + 1)),
            "steps": set(range(first, last + 1, step)),
        }[kind]
    return ",".join(text), values


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_the_schedule_runs_when_cron_would(data: st.DataObject) -> None:
    text, fields = [], {}
    for name in SPANS:
        if name != "minute" and data.draw(st.booleans()):
            text.append("*")
            fields[name] = None
        else:
            word, fields[name] = data.draw(words(name))
            text.append(word)
    zone = time_zone("UTC")
    trigger = OrTrigger([_trigger(times, zone) for times in parse_cron(" ".join(text))])
    now = datetime.datetime(2026, 2, 27, 23, 58, tzinfo=zone)
    ours = []
    for _ in range(3):
        found = trigger.get_next_fire_time(ours[-1] if ours else None, now)
        assert found is not None
        ours.append(found)
        now = found + datetime.timedelta(minutes=1)
    # Every minute is looked at, up to the last of the three or two weeks.
    minute, theirs = datetime.datetime(2026, 2, 27, 23, 58, tzinfo=zone), []
    until = minute + datetime.timedelta(days=14)
    while minute <= until and len(theirs) < 3:
        if matches(fields, minute):
            theirs.append(minute)
        minute += datetime.timedelta(minutes=1)
    assert ours[: len(theirs)] == theirs


def matches(fields: dict[str, set[int] | None], time: datetime.datetime) -> bool:
    def fits(name: str, *values: int) -> bool:
        wanted = fields[name]
        return wanted is None or bool(wanted & set(values))

    weekday = time.isoweekday() % 7
    days = [fits("day", time.day)]
    days.append(fits("weekday", *([0, 7] if weekday == 0 else [weekday])))
    day = all(days) if None in (fields["day"], fields["weekday"]) else any(days)
    return (
        fits("minute", time.minute)
        and fits("hour", time.hour)
        and fits("month", time.month)
        and day
    )


def test_names_and_steps() -> None:
    assert parse_cron("*/15 2 * JAN,mar Mon-FRI") == [
        Times((0, 15, 30, 45), (2,), None, (1, 3), (1, 2, 3, 4, 5))
    ]
    assert parse_cron("0 2 1 * 7") == [
        Times((0,), (2,), (1,), None, None),
        Times((0,), (2,), None, None, (0,)),
    ]


@pytest.mark.parametrize(
    "text",
    ["", "0 2 * *", "60 2 * * *", "0 24 * * *", "0 2 0 * *", "0 2 * 13 *", "0 2 * * 8", "0 5-2 * * *",
     "*/0 * * * *", "a * * * *", "0 2 * * mon-", "@daily", "0 2 * * * *", "٣ * * * *", "-1 * * * *"],
)  # fmt: skip
def test_what_is_no_schedule_is_said_to_be_none(text: str) -> None:
    with pytest.raises(ConfigError, match="schedule"):
        parse_cron(text)


def test_an_unknown_time_zone_is_said_to_be_one() -> None:
    for name in ("Asia/Nowhere", "../etc/passwd", ""):
        with pytest.raises(ConfigError, match="no time zone"):
            time_zone(name)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not there")
@pytest.mark.parametrize("text", ["0 2 * * *", "*/15 1-3 * * mon,fri", "30 4 1,15 6 *"])
def test_systemd_reads_it(text: str) -> None:
    for times in parse_cron(text):
        command = ["systemd-analyze", "calendar", on_calendar(times, "Asia/Shanghai")]
        subprocess.run(command, check=True, capture_output=True)


def test_as_systemd_writes_it() -> None:
    [times] = parse_cron("0 2 * * 1-3")
    assert on_calendar(times, "UTC") == "Mon,Tue,Wed *-*-* 02:00:00 UTC"

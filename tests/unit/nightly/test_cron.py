"""Schedules, against a brute-force reading of cron's rules: every minute of two years is looked at."""

import datetime
import functools
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import ConfigError
from pipeline.nightly.clock import time_zone
from pipeline.nightly.cron import Cron, parse_cron

UTC = datetime.UTC
SPANS = {"minute": (0, 59), "hour": (0, 23), "day": (1, 31), "month": (1, 12), "weekday": (0, 7)}
FIRST, DAYS = datetime.datetime(2026, 1, 1, tzinfo=UTC), 730
# Gaps at midnight, at one and at two; half an hour; a fold across midnight; one offset for ever.
ZONES = ("UTC", "Asia/Shanghai", "Asia/Beirut", "America/Santiago", "Europe/Berlin",
         "America/New_York", "Australia/Lord_Howe", "America/Havana")  # fmt: skip


@st.composite
def words(draw: st.DrawFn, name: str, items: int = 3) -> tuple[str, set[int]]:
    """A field as it is written, and the values that it stands for."""
    low, high = SPANS[name]
    text, values = [], set()
    for _ in range(draw(st.integers(1, items))):
        first = draw(st.integers(low, high))
        last = draw(st.integers(first, high))
        step = draw(st.integers(1, 9))
        kind = draw(st.sampled_from(["*", "one", "range", "steps", "every"]))
        word, those = {
            "*": ("*", range(low, high + 1)),
            "one": (f"{first}", [first]),
            "range": (f"{first}-{last}", range(first, last + 1)),
            "steps": (f"{first}-{last}/{step}", range(first, last + 1, step)),
            "every": (f"*/{step}", range(low, high + 1, step)),
        }[kind]
        text.append(word)
        values |= set(those)
    return ",".join(text), values


@st.composite
def schedules(draw: st.DrawFn) -> tuple[str, dict[str, set[int]]]:
    """A schedule of a few times a day, and the values of its fields."""
    fields = {name: draw(words(name)) for name in ("day", "month", "weekday")}
    for name, most in (("minute", 2), ("hour", 3)):
        low, high = SPANS[name]
        values = draw(st.sets(st.integers(low, high), min_size=1, max_size=most))
        fields[name] = (",".join(map(str, values)), values)
    return " ".join(fields[name][0] for name in SPANS), {name: fields[name][1] for name in SPANS}


@functools.cache
def clock(zone: str) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Of every minute that a calendar has: its fields, and the moment at which it is due, in minutes since FIRST."""
    minutes = np.arange(-1440, (DAYS + 1) * 1440)
    quarters = [
        (FIRST + datetime.timedelta(minutes=int(at))).astimezone(ZoneInfo(zone)).utcoffset()
        for at in minutes[::15]
    ]
    shown = minutes + np.repeat([int(each.total_seconds()) // 60 for each in quarters], 15)
    calendar = np.arange(0, DAYS * 1440)
    # The first moment at which the clock shows this minute or, where it jumps over it, a later one.
    furthest = np.maximum.accumulate(shown)
    due = minutes[np.searchsorted(furthest, calendar)]
    days = np.datetime64(FIRST.date()) + calendar // 1440
    months = days.astype("datetime64[M]")
    fields = {
        "minute": calendar % 60,
        "hour": calendar // 60 % 24,
        "day": (days - months).astype(int) + 1,
        "month": months.astype(int) % 12 + 1,
        "weekday": (days.astype(int) + 4) % 7,
    }
    return fields, due


def brute_force(text: str, values: dict[str, set[int]], zone: str) -> list[int]:
    """All moments of two years."""
    fields, due = clock(zone)
    fits = {
        name: np.isin(fields[name], sorted(values[name] | ({0} if 7 in values[name] else set())))
        if name == "weekday"
        else np.isin(fields[name], sorted(values[name]))
        for name in SPANS
    }
    _, _, day, _, weekday = text.split()
    join = np.logical_and if day[0] == "*" or weekday[0] == "*" else np.logical_or
    chosen = fits["minute"] & fits["hour"] & fits["month"] & join(fits["day"], fits["weekday"])
    return sorted(set(due[chosen].tolist()))


def ever(text: str, values: dict[str, set[int]]) -> bool:
    """Whether any day of 28 years is one of the schedule's."""
    _, _, day, _, weekday = text.split()
    join = all if day[0] == "*" or weekday[0] == "*" else any
    dates = (datetime.date(2000, 1, 1) + datetime.timedelta(at) for at in range(28 * 365 + 7))
    return any(
        at.month in values["month"]
        and join(
            [
                at.day in values["day"],
                bool(values["weekday"] & {at.isoweekday(), at.isoweekday() % 7}),
            ]
        )
        for at in dates
    )


def ours(cron: Cron, zone: str, begin: datetime.datetime, end: datetime.datetime) -> list[int]:
    found, due = [], cron.after(begin - datetime.timedelta(seconds=1), ZoneInfo(zone))
    while due < end:
        found.append(int((due - FIRST).total_seconds()) // 60)
        due = cron.after(due, ZoneInfo(zone))
    return found


@settings(max_examples=30)
@given(drawn=schedules(), zone=st.sampled_from(ZONES))
def test_nights_begin_when_cron_says_on_every_day_of_two_years(
    drawn: tuple[str, dict[str, set[int]]], zone: str
) -> None:
    text, values = drawn
    theirs = brute_force(text, values, zone)
    if not theirs and not ever(text, values):
        with pytest.raises(ConfigError, match="never comes"):
            parse_cron(text)
        return
    cron = parse_cron(text)
    begin, end = FIRST + datetime.timedelta(1), FIRST + datetime.timedelta(DAYS - 1)
    low, high = 1440, (DAYS - 1) * 1440
    assert ours(cron, zone, begin, end) == [at for at in theirs if low <= at < high]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("text", ["*/15 * * * *", "7 */2 * * *", "30 0-4 * * *"])
def test_frequent_schedules_where_the_clocks_change(text: str, zone: str) -> None:
    spans = {name: set(range(low, high + 1)) for name, (low, high) in SPANS.items()}
    minute, hour, *_ = text.split()
    spans["minute"] = {0, 15, 30, 45} if minute == "*/15" else {int(minute)}
    spans["hour"] = {"*": {*range(24)}, "*/2": {*range(0, 24, 2)}, "0-4": {*range(5)}}[hour]
    theirs = brute_force(text, spans, zone)
    for month, day in ((3, 7), (3, 28), (4, 4), (9, 5), (10, 3), (10, 24), (10, 31)):
        begin = datetime.datetime(2026, month, day, tzinfo=UTC)
        end = begin + datetime.timedelta(2)
        low, high = ((each - FIRST).days * 1440 for each in (begin, end))
        assert ours(parse_cron(text), zone, begin, end) == [at for at in theirs if low <= at < high]


@pytest.mark.parametrize(
    ("text", "zone", "after", "due"),
    [
        # 00:00 to 01:00 are passed over.
        ("0 0 * * *", "Asia/Beirut", "2026-03-28T12:00+02:00", "2026-03-29T01:00+03:00"),
        ("30 0 * * *", "Asia/Beirut", "2026-03-28T12:00+02:00", "2026-03-29T01:00+03:00"),
        ("0 0 * * *", "America/Santiago", "2026-09-05T12:00-04:00", "2026-09-06T01:00-03:00"),
        # 02:30 is shown twice, and due once.
        ("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00+02:00", "2026-10-25T02:30+02:00"),
        ("30 2 * * *", "Europe/Berlin", "2026-10-25T02:30+02:00", "2026-10-26T02:30+01:00"),
        # All of December 30 is passed over.
        ("0 12 30 12 *", "Pacific/Apia", "2011-12-29T00:00-10:00", "2011-12-31T00:00+14:00"),
    ],
)
def test_a_day_has_its_night_whatever_the_clocks_do(
    text: str, zone: str, after: str, due: str
) -> None:
    found = parse_cron(text).after(datetime.datetime.fromisoformat(after), time_zone(zone))
    assert found == datetime.datetime.fromisoformat(due)


def test_names_and_steps() -> None:
    cron = parse_cron("*/15 2 * JAN,mar Mon-FRI")
    assert (cron.minutes, cron.hours, cron.months) == ((0, 15, 30, 45), (2,), (1, 3))
    assert cron.any_day
    assert cron.weekdays == (1, 2, 3, 4, 5)
    assert parse_cron("0 2 1 * 7").weekdays == (0,)


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("0 0 1,15 * mon", [1, 5, 12, 15, 19, 26]),
        ("0 0 */2 * mon", [5, 19]),
        ("0 0 1-15 * */3", [3, 4, 7, 10, 11, 14]),
        ("0 0 * * mon", [5, 12, 19, 26]),
        ("0 0 1-31 * mon", list(range(1, 32))),
    ],
)  # fmt: skip
def test_days_of_the_month_and_of_the_week(text: str, days: list[int]) -> None:
    january = [datetime.date(2026, 1, day) for day in range(1, 32)]
    assert [day.day for day in january if parse_cron(text).falls_on(day)] == days


@pytest.mark.parametrize(
    "text",
    ["", "0 2 * *", "60 2 * * *", "0 24 * * *", "0 2 0 * *", "0 2 * 13 *", "0 2 * * 8", "0 5-2 * * *",
     "*/0 * * * *", "*/ * * * *", "a * * * *", "0 2 * * mon-", "@daily", "0 2 * * * *", "٣ * * * *", "-1 * * * *"],
)  # fmt: skip
def test_what_is_no_schedule_is_said_to_be_none(text: str) -> None:
    with pytest.raises(ConfigError, match="schedule"):
        parse_cron(text)


@pytest.mark.parametrize("text", ["0 2 31 2 *", "0 2 30 2 *", "0 2 31 4,6,9,11 *", "0 2 31 6 */2"])
def test_what_never_comes_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="never comes"):
        parse_cron(text)
    assert parse_cron("0 2 29 2 *").after(FIRST, time_zone("UTC")).year == 2028
    assert parse_cron("0 2 31 2 mon").after(FIRST, time_zone("UTC")).month == 2


def test_an_unknown_time_zone_is_said_to_be_one() -> None:
    for name in ("Asia/Nowhere", "../etc/passwd", ""):
        with pytest.raises(ConfigError, match="no time zone"):
            time_zone(name)

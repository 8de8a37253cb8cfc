"""Schedules as cron has them: five fields, and a day that matches either of two where both are given."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.errors import ConfigError

WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day", 1, 31), ("month", 1, 12), ("weekday", 0, 7))
_NAMES = {"month": {name: 1 + at for at, name in enumerate(MONTHS)}}
_NAMES["weekday"] = {name: at for at, name in enumerate(WEEKDAYS)}


@dataclass(frozen=True)
class Times:
    """Times that match all of these; None matches any.

    Attributes:
        minute: Of the hour.
        hour: Of the day.
        day: Of the month.
        month: Of the year.
        weekday: 0 is Sunday.
    """

    minute: tuple[int, ...] | None = None
    hour: tuple[int, ...] | None = None
    day: tuple[int, ...] | None = None
    month: tuple[int, ...] | None = None
    weekday: tuple[int, ...] | None = None


def parse_cron(text: str) -> list[Times]:
    """The times of a schedule, one set or two: cron runs on a day that is one of the month's or one of the week's.

    Args:
        text: Minute, hour, day of the month, month and weekday; each ``*``, or a list of numbers, names, ranges and
            steps: ``0 2 * * mon-fri``.

    Raises:
        ConfigError: Not written so.

    Source: IEEE Std 1003.1-2024, crontab; names and steps as in Vixie's cron.
    """
    words = text.split()
    if len(words) != len(_FIELDS):
        raise _error(text, f"has {len(words)} fields, not {len(_FIELDS)}")
    found = {
        name: _values(text, word, name, low, high)
        for word, (name, low, high) in zip(words, _FIELDS, strict=True)
    }
    if found["weekday"] is not None:
        found["weekday"] = tuple(sorted({value % 7 for value in found["weekday"]}))
    if found["day"] is not None and found["weekday"] is not None:
        return [Times(**{**found, "weekday": None}), Times(**{**found, "day": None})]
    return [Times(**found)]


def on_calendar(times: Times, timezone: str) -> str:
    """The same as systemd writes it: ``Mon,Tue *-*-* 02:00:00 Asia/Shanghai``."""
    weekdays = [WEEKDAYS[day].title() for day in times.weekday or ()]
    date = f"*-{_list(times.month)}-{_list(times.day)}"
    clock = f"{_list(times.hour)}:{_list(times.minute)}:00"
    return " ".join([*([",".join(weekdays)] if weekdays else []), date, clock, timezone])


def _list(values: tuple[int, ...] | None) -> str:
    return "*" if values is None else ",".join(f"{value:02d}" for value in values)


def _values(text: str, word: str, name: str, low: int, high: int) -> tuple[int, ...] | None:
    if word == "*":
        return None
    found: set[int] = set()
    for item in word.split(","):
        span, _, step = item.partition("/")
        first, dash, last = span.partition("-")
        begin = low if span == "*" else _number(text, first, name)
        open_end = high if span == "*" or step else begin
        end = _number(text, last, name) if dash else open_end
        every = _number(text, step, "step") if step else 1
        if not (low <= begin <= end <= high and every):
            raise _error(text, f"has {item!r} as its {name}, and that goes from {low} to {high}")
        found.update(range(begin, end + 1, every))
    return tuple(sorted(found))


def _number(text: str, word: str, name: str) -> int:
    named = _NAMES.get(name, {}).get(word.lower())
    if named is not None:
        return named
    if not (word.isascii() and word.isdigit()):
        raise _error(text, f"has {word!r} in its {name}")
    return int(word)


def _error(text: str, what: str) -> ConfigError:
    return ConfigError(
        f"the schedule {text!r} {what}", where="--cron", fix="write, for example, '0 2 * * *'"
    )

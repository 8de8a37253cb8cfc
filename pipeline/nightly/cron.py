"""Schedules as cron has them: five fields, read as Vixie's cron and cronie read them."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from pipeline.errors import ConfigError
from pipeline.nightly.clock import DAY, moment_of

WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day", 1, 31), ("month", 1, 12), ("weekday", 0, 7))
_NAMES = {"month": {name: 1 + at for at, name in enumerate(MONTHS)}}
_NAMES["weekday"] = {name: at for at, name in enumerate(WEEKDAYS)}
_ALL_DAYS, _ALL_WEEKDAYS = tuple(range(1, 32)), tuple(range(7))
# Within 28 years without a century every date of the year falls on every day of the week.
_CALENDAR = (datetime.date(2000, 1, 1), datetime.date(2028, 1, 1))


@dataclass(frozen=True)
class Cron:
    """A schedule: minutes of hours of some days.

    Attributes:
        text: As it was written.
        minutes: Of the hour, ascending, as all others.
        hours: Of the day.
        days: Of the month.
        months: Of the year.
        weekdays: 0 is Sunday.
        both: Whether a day has to be one of ``days`` and one of ``weekdays``, or one of either. Where one of them is
            all there are, it has to be both.
    """

    text: str
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: tuple[int, ...]
    both: bool

    @property
    def any_day(self) -> bool:
        """Whether the day of the month does not matter."""
        return self.days == _ALL_DAYS

    @property
    def any_weekday(self) -> bool:
        """Whether the day of the week does not matter."""
        return self.weekdays == _ALL_WEEKDAYS

    def falls_on(self, day: datetime.date) -> bool:
        """Whether a day is one of the schedule's."""
        fits = (day.day in self.days, day.isoweekday() % 7 in self.weekdays)
        return day.month in self.months and (all(fits) if self.both else any(fits))

    def shows(self, wall: datetime.datetime) -> bool:
        """Whether a time of the clock is one of the schedule's."""
        return wall.minute in self.minutes and wall.hour in self.hours and self.falls_on(wall)

    def after(self, moment: datetime.datetime, zone: ZoneInfo) -> datetime.datetime:
        """The next moment of the schedule after another, in UTC.

        A time that the clocks of the zone pass over is due at the first moment after the gap, and one that they show
        twice the first time only; so every day that has a time has one night at it.

        Args:
            moment: With a time zone.
            zone: Whose clocks the schedule means.
        """
        # What is not later on the clock has been shown, or passed over, before.
        shown = moment.astimezone(zone).replace(tzinfo=None)
        moments = (moment_of(wall, zone) for wall in self._later(shown))
        return next(due for due in moments if due > moment)

    def _later(self, wall: datetime.datetime) -> Iterator[datetime.datetime]:
        """The schedule's times of the clock after another, ascending."""
        day = wall.date()
        while True:
            if self.falls_on(day):
                earliest = wall.hour if day == wall.date() else 0
                hours = (hour for hour in self.hours if hour >= earliest)
                for hour, minute in itertools.product(hours, self.minutes):
                    time = datetime.datetime(day.year, day.month, day.day, hour, minute)
                    if time > wall:
                        yield time
            day += DAY


def parse_cron(text: str) -> Cron:
    """Reads a schedule.

    Days are those of the month or of the week where both are limited; a field that begins with ``*`` limits nothing in
    this sense, and then days have to be both: ``0 2 1,15 * mon`` is every first, every fifteenth and every Monday,
    ``0 2 */2 * mon`` a Monday that is an odd day of its month.

    Args:
        text: Minute, hour, day of the month, month and weekday; each ``*``, or a list of numbers, names, ranges and
            steps: ``0 2 * * mon-fri``.

    Raises:
        ConfigError: Not written so, or no day of any year is one of these.

    Source: IEEE Std 1003.1-2024, crontab; names, steps and what begins with ``*`` as in Vixie's cron and cronie.
    """
    words = text.split()
    if len(words) != len(_FIELDS):
        raise _error(text, f"has {len(words)} fields, not {len(_FIELDS)}")
    minutes, hours, days, months, weekdays = (
        _values(text, word, name, low, high)
        for word, (name, low, high) in zip(words, _FIELDS, strict=True)
    )
    weekdays = tuple(sorted({value % 7 for value in weekdays}))
    both = words[2].startswith("*") or words[4].startswith("*")
    if not both and (days == _ALL_DAYS or weekdays == _ALL_WEEKDAYS):
        days, weekdays, both = _ALL_DAYS, _ALL_WEEKDAYS, True
    schedule = Cron(text, minutes, hours, days, months, weekdays, both)
    first, end = _CALENDAR
    if not any(schedule.falls_on(first + at * DAY) for at in range((end - first).days)):
        raise _error(text, "never comes: no year has such a day")
    return schedule


def _values(text: str, word: str, name: str, low: int, high: int) -> tuple[int, ...]:
    values: set[int] = set()
    for item in word.split(","):
        span, _, step = item.partition("/")
        first, dash, last = span.partition("-")
        begin = low if span == "*" else _number(text, first, name)
        open_end = high if span == "*" or step else begin
        end = _number(text, last, name) if dash else open_end
        stride = _number(text, step, "step") if "/" in item else 1
        if not (low <= begin <= end <= high and stride):
            raise _error(text, f"has {item!r} as its {name}, and that goes from {low} to {high}")
        values.update(range(begin, end + 1, stride))
    return tuple(sorted(values))


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

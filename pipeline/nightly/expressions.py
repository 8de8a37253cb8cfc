"""Schedules as other programs write them, such that they begin a night at the same moments as ours, or not at all."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from zoneinfo import ZoneInfo

from pipeline.errors import ConfigError
from pipeline.nightly.clock import DAY, changes
from pipeline.nightly.cron import WEEKDAYS, Cron

YEARS_AHEAD = 10  # that changes of clocks are looked for; laws on them seldom hold longer
MINUTE = datetime.timedelta(minutes=1)


def crontab_fields(cron: Cron) -> str:
    """The five fields for cronie: numbers, and a ``*`` in front only where it says that days have to be both.

    Source: cronie 1.7, ``entry.c`` (``DOM_STAR``, ``DOW_STAR``) and ``cron.c`` (``find_jobs``).
    """
    fields = _fields(cron)
    if cron.both and not (cron.any_day or cron.any_weekday):
        words = cron.text.split()
        for at in (2, 4):
            if words[at].startswith("*"):
                fields[at] = f"{words[at].partition(',')[0]},{fields[at]}"
    return " ".join(fields)


def kubernetes_schedule(cron: Cron) -> str:
    """The five fields for a CronJob.

    Raises:
        ConfigError: Days have to be one of the month's and one of the week's, which it cannot say.

    Source: robfig/cron v3.0.1, ``parser.go`` (``getRange``: a step takes the star's meaning away) and ``spec.go``.
    """
    if cron.both and not (cron.any_day or cron.any_weekday):
        raise ConfigError(
            f"Kubernetes reads {cron.text!r} as days that are one or the other, and cron as days that are both",
            where="--cron",
            fix="write * for the day of the month or of the week, or use serve, emit systemd or emit cron",
        )
    return " ".join(_fields(cron))


def on_calendar(cron: Cron, zone: ZoneInfo) -> list[str]:
    """What systemd's timers have, a line each: ``Mon,Tue *-*-* 02:00:00 Asia/Shanghai``.

    Source: systemd.time(7): a weekday and a date have to fit both.
    """
    weekdays = ",".join(WEEKDAYS[day].title() for day in cron.weekdays)
    months, every = _listed(cron.months, 12), "*"
    clock = f"{_listed(cron.hours, 24)}:{_listed(cron.minutes, 60)}:00 {zone.key}"
    days = _listed(cron.days, 31)
    if cron.both:
        week = "" if cron.any_weekday else f"{weekdays} "
        return [f"{week}*-{months}-{days} {clock}"]
    return [f"*-{months}-{days} {clock}", f"{weekdays} *-{months}-{every} {clock}"]


def passed_over(
    cron: Cron, zone: ZoneInfo, since: datetime.datetime
) -> Iterator[datetime.datetime]:
    """Moments of the schedule at which no clock shows one of its times: the times themselves fall into a gap.

    Args:
        cron: The schedule.
        zone: Its time zone.
        since: From when on; ``YEARS_AHEAD`` are looked at.
    """
    for ours, shown in _around_changes(cron, zone, since):
        yield from sorted(ours - shown)


def require_same(cron: Cron, zone: ZoneInfo, since: datetime.datetime, program: str) -> None:
    """Refuses a schedule that a program which only looks at the clock would miss or begin twice.

    Raises:
        ConfigError: It would; names the first time.
    """
    for ours, shown in _around_changes(cron, zone, since):
        for moment in sorted(ours ^ shown):
            local = moment.astimezone(zone)
            what = (
                "would not begin the night of" if moment in ours else "would begin a night twice on"
            )
            raise ConfigError(
                f"{program} {what} {local:%Y-%m-%d}, when the clocks of {zone.key} change at {local:%H:%M}",
                where="--cron",
                fix="choose a time that every day has once, such as '0 5 * * *', another --timezone, "
                "or serve, which begins one night a day all the same",
            )


def _around_changes(
    cron: Cron, zone: ZoneInfo, since: datetime.datetime
) -> Iterator[tuple[set[datetime.datetime], set[datetime.datetime]]]:
    """Around each change of clocks: the schedule's moments, and the minutes whose time of the clock is one of its."""
    for change in changes(zone, since, since + YEARS_AHEAD * 365 * DAY):
        begin, end = change - DAY, change + DAY
        ours, due = set(), cron.after(begin - MINUTE, zone)
        while due < end:
            ours.add(due)
            due = cron.after(due, zone)
        minutes = (begin + at * MINUTE for at in range((end - begin) // MINUTE))
        yield ours, {minute for minute in minutes if cron.shows(minute.astimezone(zone))}


def _fields(cron: Cron) -> list[str]:
    values = (cron.minutes, cron.hours, cron.days, cron.months, cron.weekdays)
    return [
        "*" if len(value) == count else _ranges(value)
        for value, count in zip(values, (60, 24, 31, 12, 7), strict=True)
    ]


def _ranges(values: Sequence[int]) -> str:
    """``1-5,7``: runs of three and more in short."""
    runs: list[list[int]] = []
    for value in values:
        if runs and value == runs[-1][-1] + 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    return ",".join(
        f"{run[0]}-{run[-1]}" if len(run) > 2 else ",".join(map(str, run)) for run in runs
    )


def _listed(values: Sequence[int], count: int) -> str:
    return "*" if len(values) == count else ",".join(f"{value:02d}" for value in values)

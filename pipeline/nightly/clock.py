"""Clocks on walls: what moment a time of day is in a time zone, and when its clocks are put forward or back."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pipeline.errors import ConfigError

DAY = datetime.timedelta(days=1)
SECOND = datetime.timedelta(seconds=1)


def time_zone(name: str) -> ZoneInfo:
    """A time zone.

    Raises:
        ConfigError: There is none of that name.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ConfigError(
            f"there is no time zone {name!r}",
            where="--timezone",
            fix="write, for example, UTC or Asia/Shanghai",
        ) from None


def moment_of(wall: datetime.datetime, zone: ZoneInfo) -> datetime.datetime:
    """The moment, in UTC, at which a clock of a zone shows a time.

    A time that is shown twice is the first of the two; one that is passed over is the first moment after the gap.

    Args:
        wall: Year to minute, without a time zone.
        zone: Where the clock hangs.

    Source: PEP 495: within a gap, ``fold=0`` counts with the offset of before, ``fold=1`` with that of after it.
    """
    moment = wall.replace(tzinfo=zone, fold=0).astimezone(datetime.UTC)
    if _shown(moment, zone) == wall:
        return moment
    return _change(wall.replace(tzinfo=zone, fold=1).astimezone(datetime.UTC), moment, zone)


def changes(
    zone: ZoneInfo, since: datetime.datetime, until: datetime.datetime
) -> Iterator[datetime.datetime]:
    """The moments, in UTC, from which on the clocks of a zone are further ahead or behind than before."""
    day = since.astimezone(datetime.UTC)
    while day < until:
        if _offset(day, zone) != _offset(day + DAY, zone):
            yield _change(day, day + DAY, zone)
        day += DAY


def _change(low: datetime.datetime, high: datetime.datetime, zone: ZoneInfo) -> datetime.datetime:
    """The first second with another offset than ``low``, by halving; at ``high`` it is another one."""
    before = _offset(low, zone)
    while high - low > SECOND:
        middle = low + datetime.timedelta(seconds=(high - low) // SECOND // 2)
        low, high = (middle, high) if _offset(middle, zone) == before else (low, middle)
    return high


def _offset(moment: datetime.datetime, zone: ZoneInfo) -> datetime.timedelta | None:
    return moment.astimezone(zone).utcoffset()


def _shown(moment: datetime.datetime, zone: ZoneInfo) -> datetime.datetime:
    return moment.astimezone(zone).replace(tzinfo=None, fold=0)

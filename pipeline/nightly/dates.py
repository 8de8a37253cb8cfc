"""Which dates a night has to do beside its own, and what becomes of the whole where one of them goes wrong."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Callable, Iterable, Sequence

from pipeline.errors import ConfigError
from pipeline.logs import event
from pipeline.nightly.clock import DAY, time_zone
from pipeline.nightly.ledger import DONE, STOPPED, Ledger

INTERRUPTED = 130
# From good to bad; what a rerun may mend is worse than what it cannot, so that the rerun is not left out.
_EXIT_CODES = (0, 4, 75, 3, 2, 1, INTERRUPTED)

logger = logging.getLogger(__name__)


def logical_date(text: str | None, timezone: str | None) -> datetime.date:
    """The date of a night: the one that is given, or today's in a time zone; this machine's by default.

    Raises:
        ConfigError: It is no date, or there is no such zone.
    """
    zone = time_zone(timezone) if timezone is not None else None
    if text is None:
        return datetime.datetime.now(datetime.UTC).astimezone(zone).date()
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        raise ConfigError(
            f"{text!r} is no date", where="--date", fix="write, for example, 2026-11-21"
        ) from None


def unfinished(
    ledger: Ledger, date: datetime.date, catch_up: int, stopped_among: int = 0
) -> list[str]:
    """The dates before one that are still to do, the oldest first.

    Args:
        ledger: The nights of the run.
        date: The night's own.
        catch_up: Of so many dates before it, all that are not done, those without a page included.
        stopped_among: Of so many pages before it, those of nights that stopped at their deadline.
    """
    window = [(date - days * DAY).isoformat() for days in range(catch_up, 0, -1)]
    pages = {day: ledger.read(day) for day in window}
    dates = {day for day, page in pages.items() if page is None or page.status != DONE}
    if stopped_among:
        nights = ledger.last(stopped_among, before=date.isoformat())
        dates |= {night.date for night in nights if night.status == STOPPED}
    return sorted(dates)


def run_dates(
    dates: Sequence[str],
    ends: datetime.datetime | None,
    earlier: Callable[[str], int],
    tonight: Callable[[], int],
) -> int:
    """Runs the dates before a night, each by itself whatever became of the others, and then the night.

    Args:
        dates: Those before it.
        ends: When no further one of them is begun; the night itself is all the same, and stops after its first commit.
        earlier: Runs one of them; returns its exit code.
        tonight: Runs the night.

    Returns:
        The worst of the exit codes; 130 as soon as one was interrupted.
    """
    codes = []
    for date in dates:
        if ends is not None and datetime.datetime.now(datetime.UTC) >= ends:
            event(logger, "date_left", date=date, reason="the deadline has come")
            continue
        codes.append(earlier(date))
        if codes[-1] == INTERRUPTED:
            return INTERRUPTED
    return worst([*codes, tonight()])


def worst(codes: Iterable[int]) -> int:
    """Of some exit codes the one that needs most to be seen; what is none of ours, such as a signal's, is 1."""
    return max((code if code in _EXIT_CODES else 1 for code in codes), key=_EXIT_CODES.index)

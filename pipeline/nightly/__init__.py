"""What a night is: its settings, its page in the run's ledger, what has arrived since, and how far the data has moved.

Nothing here knows Ray; :mod:`pipeline.engine.plans.nightly` runs a night.
"""

from __future__ import annotations

import datetime
import re
from typing import Literal

from pydantic import Field, field_validator

from pipeline.modalities.section import Section

FOLDER = "nightly"
DATE = "{date}"  # in a pattern or an output: the logical date, as 2026-11-21
_HOUR = re.compile(r"([01]\d|2[0-3]):[0-5]\d")


class AlertConfig(Section):
    """Thresholds; a night that crosses one ends with exit code 4. None, the default of each, is no threshold."""

    max_prediction_psi: float | None = Field(
        default=None,
        gt=0,
        description="population stability index of the predictions; 0.2 is large",
    )
    max_modality_psi: float | None = Field(
        default=None, gt=0, description="the same of the modalities that samples have"
    )
    max_embedding_shift: float | None = Field(
        default=None, gt=0, description="distance of the mean embeddings over their length"
    )
    max_bad_fraction: float | None = Field(
        default=None, ge=0, le=1, description="share of the night's samples that is bad"
    )
    min_samples: int | None = Field(default=None, ge=0, description="read in a night")


class NightlyConfig(Section):
    """How a night goes about it."""

    deleted: Literal["remove", "keep"] = Field(
        default="remove", description="what becomes of the rows of shards that are gone"
    )
    date_partitions: bool = Field(
        default=False, description="writes new rows into OUTPUT/date=DATE, where they then stay"
    )
    retries: int = Field(default=2, ge=0, description="of a night that fails, with growing pauses")
    retry_seconds: float = Field(default=60, ge=0, description="before the first retry; then twice")
    stall_minutes: float = Field(
        default=30,
        ge=0,
        description="in which nothing moves, after which the night is given up; 0: never",
    )
    deadline: str | None = Field(
        default=None, description="HH:MM at which it stops; the next night goes on"
    )
    on_failure: str | None = Field(
        default=None, description="a command that is run with the path of the night's page"
    )
    history: int = Field(default=14, ge=1, description="good nights that a night is compared with")
    alerts: AlertConfig = AlertConfig()

    @field_validator("deadline")
    @classmethod
    def _an_hour(cls, text: str | None) -> str | None:
        if text is not None and not _HOUR.fullmatch(text):
            raise ValueError(f"{text!r} is no hour; '05:30' is, in quotes")
        return text

    def ends(self, now: datetime.datetime) -> datetime.datetime | None:
        """The next time that the clock shows the deadline; None where there is none."""
        if self.deadline is None:
            return None
        hour, minute = map(int, self.deadline.split(":"))
        today = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
        return today if today > now else today + datetime.timedelta(days=1)

"""Numbers as targets: how they are read, what a pass over those of a split finds, and how they are standardised."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from pipeline.errors import ConfigError, SampleError
from pipeline.modalities.decoding.targets import (
    Target,
    label_place,
    missing_label,
    written_label,
)
from pipeline.modalities.strict_json import DEPTH
from pipeline.objectives.base import Learned
from pipeline.sample import Sample

SETTING = "objective.target"
# As people and programs write them; Python alone would take 1_000 and digits of other scripts too.
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
MAX_SHOWN = 80  # characters of what is no number


@dataclass(frozen=True)
class NumberTarget:
    """The numbers of a sample; see :class:`pipeline.modalities.decoding.targets.Target`.

    The canonical text is a JSON list of them.

    Attributes:
        places: Where they stand.
    """

    places: tuple[str, ...]

    @property
    def setting(self) -> str:
        return SETTING

    @property
    def identity(self) -> JsonValue:
        return [*self.places]

    @property
    def accepted(self) -> None:
        return None

    @property
    def countable(self) -> bool:
        return False

    def read(self, sample: Sample, json_depth: int = DEPTH) -> str:
        return json.dumps([_number(sample, place, json_depth) for place in self.places])

    def accept(self, text: str | None) -> str:
        if text is None:
            raise missing_label(self.places[0], setting=SETTING)
        return text


def _number(sample: Sample, place: str, json_depth: int) -> float:
    field_name = label_place(place, sample.fields)[0]
    try:
        text = written_label(sample, place, json_depth, SETTING)
    except SampleError as error:
        if error.setting:
            raise
        raise _bad(error.what, field_name) from None
    if text.lower().lstrip("+-") in ("nan", "inf", "infinity"):
        raise _bad(f"{place} is {text}, which is not finite", field_name)
    if not NUMBER.fullmatch(text):
        raise _bad(f"{place} is no number: {text[:MAX_SHOWN]!r}", field_name)
    number = float(text)
    if not math.isfinite(number):
        raise _bad(f"{place} is larger than any number: {text[:MAX_SHOWN]}", field_name)
    return number


def _bad(what: str, field_name: str) -> SampleError:
    return SampleError(what, reason="bad_label", field=field_name, setting=SETTING)


def parsed(texts: Sequence[str], count: int) -> NDArray[np.float64]:
    """The numbers (B, K) float64 of B canonical texts of K numbers each."""
    numbers = [json.loads(text) for text in texts]
    return np.array(numbers, dtype=np.float64).reshape(len(texts), count)


@dataclass(frozen=True)
class Scale:
    """What standardises K numbers.

    Attributes:
        mean: Of each, in the training set.
        deviation: Of each, above zero.
    """

    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    @classmethod
    def of(cls, learned: Learned) -> Scale:
        """What :meth:`learned` gave."""
        return cls(_floats(learned["mean"]), _floats(learned["deviation"]))

    def learned(self) -> Learned:
        """As plain JSON."""
        return {"mean": list(self.mean), "deviation": list(self.deviation)}


def _floats(numbers: JsonValue) -> tuple[float, ...]:
    assert isinstance(numbers, list)
    return tuple(float(number) for number in numbers if isinstance(number, int | float))


@dataclass
class NumberSurvey:
    """Moments of the numbers of a split; see :class:`pipeline.objectives.survey.TargetSurvey`.

    Source: Chan, Golub & LeVeque 1979, "Updating formulae and a pairwise algorithm for computing sample variances",
    equation 1.5, for two sets; adding one number is adding a set of one.

    Attributes:
        places: Where the numbers stand, K of them.
        count: Samples.
        mean: (K,) of them.
        squares: (K,) sums of squared distances from the mean.
        low: (K,) lowest.
        high: (K,) highest.
    """

    places: tuple[str, ...]
    count: int = 0
    mean: NDArray[np.float64] = field(init=False)
    squares: NDArray[np.float64] = field(init=False)
    low: NDArray[np.float64] = field(init=False)
    high: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        size = len(self.places)
        self.mean, self.squares = np.zeros(size), np.zeros(size)
        self.low, self.high = np.full(size, np.inf), np.full(size, -np.inf)

    def add(self, sample: Sample, json_depth: int) -> None:
        self.add_text(NumberTarget(self.places).read(sample, json_depth))

    def add_text(self, text: str) -> None:
        numbers = parsed([text], len(self.places))[0]
        self._join(1, numbers, np.zeros_like(numbers), numbers, numbers)

    def merge(self, other: NumberSurvey) -> None:
        if other.count:
            self._join(other.count, other.mean, other.squares, other.low, other.high)

    def refused(self, target: Target) -> Counter[str]:
        return Counter()  # a number that was read is used

    def _join(
        self,
        count: int,
        mean: NDArray[np.float64],
        squares: NDArray[np.float64],
        low: NDArray[np.float64],
        high: NDArray[np.float64],
    ) -> None:
        total = self.count + count
        with np.errstate(over="ignore", invalid="ignore"):  # scale() refuses what comes of it
            distance = mean - self.mean
            self.mean = self.mean + distance * (count / total)
            self.squares = self.squares + squares + distance**2 * (self.count * count / total)
        self.low, self.high = np.minimum(self.low, low), np.maximum(self.high, high)
        self.count = total

    def scale(self) -> Scale:
        """What standardises the numbers.

        Raises:
            ConfigError: There is none, or all are equal, or they are too large to be computed with.
        """
        for place, low, high in zip(self.places, self.low, self.high, strict=True):
            if low >= high:
                only = f"{low:g} in all {self.count} training samples" if self.count else "nowhere"
                raise ConfigError(
                    f"{place} is {only}, which teaches nothing",
                    where=f"{SETTING}={', '.join(self.places)}",
                    fix=f"set {SETTING} to a field with numbers, or json.path inside a JSON field",
                )
        deviation = np.sqrt(self.squares / self.count)
        if not (np.isfinite(self.mean) & np.isfinite(deviation) & (deviation > 0)).all():
            raise ConfigError(
                "the numbers are too large, or too near to each other, to be computed with",
                where=f"{SETTING}={', '.join(self.places)}",
                fix="give them in another unit",
            )
        return Scale(tuple(self.mean.tolist()), tuple(deviation.tolist()))

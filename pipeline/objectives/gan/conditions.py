"""What values are asked to be: what samples have at some places, each a set of values, of which few are different."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from pipeline.errors import ConfigError, SampleError
from pipeline.modalities.decoding.members import field_json
from pipeline.modalities.decoding.targets import Target, label_place, read_label
from pipeline.modalities.strict_json import DEPTH
from pipeline.sample import Sample

SETTING = "objective.label"
MOST_VALUES = 1000
NOTHING = "{}"  # of a sample that has none

Values = Mapping[str, tuple[str, ...]]
"""Place -> its values, sorted; a place at which a sample has nothing is not there."""


@dataclass(frozen=True)
class ConditionTarget:
    """The places; a sample may lack any of them.

    The canonical text is a JSON object, place -> list of values, of the places that a sample has.

    Attributes:
        places: Fields, or places inside JSON fields, which hold one value or a list of them.
    """

    places: tuple[str, ...]
    countable = True
    accepted = None
    setting = SETTING

    @property
    def identity(self) -> JsonValue:
        return {"conditions": list(self.places)}

    def read(self, sample: Sample, json_depth: int = DEPTH) -> str:
        values = {place: _read(sample, place, json_depth) for place in self.places}
        return text_of({place: found for place, found in values.items() if found is not None})

    def accept(self, text: str | None) -> str:
        return text or NOTHING


def text_of(values: Values) -> str:
    """The canonical text of values."""
    return json.dumps({place: list(values[place]) for place in values}, ensure_ascii=False)


def values_of(text: str | None) -> Values:
    """What a canonical text says."""
    return {place: tuple(values) for place, values in json.loads(text or NOTHING).items()}


def in_words(text: str | None) -> str:
    """A canonical text for a person: values, those of one place joined by ``+``."""
    return ", ".join(" + ".join(values) or "none" for values in values_of(text).values())


def _read(sample: Sample, place: str, json_depth: int) -> tuple[str, ...] | None:
    """The values at a place, sorted; None where the sample has nothing there.

    Raises:
        SampleError: What is there cannot be read.
    """
    listed = _listed(sample, place, json_depth)
    if listed is not None:
        return listed
    try:
        return (read_label(sample, place, json_depth),)
    except SampleError as error:
        if error.reason == "missing_label":
            return None
        raise


def _listed(sample: Sample, place: str, json_depth: int) -> tuple[str, ...] | None:
    """The values of a list of texts in a JSON field; None where there is no such list."""
    name, path = label_place(place, sample.fields)
    if name not in sample.fields or not path:
        return None
    value = field_json(sample.fields[name].data, name, "bad_label", json_depth)
    for step in path.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        return None
    return tuple(sorted({str(entry) for entry in value}))


@dataclass
class ConditionSurvey:
    """How often each value is there.

    Attributes:
        target: What is read; None where nothing is.
        count: Samples.
        values: Place -> value -> samples that have it.
    """

    target: ConditionTarget | None
    count: int = 0
    values: dict[str, Counter[str]] = field(default_factory=dict)

    def add(self, sample: Sample, json_depth: int) -> None:
        self.add_text(self.target.read(sample, json_depth) if self.target else NOTHING)

    def add_text(self, text: str) -> None:
        self.count += 1
        for place, values in values_of(text).items():
            self.values.setdefault(place, Counter()).update(values)

    def merge(self, other: ConditionSurvey) -> None:
        self.count += other.count
        for place, values in other.values.items():
            self.values.setdefault(place, Counter()).update(values)

    def refused(self, target: Target) -> Counter[str]:
        return Counter()


class Vocabulary:
    """The values that there are, each a column of a table of zeros and ones.

    Args:
        values: Place -> its values, in the order of the columns.
    """

    def __init__(self, values: Mapping[str, Sequence[str]]) -> None:
        self.values = {place: tuple(names) for place, names in values.items()}
        pairs = [(place, name) for place, names in self.values.items() for name in names]
        self._columns = {pair: column for column, pair in enumerate(pairs)}

    @classmethod
    def of(cls, survey: ConditionSurvey, places: Sequence[str]) -> Vocabulary:
        """Those of the training split.

        Raises:
            ConfigError: A place has none, or so many that they name no classes.
        """
        for place in places:
            found = survey.values.get(place, Counter())
            if not found:
                raise ConfigError(
                    f"none of {survey.count} samples has anything at {place}",
                    where=f"{SETTING}={place}",
                    fix="name the field that holds it, or leave it out",
                )
            if len(found) > MOST_VALUES:
                raise ConfigError(
                    f"there are {len(found)} different values at {place} in {survey.count} samples, which name no "
                    "classes",
                    where=f"{SETTING}={place}",
                    fix=f"name a field with at most {MOST_VALUES} different values",
                )
        return cls({place: sorted(survey.values[place]) for place in places})

    @property
    def size(self) -> int:
        """V, of columns."""
        return len(self._columns)

    def table(self, texts: Sequence[str | None], ask: Values | None = None) -> NDArray[np.float32]:
        """(B, V) float32, 1 where a sample has a value; values that training has not seen are left out.

        Args:
            texts: (B,) canonical texts.
            ask: What all are asked for, in place of what they have there.
        """
        table = np.zeros((len(texts), self.size), dtype=np.float32)
        for row, text in enumerate(texts):
            for place, values in {**values_of(text), **(ask or {})}.items():
                for value in values:
                    if (column := self._columns.get((place, value))) is not None:
                        table[row, column] = 1.0
        return table

    def texts(self, table: NDArray[np.floating]) -> list[str]:
        """Canonical texts, (B,), of rows of :meth:`table`; every place is in each."""
        rows = []
        for row in table > 0.5:
            values = {
                place: tuple(name for name in names if row[self._columns[place, name]])
                for place, names in self.values.items()
            }
            rows.append(text_of(values))
        return rows

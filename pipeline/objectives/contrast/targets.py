"""What is read of a sample beside its modalities: a label to judge by, and a group whose samples are not told apart."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from pydantic import JsonValue

from pipeline.errors import SampleError
from pipeline.modalities.decoding.targets import Target, read_label
from pipeline.modalities.strict_json import DEPTH
from pipeline.sample import Sample

LABEL, GROUP = "label", "group"
NOTHING = "{}"


@dataclass(frozen=True)
class NamesTarget:
    """The label and the group of a sample, either of which it may lack.

    The canonical text is a JSON object of those that it has.

    Attributes:
        label: Where the label stands; None where none is read.
        group: Where the group stands; None where none is read.
    """

    label: str | None
    group: str | None
    countable = True
    accepted = None
    setting = "objective.label"

    @property
    def places(self) -> tuple[str, ...]:
        return tuple(place for place in (self.label, self.group) if place is not None)

    @property
    def identity(self) -> JsonValue:
        return {LABEL: self.label, GROUP: self.group}

    def read(self, sample: Sample, json_depth: int = DEPTH) -> str:
        names = {}
        for name, place in ((LABEL, self.label), (GROUP, self.group)):
            if place is not None and (text := _read(sample, place, json_depth)) is not None:
                names[name] = text
        return json.dumps(names, ensure_ascii=False, sort_keys=True)

    def accept(self, text: str | None) -> str:
        return text or NOTHING


def _read(sample: Sample, place: str, json_depth: int) -> str | None:
    """None where the sample has nothing there; what is there must be readable."""
    try:
        return read_label(sample, place, json_depth)
    except SampleError as error:
        if error.reason == "missing_label":
            return None
        raise


@lru_cache(maxsize=1 << 16)
def names_of(text: str | None) -> Mapping[str, str]:
    """What a canonical text says: ``label`` and ``group``, those that there are."""
    names: Mapping[str, str] = json.loads(text or NOTHING)
    return names


@dataclass
class NamesSurvey:
    """How many samples there are, and how many of them have a label and a group.

    Attributes:
        target: What is read; None where nothing is.
        count: Samples.
        having: ``label`` or ``group`` -> samples that have it.
    """

    target: NamesTarget | None
    count: int = 0
    having: Counter[str] = field(default_factory=Counter)

    def add(self, sample: Sample, json_depth: int) -> None:
        self.add_text(self.target.read(sample, json_depth) if self.target else NOTHING)

    def add_text(self, text: str) -> None:
        self.count += 1
        self.having.update(names_of(text).keys())

    def merge(self, other: NamesSurvey) -> None:
        self.count += other.count
        self.having.update(other.having)

    def refused(self, target: Target) -> Counter[str]:
        return Counter()

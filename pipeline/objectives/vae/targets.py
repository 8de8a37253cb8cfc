"""The label of a sample as one more modality, which a sample may lack."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue

from pipeline.errors import ConfigError, SampleError
from pipeline.modalities.decoding.targets import Target, read_label
from pipeline.modalities.strict_json import DEPTH
from pipeline.sample import Sample

SETTING = "objective.label"
MISSING = ""  # the canonical text of a sample without a label; no label is empty


@dataclass(frozen=True)
class LabelTarget:
    """Where the label stands; a sample without one lacks a modality, and is as good as others.

    Attributes:
        label: A field, or a place inside a JSON field.
    """

    label: str
    countable = True
    accepted = None
    setting = SETTING

    @property
    def places(self) -> tuple[str, ...]:
        return (self.label,)

    @property
    def identity(self) -> JsonValue:
        return {"optional": self.label}

    def read(self, sample: Sample, json_depth: int = DEPTH) -> str:
        try:
            return read_label(sample, self.label, json_depth)
        except SampleError as error:
            if error.reason == "missing_label":
                return MISSING
            raise

    def accept(self, text: str | None) -> str:
        return text or MISSING


@dataclass
class LabelSurvey:
    """How often each label is there.

    Attributes:
        target: What is read; None where nothing is.
        count: Samples.
        labels: Label -> samples that have it.
    """

    target: LabelTarget | None
    count: int = 0
    labels: Counter[str] = field(default_factory=Counter)

    def add(self, sample: Sample, json_depth: int) -> None:
        self.add_text(self.target.read(sample, json_depth) if self.target else MISSING)

    def add_text(self, text: str) -> None:
        self.count += 1
        if text:
            self.labels[text] += 1

    def merge(self, other: LabelSurvey) -> None:
        self.count += other.count
        self.labels.update(other.labels)

    def refused(self, target: Target) -> Counter[str]:
        return Counter()


def classes_of(survey: LabelSurvey, label: str, most: int) -> list[str]:
    """The labels, in order.

    Args:
        survey: Of the training split.
        label: Where they stand.
        most: Labels that there may be.

    Raises:
        ConfigError: There is none, or only one, or there are so many that they name no classes.
    """
    names = sorted(survey.labels)
    where = f"{SETTING}={label}"
    if not names:
        raise ConfigError(
            f"none of {survey.count} samples has a label",
            where=where,
            fix="name the field that holds it, or leave objective.label out",
        )
    if len(names) == 1:
        raise ConfigError(
            f"all {survey.labels.total()} labels are {names[0]!r}, which tells nothing",
            where=where,
            fix="name another field, or leave objective.label out",
        )
    if len(names) > most:
        raise ConfigError(
            f"there are {len(names)} different labels in {survey.count} samples, which name no classes",
            where=where,
            fix=f"name a field with at most {most} different values, or leave objective.label out",
        )
    return names


def number_of(text: str | None, places: Mapping[str, int]) -> int:
    """The place of a label among the classes; -1 for none, and for one that training did not have."""
    return places.get(text or MISSING, -1)

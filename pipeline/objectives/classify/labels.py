"""Labels: which class one names, what a pass over those of a split finds, and the classes that they make."""

from __future__ import annotations

import json
import logging
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

from pipeline.errors import ConfigError, SampleError
from pipeline.logs import event
from pipeline.modalities.decoding.targets import (
    Target,
    label_place,
    missing_label,
    read_label,
    written_label,
)
from pipeline.modalities.strict_json import DEPTH
from pipeline.modalities.text.repair import normalized
from pipeline.sample import Sample

logger = logging.getLogger(__name__)

FEW_VALUES = 10  # of a number, that may well be names of classes


class NamesClasses:
    """What targets share whose values are names of classes; see :class:`pipeline.modalities.decoding.targets.Target`.

    Attributes:
        label: Where they stand.
        classes: Those that are allowed; any where None.
    """

    label: str
    classes: frozenset[str] | None

    @property
    def setting(self) -> str:
        return "objective.label"

    @property
    def places(self) -> tuple[str, ...]:
        return (self.label,)

    @property
    def accepted(self) -> list[str] | None:
        return None if self.classes is None else sorted(self.classes)

    def allowed(self, text: str, place: str) -> str:
        """The class that a label names, as the class is spelled.

        Args:
            text: The label.
            place: The field that it stands in.

        Raises:
            SampleError: It is none of the classes.
        """
        if self.classes is None:
            return text
        name = class_of(text, self.classes)
        if name is None:
            what = f"the label {text[:80]!r} is not one of the classes"
            raise SampleError(
                what, reason="unknown_label", field=place, setting="objective.classes"
            )
        return name


@dataclass(frozen=True)
class ClassTarget(NamesClasses):
    """The name of a sample's class; see :class:`pipeline.modalities.decoding.targets.Target`.

    Attributes:
        label: Where it stands.
        classes: Those that are allowed; any where None.
    """

    label: str
    classes: frozenset[str] | None = None

    @property
    def identity(self) -> str:
        return self.label

    @property
    def countable(self) -> bool:
        return True

    def read(self, sample: Sample, json_depth: int = DEPTH) -> str:
        text = read_label(sample, self.label, json_depth)
        return self.allowed(text, label_place(self.label, sample.fields)[0])

    def accept(self, text: str | None) -> str:
        if text is None:
            raise missing_label(self.label)
        return self.allowed(text, self.label)


def only_class(text: str) -> tuple[str, ...]:
    """The classes that a text of :class:`ClassTarget` names: one."""
    return (text,)


def class_of(label: str, classes: frozenset[str]) -> str | None:
    """The class that a label names, as the class is spelled; None where it is none of them."""
    return _by_label(classes).get(normalized(label))


@cache
def _by_label(classes: frozenset[str]) -> Mapping[str, str]:
    """NFC -> class; of classes that differ in their form only, the one in NFC counts."""
    ordered = sorted(classes, key=lambda name: normalized(name) == name)
    return {normalized(name): name for name in ordered}


@dataclass
class LabelSurvey:
    """The labels of a split; see :class:`pipeline.objectives.survey.TargetSurvey`.

    Attributes:
        label: Where they stand.
        labels: Label -> samples that have it.
        respelled: Label -> samples in which it is written in another Unicode form than NFC.
    """

    label: str
    labels: Counter[str] = field(default_factory=Counter)
    respelled: Counter[str] = field(default_factory=Counter)

    @property
    def count(self) -> int:
        return self.labels.total()

    def add(self, sample: Sample, json_depth: int) -> None:
        written = written_label(sample, self.label, json_depth)
        name = normalized(written)
        self.labels[name] += 1
        self.respelled.update([name] if name != written else [])

    def add_text(self, text: str) -> None:
        self.labels[normalized(text)] += 1

    def merge(self, other: LabelSurvey) -> None:
        self.labels.update(other.labels)
        self.respelled.update(other.respelled)

    def refused(self, target: Target) -> Counter[str]:
        return refusals(self.labels, target)


def refusals(texts: Mapping[str, int], target: Target) -> Counter[str]:
    """Reason -> samples whose text a target refuses.

    Args:
        texts: Text -> samples that have it.
        target: Which.
    """
    reasons: Counter[str] = Counter()
    for text, count in texts.items():
        try:
            target.accept(text)
        except SampleError as error:
            reasons[error.reason] += count
    return reasons


def class_names(
    label: str, configured: Sequence[str] | None, survey: LabelSurvey
) -> tuple[str, ...]:
    """The classes: those configured, or the labels of the training split, numbers in their order.

    Args:
        label: Where labels stand.
        configured: The classes that the configuration names.
        survey: The labels of the training split.

    Raises:
        ConfigError: The training split has no labels, or only one, or labels that do not look like classes.
    """
    if survey.respelled:
        # They look the same, and would be classes of their own.
        event(logger, "labels_joined", form="NFC", samples=dict(survey.respelled.most_common(5)))
    if configured:
        return tuple(dict.fromkeys(map(normalized, configured)))
    if len(survey.labels) < 2:
        only = f"only the label {next(iter(survey.labels))!r}" if survey.labels else "no label"
        raise ConfigError(
            f"{only} was found in the training samples",
            where=f"objective.label={label}",
            fix="set objective.label to the field with the label, or json.path inside a JSON field",
        )
    names = list(survey.labels)
    doubt = doubtful_classes(survey.labels)
    if doubt:
        raise ConfigError(
            doubt,
            where=f"objective.label={label}",
            fix="set objective.label to a field with class names, or objective.kind=regress to estimate numbers; "
            "if these are classes, list them in objective.classes",
        )
    if all(name.lstrip("-").isdecimal() for name in names):
        return tuple(sorted(names, key=int))
    return tuple(sorted(names))


def doubtful_classes(labels: Mapping[str, int]) -> str:
    """Why labels do not look like names of classes, in words; empty where they do.

    Args:
        labels: Label -> samples that have it.
    """
    example = next(iter(labels))
    several = [label for label in labels if _is_json(label)]
    if several:
        return (
            f"{len(several)} of the {len(labels)} labels are JSON lists or objects, such as {several[0][:60]}, "
            "and each would be a class of its own (objective.kind=multi_label reads lists)"
        )
    numbers = [_number(label) for label in labels]
    if any(number is None for number in numbers):
        return ""
    samples = sum(labels.values())
    fractions = any(number is not None and number % 1 for number in numbers)
    if fractions or (len(labels) > FEW_VALUES and 2 * len(labels) > samples):
        return (
            f"the label looks like a number to be estimated (regression), not like a class: "
            f"{len(labels)} different numbers in {samples} samples, such as {example}"
        )
    return ""


def _number(label: str) -> float | None:
    try:
        number = float(label)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _is_json(label: str) -> bool:
    if label[:1] not in ("[", "{"):
        return False
    try:
        return isinstance(json.loads(label), list | dict)
    except (ValueError, RecursionError):
        return False

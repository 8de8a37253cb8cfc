"""Sets of labels: where one stands, what it says, and the classes that those of a split make."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import isfinite

from pydantic import JsonValue

from pipeline.errors import ConfigError, SampleError
from pipeline.modalities.decoding.members import check_json, field_json, field_text
from pipeline.modalities.decoding.targets import Target, label_place, missing_label
from pipeline.modalities.strict_json import DEPTH
from pipeline.modalities.text.repair import normalized
from pipeline.objectives.classify.labels import NamesClasses, refusals
from pipeline.sample import Sample

logger = logging.getLogger(__name__)

BAD_LABEL = "bad_label"
# Among what was learned, of each class.
THRESHOLDS, SHARES = "thresholds", "shares"


@dataclass(frozen=True)
class LabelsTarget(NamesClasses):
    """The names of a sample's classes; see :class:`pipeline.modalities.decoding.targets.Target`.

    Its text is a JSON list of different names in Unicode's form NFC, sorted.

    Attributes:
        label: Where they stand.
        separator: What stands between them in a text; None where they are a JSON list.
        classes: Those that are allowed; any where None.
    """

    label: str
    separator: str | None = None
    classes: frozenset[str] | None = None

    @property
    def identity(self) -> JsonValue:
        return [self.label, self.separator]

    @property
    def countable(self) -> bool:
        return False  # sets of labels are many

    def read(self, sample: Sample, json_depth: int = DEPTH) -> str:
        name, path = label_place(self.label, sample.fields)
        if name not in sample.fields:
            raise missing_label(name)
        data = sample.fields[name].data
        if path:
            value = _followed(field_json(data, name, BAD_LABEL, json_depth), path, name)
        elif self.separator is None:
            value = field_json(data, name, BAD_LABEL, json_depth)
        else:
            value = field_text(data, name, BAD_LABEL)
        return self._canonical(self._labels(value, name), name)

    def accept(self, text: str | None) -> str:
        if text is None:
            raise missing_label(self.label)
        value = check_json(text, self.label, BAD_LABEL, DEPTH)
        return self._canonical(self._labels(value, self.label), self.label)

    def _labels(self, value: JsonValue, place: str) -> list[str]:
        """The labels as they are written, without the white space around them."""
        if isinstance(value, str) and self.separator is not None:
            return [name for part in value.split(self.separator) if (name := part.strip())]
        if not isinstance(value, list):
            what = "the labels are not a JSON list"
            raise SampleError(what, reason=BAD_LABEL, field=place, setting="objective.separator")
        return [_name(item, place) for item in value]

    def _canonical(self, labels: Iterable[str], place: str) -> str:
        """The text of some labels.

        Raises:
            SampleError: One is none of the classes.
        """
        classes = {self.allowed(normalized(label), place) for label in labels}
        return json.dumps(sorted(classes), ensure_ascii=False)


def labels_of(text: str) -> list[str]:
    """The labels that a text of :class:`LabelsTarget` names."""
    labels: list[str] = json.loads(text)
    return labels


def _followed(value: JsonValue, path: str, place: str) -> JsonValue:
    """What stands at a path in JSON."""
    for step in path.split("."):
        if not isinstance(value, dict) or step not in value:
            raise missing_label(place, f"no {path} in the JSON")
        value = value[step]
    return value


def _name(item: JsonValue, place: str) -> str:
    """One label of a JSON list."""
    if isinstance(item, bool) or not isinstance(item, str | int | float):
        what = "a label in the list is not a text or a number"
        raise SampleError(what, reason=BAD_LABEL, field=place)
    if isinstance(item, float) and not isfinite(item):
        raise SampleError("a label in the list is not finite", reason=BAD_LABEL, field=place)
    name = str(item).strip()
    if not name:
        raise SampleError("a label in the list is empty", reason=BAD_LABEL, field=place)
    return name


@dataclass
class LabelsSurvey:
    """The sets of labels of a split; see :class:`pipeline.objectives.survey.TargetSurvey`.

    Attributes:
        target: How they are read; any label is taken.
        texts: Text of a set -> samples that have it.
    """

    target: LabelsTarget
    texts: Counter[str] = field(default_factory=Counter)

    @property
    def count(self) -> int:
        return self.texts.total()

    def add(self, sample: Sample, json_depth: int) -> None:
        self.texts[self.target.read(sample, json_depth)] += 1

    def add_text(self, text: str) -> None:
        self.texts[self.target.accept(text)] += 1

    def merge(self, other: LabelsSurvey) -> None:
        self.texts.update(other.texts)

    def refused(self, target: Target) -> Counter[str]:
        return refusals(self.texts, target)

    def counts(self) -> Counter[str]:
        """Label -> samples that have it."""
        counts: Counter[str] = Counter()
        for text, count in self.texts.items():
            counts.update(dict.fromkeys(labels_of(text), count))
        return counts


def shares(survey: LabelsSurvey, classes: Sequence[str]) -> tuple[float, ...]:
    """Of all samples, the share that has each class."""
    counts = survey.counts()
    return tuple(counts[name] / survey.count for name in classes)


def class_names(
    label: str, configured: Sequence[str] | None, survey: LabelsSurvey
) -> tuple[str, ...]:
    """The classes: those configured, or the labels of the training split, sorted.

    Args:
        label: Where labels stand.
        configured: The classes that the configuration names.
        survey: The labels of the training split.

    Raises:
        ConfigError: No sample of the training split has a label.
    """
    counts = survey.counts()
    if not counts:
        raise ConfigError(
            f"none of the {survey.count} training samples has a label in its list",
            where=f"objective.label={label}",
            fix="set objective.label to the field with the labels, or json.path inside a JSON field",
        )
    if not configured:
        return tuple(sorted(counts))
    classes = tuple(dict.fromkeys(map(normalized, configured)))
    if without := [name for name in classes if not counts[name]]:
        logger.warning("no training sample has the label %s", ", ".join(without[:10]))
    return classes

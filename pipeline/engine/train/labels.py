"""The labels of a split, counted before its first sample is decoded, and the classes that they make."""

from __future__ import annotations

import json
import logging
import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import ray

from pipeline.config import Config
from pipeline.engine.decoding.decoded_folder import is_decoded, num_rows, read_labels
from pipeline.errors import BadDataError, ConfigError, SampleError
from pipeline.limits import Limits
from pipeline.logs import event
from pipeline.modalities.decoding.targets import written_label
from pipeline.modalities.text.repair import normalized
from pipeline.sample import Fault
from pipeline.shards.planning.plan import Part
from pipeline.shards.reading.reader import read_part

logger = logging.getLogger(__name__)

PARTS_A_TASK = 16
FEW_VALUES = 10  # of a number, that may well be names of classes


@dataclass(frozen=True)
class LabelCount:
    """What a pass over the labels of a split found.

    Attributes:
        labels: Label -> samples that have it.
        samples: Samples read, the bad ones included.
        reasons: Why samples have no label that can be used -> how many.
        respelled: Label -> samples in which it is written in another Unicode form than NFC.
    """

    labels: Counter[str]
    samples: int
    reasons: Counter[str] = field(default_factory=Counter)
    respelled: Counter[str] = field(default_factory=Counter)


def count_labels(parts: Sequence[Part], label: str, limits: Limits) -> LabelCount:
    """Counts the labels of parts, on the workers; only the labels' own bytes are looked at.

    Args:
        parts: What to look at.
        label: A field, or ``json.path``.
        limits: What is not read.
    """
    groups = [parts[start : start + PARTS_A_TASK] for start in range(0, len(parts), PARTS_A_TASK)]
    if len(groups) == 1:
        return _count_group(groups[0], label, limits)
    task = ray.remote(_count_group).options(num_cpus=0.5)
    counts = ray.get([task.remote(group, label, limits) for group in groups])
    return LabelCount(
        sum((count.labels for count in counts), Counter[str]()),
        sum(count.samples for count in counts),
        sum((count.reasons for count in counts), Counter[str]()),
        sum((count.respelled for count in counts), Counter[str]()),
    )


def _count_group(parts: Sequence[Part], label: str, limits: Limits) -> LabelCount:
    labels: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    respelled: Counter[str] = Counter()
    samples = 0
    for part in parts:
        if is_decoded(part):
            found = read_labels(part)
            labels.update(map(normalized, found))
            samples += num_rows([part])
            reasons["missing_label"] += num_rows([part]) - len(found)
            continue
        for item in read_part(part, limits):
            if isinstance(item, Fault):
                samples += item.source.key is not None and not item.amends
                continue
            samples += 1
            try:
                written = written_label(item, label, limits.json_depth)
                name = normalized(written)
                labels[name] += 1
                respelled.update([name] if name != written else [])
            except SampleError as error:  # decoding will quarantine it
                reasons[error.reason] += 1
    return LabelCount(labels, samples, +reasons, respelled)


def class_names(config: Config, counted: LabelCount) -> tuple[str, ...]:
    """The classes: those configured, or the labels of the training split, numbers in their order.

    Raises:
        ConfigError: The training split has no labels, or only one, or labels that do not look like classes.
    """
    objective = config.require_objective()
    if counted.respelled:
        # They look the same, and would be classes of their own.
        event(logger, "labels_joined", form="NFC", samples=dict(counted.respelled.most_common(5)))
    if objective.classes:
        return tuple(dict.fromkeys(map(normalized, objective.classes)))
    if len(counted.labels) < 2:
        only = f"only the label {next(iter(counted.labels))!r}" if counted.labels else "no label"
        raise ConfigError(
            f"{only} was found in {counted.samples} training samples",
            where=f"objective.label={objective.label}",
            fix="set objective.label to the field with the label, or json.path inside a JSON field",
        )
    names = list(counted.labels)
    doubt = doubtful_classes(counted.labels)
    if doubt:
        raise ConfigError(
            doubt,
            where=f"objective.label={objective.label}",
            fix="set objective.label to a field with class names; if these are meant, list them in objective.classes",
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
            "and each would be a class of its own"
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


def check_labels(
    config: Config, counts: Mapping[str, LabelCount], classes: Collection[str]
) -> None:
    """Ends a training before its first epoch where more samples lack a label than may be bad.

    Args:
        config: The whole configuration.
        counts: Of each split.
        classes: The classes; another label cannot be used.

    Raises:
        BadDataError: They do.
    """
    reasons = sum((count.reasons for count in counts.values()), Counter[str]())
    for count in counts.values():
        unknown = sum(number for name, number in count.labels.items() if name not in classes)
        reasons.update({"unknown_label": unknown} if unknown else {})
    samples = sum(count.samples for count in counts.values())
    bad = sum(reasons.values())
    if bad > config.input.max_bad_fraction * samples:
        raise BadDataError(
            f"{bad} of {samples} samples have no label that can be used",
            where=f"objective.label={config.require_objective().label}",
            fix=f"complete the labels, or raise input.max_bad_fraction ({config.input.max_bad_fraction})",
            reasons=reasons,
        )


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

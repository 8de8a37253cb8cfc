"""The targets of a split, read before its first sample is decoded; what they say is the objective's affair."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.config import Config
from pipeline.engine.decoding.decoded_folder import is_decoded, num_rows, read_labels
from pipeline.errors import BadDataError, SampleError
from pipeline.limits import Limits
from pipeline.objectives.base import Learned, ObjectiveSection, Survey
from pipeline.sample import Fault
from pipeline.shards.planning.plan import Part
from pipeline.shards.reading.reader import read_part

PARTS_A_TASK = 16


@dataclass
class Surveyed:
    """What a pass over the targets of a split found.

    Attributes:
        targets: What they say.
        samples: Samples read, the bad ones included.
        reasons: Why samples have no target that can be used -> how many.
    """

    targets: Survey
    samples: int = 0
    reasons: Counter[str] = field(default_factory=Counter)


def survey_targets(
    parts: Sequence[Part], objective: ObjectiveSection, limits: Limits, *, on_ray: bool = True
) -> Surveyed:
    """Reads the targets of parts; only the targets' own bytes are looked at.

    Args:
        parts: What to look at.
        objective: Says where they stand.
        limits: What is not read.
        on_ray: Whether Ray's workers share what is more than a few parts; this process reads all otherwise.
    """
    groups = [parts[start : start + PARTS_A_TASK] for start in range(0, len(parts), PARTS_A_TASK)]
    if len(groups) == 1 or not on_ray:
        return _survey_group(parts, objective, limits)
    import ray

    task = ray.remote(_survey_group).options(num_cpus=0.5)
    whole = Surveyed(objective.survey())
    for one in ray.get([task.remote(group, objective, limits) for group in groups]):
        whole.targets.merge(one.targets)
        whole.samples += one.samples
        whole.reasons.update(one.reasons)
    return whole


def _survey_group(parts: Sequence[Part], objective: ObjectiveSection, limits: Limits) -> Surveyed:
    surveyed = Surveyed(objective.survey())
    for part in parts:
        if is_decoded(part):
            _survey_rows(part, surveyed, labelled=objective.targets() is not None)
            continue
        for item in read_part(part, limits):
            if isinstance(item, Fault):
                surveyed.samples += item.source.key is not None and not item.amends
                continue
            surveyed.samples += 1
            try:
                surveyed.targets.add(item, limits.json_depth)
            except SampleError as error:  # decoding will quarantine it
                surveyed.reasons[error.reason] += 1
    return surveyed


def _survey_rows(part: Part, surveyed: Surveyed, *, labelled: bool) -> None:
    """The targets of rows that preprocess wrote; empty ones where the objective has none."""
    count = num_rows([part])
    texts = read_labels(part) if labelled else [""] * count
    missing = count - len(texts)
    surveyed.samples += count
    surveyed.reasons.update({"missing_label": missing} if missing else {})
    for text in texts:
        try:
            surveyed.targets.add_text(text)
        except SampleError as error:
            surveyed.reasons[error.reason] += 1


def check_targets(config: Config, surveys: Mapping[str, Surveyed], learned: Learned) -> None:
    """Ends a training before its first epoch where more samples lack a target than may be bad.

    Args:
        config: The whole configuration.
        surveys: Of each split.
        learned: What the objective has learned; a target that does not fit it cannot be used.

    Raises:
        BadDataError: They do.
    """
    target = config.require_objective().targets(learned)
    if target is None:
        return
    reasons: Counter[str] = Counter()
    for surveyed in surveys.values():
        reasons.update(surveyed.reasons)
        reasons.update(surveyed.targets.refused(target))
    samples = sum(surveyed.samples for surveyed in surveys.values())
    bad = reasons.total()
    if bad > config.input.max_bad_fraction * samples:
        raise BadDataError(
            f"{bad} of {samples} samples have no label that can be used",
            where=f"{target.setting}={', '.join(target.places)}",
            fix=f"complete the labels, or raise input.max_bad_fraction ({config.input.max_bad_fraction})",
            reasons=reasons,
        )

"""What the headers and small members of a split say, found in one pass over its parts that decodes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field

from pipeline.errors import SampleError
from pipeline.inspection.census import add_counts
from pipeline.limits import Limits
from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.decoding.targets import fields_at
from pipeline.objectives.base import ObjectiveSection
from pipeline.objectives.survey import TargetSurvey
from pipeline.sample import Fault, Sample
from pipeline.shards.planning.plan import Part
from pipeline.shards.reading.reader import read_part


@dataclass(frozen=True)
class Survey:
    """What a pass over some parts has found; picklable, and no larger for more samples of the same kind.

    Attributes:
        targets: What the targets say.
        samples: Samples, the bad ones and those that are left out included.
        reasons: Why samples have no target that can be used -> how many.
        fields: Field -> samples that can be read and have it; of very many names, the last ones together.
        faults: Reason -> samples that cannot be read or are left out, and damages of shards.
    """

    targets: TargetSurvey
    samples: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    fields: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)

    @classmethod
    def joined(cls, surveys: Iterable[Survey], objective: ObjectiveSection) -> Survey:
        """The survey of several passes together; each is asked for when the one before has been taken in.

        Args:
            surveys: In the order of the parts, or the last digits of means would depend on who was done first.
            objective: Whose targets they hold.
        """
        targets, samples = objective.survey(), 0
        reasons, fields, faults = Counter[str](), Counter[str](), Counter[str]()
        for survey in surveys:
            targets.merge(survey.targets)
            samples += survey.samples
            reasons.update(survey.reasons)
            add_counts(fields, survey.fields)
            faults.update(survey.faults)
        return cls(targets, samples, reasons, fields, faults)


def survey_part(part: Part, objective: ObjectiveSection, limits: Limits) -> Survey:
    """Surveys a part of a shard: its headers are read, and the members that its targets stand in.

    Args:
        part: Which.
        objective: Says where targets stand, and takes them in.
        limits: What is not read.

    Raises:
        InputError: The shard is not there, or cannot be reached.
    """
    target = objective.targets()
    needed = frozenset[str]() if target is None else fields_at(target.places)
    targets, samples = objective.survey(), 0
    reasons, fields, faults = Counter[str](), Counter[str](), Counter[str]()
    for item in read_part(part, limits, fields=needed):
        if isinstance(item, Fault):
            faults[item.reason] += 1
            samples += item.source.key is not None and not item.amends
            continue
        samples += 1
        add_counts(fields, dict.fromkeys(item.fields, 1))
        try:
            targets.add(item, limits.json_depth)
        except SampleError as error:  # decoding will quarantine it
            reasons[error.reason] += 1
    return Survey(targets, samples, reasons, fields, faults)


def first_fields(parts: Iterable[Part], limits: Limits) -> Iterator[Collection[str]]:
    """The fields of the samples that can be read, sample after sample, from headers alone."""
    return (sample.fields.keys() for sample in read_samples(parts, limits, ()))


def training_texts(
    parts: Iterable[Part], modalities: ModalitiesConfig, limits: Limits
) -> Iterator[str]:
    """The texts that the run's tokenizer is trained on, sample after sample; no more is read than is asked for.

    Args:
        parts: Of shards.
        modalities: Say which members hold them.
        limits: What is not read.
    """
    for sample in read_samples(parts, limits, modalities.text_fields()):
        members = {name: member.data for name, member in sample.fields.items()}
        yield from modalities.training_texts(members)


def read_samples(
    parts: Iterable[Part], limits: Limits, fields: Collection[str] | None
) -> Iterator[Sample]:
    """The samples of shards that can be read, with the content of some fields; see :func:`read_part`."""
    for part in parts:
        for item in read_part(part, limits, fields=fields):
            if isinstance(item, Sample):
                yield item

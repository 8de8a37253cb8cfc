"""The survey of a split before its first sample is decoded; what its targets say is the objective's affair."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice

from pipeline.config import Config
from pipeline.engine.decoding.decoded_folder import (
    DecodedFolder,
    is_decoded,
    num_rows,
    read_labels,
    split_input,
)
from pipeline.engine.executors.workplace import Workplace
from pipeline.errors import BadDataError, ConfigError, InputError, SampleError
from pipeline.inspection.survey import Survey, first_fields, survey_part
from pipeline.limits import Limits
from pipeline.logs import event
from pipeline.modalities.section import FEW_SAMPLES, Section
from pipeline.objectives.base import Learned, ObjectiveSection
from pipeline.shards.planning.plan import Part, expand, plan_shard

logger = logging.getLogger(__name__)

FIELDS_TOLD = 20  # the most frequent


def sized(config: Config) -> tuple[Config, int | None]:
    """The configuration as it suits the number of training samples; what is chosen is told in the log.

    Rows that preprocess wrote stay what they are: a modality whose encoder would want others keeps its own.

    Args:
        config: The whole configuration.

    Returns:
        The configuration, and what :meth:`Config.for_samples` was told: counting ends where samples are no longer few.
        None without a training split, or where it is not there, which is for others to say.
    """
    try:
        folders, shards = split_input(config.patterns("train", "input.train"))
        rows = sum(file.rows for folder in folders for file in folder.manifest.files)
        parts = (part for shard in expand(shards) for part in plan_shard(shard)) if shards else ()
        names = islice(first_fields(parts, config.limits), max(0, FEW_SAMPLES - rows))
        count = min(rows + sum(1 for _ in names), config.input.max_samples or FEW_SAMPLES)
    except (ConfigError, InputError):
        return config, None
    suited = config.for_samples(count)
    for folder in folders:
        suited = _as_decoded(config, suited, folder)
    if chosen := " ".join(_chosen(config, suited)):
        event(logger, "few_training_samples", samples=count, chosen=chosen)
    return suited, count


def _as_decoded(config: Config, suited: Config, folder: DecodedFolder) -> Config:
    """The suited configuration, with the modalities that a folder holds otherwise as they were."""
    written, wanted = folder.identity["modalities"], folder.as_written(suited.modalities)
    kept = {
        name: modality
        for name, modality in config.modalities.by_name().items()
        if name in written and written[name] != wanted[name]
    }
    return suited.model_copy(update={"modalities": suited.modalities.replaced(kept)})


def _chosen(config: Config, suited: Config) -> Iterator[str]:
    """The settings in which two configurations differ that :attr:`Section.FOR_FEW` names: ``train.epochs=40``."""
    sections: dict[str, tuple[Section | None, Section | None]] = {
        "objective": (config.objective, suited.objective),
        "train": (config.train, suited.train),
    }
    now = suited.modalities.by_name()
    for name, modality in config.modalities.by_name().items():
        sections[f"modalities.{name}"] = (modality, now[name])
    for path, (before, after) in sections.items():
        for name in after.FOR_FEW if after is not None else ():
            value = getattr(after, name)
            if getattr(before, name) != value:
                yield f"{path}.{name}={getattr(value, 'kind', value)}"


def survey_splits(
    parts: Mapping[str, Sequence[Part]],
    objective: ObjectiveSection,
    limits: Limits,
    workplace: Workplace,
) -> dict[str, Survey]:
    """Surveys each split, and tells in the log what there is; see :func:`survey_parts`."""
    surveys = {}
    for split, split_parts in parts.items():
        survey = survey_parts(split_parts, objective, limits, workplace)
        event(
            logger,
            "surveyed",
            split=split,
            samples=survey.samples,
            targets=survey.targets.count,
            fields=dict(survey.fields.most_common(FIELDS_TOLD)),
            faults=dict(survey.faults),
        )
        surveys[split] = survey
    return surveys


def survey_parts(
    parts: Sequence[Part],
    objective: ObjectiveSection,
    limits: Limits,
    workplace: Workplace | None = None,
) -> Survey:
    """Surveys parts, each by itself; of shards, only headers and the targets' own members are read.

    The result is the same whoever did it: surveys are joined in the order of the parts.

    Args:
        parts: Of shards, and of folders that preprocess wrote.
        objective: Says where targets stand.
        limits: What is not read.
        workplace: Does it; None does it in this thread.

    Raises:
        InputError: A shard is not there, or cannot be reached.
    """
    work = partial(_survey, objective=objective, limits=limits)
    surveys: Iterable[Survey] = (
        map(work, parts)
        if workplace is None
        else workplace.in_order(work, parts, "the survey of targets")
    )
    return Survey.joined(surveys, objective)


def _survey(part: Part, objective: ObjectiveSection, limits: Limits) -> Survey:
    if is_decoded(part):
        return _survey_rows(part, objective)
    return survey_part(part, objective, limits)


def _survey_rows(part: Part, objective: ObjectiveSection) -> Survey:
    """The targets of rows that preprocess wrote; empty ones where the objective has none."""
    count = num_rows([part])
    texts = [""] * count if objective.targets() is None else read_labels(part)
    missing = count - len(texts)
    targets = objective.survey()
    reasons: Counter[str] = Counter({"missing_label": missing} if missing else {})
    for text in texts:
        try:
            targets.add_text(text)
        except SampleError as error:
            reasons[error.reason] += 1
    return Survey(targets, count, reasons)


def tell_remarks(
    objective: ObjectiveSection, surveys: Mapping[str, Survey], learned: Learned
) -> None:
    """Tells in the log what is odd about targets that are used all the same.

    Args:
        objective: Of the training.
        surveys: Of each split.
        learned: What it has learned.
    """
    for split, survey in surveys.items():
        remarks = objective.remarks(survey.targets, learned)
        if remarks:
            event(logger, "odd_targets", split=split, **remarks)


def check_targets(config: Config, surveys: Mapping[str, Survey], learned: Learned) -> None:
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
    for survey in surveys.values():
        reasons.update(survey.reasons)
        reasons.update(survey.targets.refused(target))
    samples = sum(survey.samples for survey in surveys.values())
    bad = reasons.total()
    if bad > config.input.max_bad_fraction * samples:
        raise BadDataError(
            f"{bad} of {samples} samples have no label that can be used",
            where=f"{target.setting}={', '.join(target.places)}",
            fix=f"complete the labels, or raise input.max_bad_fraction ({config.input.max_bad_fraction})",
            reasons=reasons,
        )

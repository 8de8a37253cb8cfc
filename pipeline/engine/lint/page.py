"""What was found in shards as one report: the numbers, and what of them should worry the reader."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping

from pipeline.config import Config
from pipeline.engine.lint.plan import Findings
from pipeline.inspection.census import OTHER, Census
from pipeline.inspection.report import Contents, FieldUse, LintReport, Problem, Quantity
from pipeline.modalities import kinds
from pipeline.modalities.decoding.targets import label_place
from pipeline.modalities.known_kinds import expected_kind, is_media, meanings
from pipeline.shards.tar.strays import KINDS

MANY_FIELDS = 100  # more of them are parts of keys
UNEVEN_LABELS = 10.0  # times as many samples of the largest class as of the smallest


def build(config: Config, found: Findings) -> LintReport:
    """Puts together what ``lint.json`` holds."""
    total = found.total()
    uses = field_uses(config, total.field_bytes)
    return LintReport(
        problems=tuple(_problems(config, found, total)),
        total=_contents(total, config, uses),
        splits={name: _contents(census, config, uses) for name, census in found.censuses.items()},
        duplicates=found.duplicates,
        estimate=found.estimate,
    )


def field_uses(config: Config, fields: Container[str]) -> dict[str, str]:
    """Field -> what a setting uses it for: a modality, ``metadata`` or ``label``; of the ``fields`` there are."""
    uses = dict.fromkeys(config.input.metadata, "metadata")
    target = config.objective.targets() if config.objective else None
    for path in target.places if target else ():
        uses[label_place(path, fields)[0]] = "label"
    for modality, section in config.modalities.by_name().items():
        uses |= dict.fromkeys(section.fields, modality)
    return uses


def _contents(census: Census, config: Config, uses: Mapping[str, str]) -> Contents:
    looked_at = sum(census.modalities.values())
    with_modality = {
        name: sum(n for combo, n in census.modalities.items() if name in combo.split("+"))
        for name in config.modalities.by_name()
    }
    field_uses = {
        name: FieldUse(uses.get(name, ""), sizes.spread())
        for name, sizes in census.field_bytes.items()
    }
    return Contents(
        shards=census.shards,
        shards_damaged=census.shards_damaged,
        samples=census.samples,
        samples_bad=census.bad,
        samples_noted=census.noted,
        members=census.members,
        bytes=census.bytes,
        sample_bytes=census.sample_bytes.spread(),
        shard_samples=census.shard_samples.spread(),
        shard_bytes=census.shard_bytes.spread(),
        modalities=dict(census.modalities.most_common()),
        lacking={name: looked_at - number for name, number in with_modality.items()},
        fields=dict(sorted(field_uses.items(), key=lambda item: (-item[1].bytes.count, item[0]))),
        media=_media(census),
        labels=dict(sorted(census.labels.items(), key=lambda item: (-item[1], item[0]))),
        respelled=dict(census.respelled.most_common()),
        unlabelled=dict(census.unlabelled),
        damage=dict(census.damages.most_common()),
        strays=dict(census.strays.most_common()),
        bad=dict(census.reasons.most_common()),
        noted=dict(census.remarks.most_common()),
        settings={name: dict(counts.most_common()) for name, counts in census.settings.items()},
        misnamed=dict(census.misnamed.most_common()),
        indexes=dict(census.indexes.most_common()),
    )


def _media(census: Census) -> dict[str, dict[str, Quantity]]:
    """Modality -> what the headers of its members tell, by name."""
    media: dict[str, dict[str, Quantity]] = {
        name: {"formats": dict(counts.most_common())} for name, counts in census.formats.items()
    }
    quantities: dict[str, Quantity] = {
        **{name: sizes.spread() for name, sizes in census.ranges.items()},
        **{name: dict(counts.most_common()) for name, counts in census.values.items()},
        **census.notes,
    }
    for name, value in quantities.items():
        modality, _, quantity = name.partition(".")
        media[modality][quantity] = value
    return media


def _problems(config: Config, found: Findings, total: Census) -> Iterator[Problem]:
    """The most serious first."""
    meaning_of = meanings(config.modalities)
    for reason, number in total.damages.most_common():
        what = f"{_plural(number, 'damage')} of shards ({reason}): {meaning_of[reason]}"
        what += _settings(total, reason)
        yield Problem("error", what, number, total.examples[f"damage.{reason}"])
    for reason, number in total.reasons.most_common():
        what = f"bad {_plural(number, 'sample')} ({reason}): {meaning_of[reason]}"
        what += _settings(total, reason)
        yield Problem("error", what, number, total.examples[reason])
    for reason, number in total.remarks.most_common():
        what = f"{_plural(number, 'sample')} noted ({reason}): {meaning_of[reason]}"
        yield Problem("warning", what, number, total.examples[reason])
    for words, number in found.not_read.most_common():
        yield Problem(
            "warning", f"{_plural(number, 'file')} beside the shards not read: {words}", number
        )
    for kind, number in total.strays.most_common():
        what = f"{_plural(number, 'member')} of no sample passed over: {KINDS[kind]}"
        yield Problem("note", what, number, total.examples[f"strays.{kind}"])
    yield from _shared_keys(found)
    yield from _names(total)
    yield from _lacking(config, found)
    yield from _labels(config, found, total)
    yield from _unread(config, total)
    yield from _notes(config, total)


def _settings(total: Census, reason: str) -> str:
    """The settings that would let through what a reason stands for."""
    names = sorted(total.settings.get(reason, ()))
    return f"; see {', '.join(names)}" if names else ""


def _plural(number: int, noun: str) -> str:
    return noun if number == 1 else f"{noun}s"


def _shared_keys(found: Findings) -> Iterator[Problem]:
    groups = [
        (f"keys of {first} are in {second} too", repeats)
        for pair, repeats in found.duplicates.across_splits.items()
        for first, second in [pair.split(" & ")]
    ]
    groups += [
        (f"keys are in more than one shard of {split}", repeats)
        for split, repeats in found.duplicates.across_shards.items()
    ]
    for what, repeats in groups:
        examples = []
        for repeat in repeats.examples:
            same = ", ".join(repeat.same_fields)
            shards = " and ".join(repeat.shards)
            examples.append(
                f"{repeat.key} in {shards}: {'same ' + same if same else 'all differs'}"
            )
        yield Problem("warning", what, repeats.keys, examples)


def _names(total: Census) -> Iterator[Problem]:
    for subject, number in total.misnamed.most_common():
        name, _, content = subject.rpartition(".")
        what = f"members named .{name} hold {content}"
        yield Problem("warning", what, number, total.examples.get(subject, ()))
    if len(total.field_bytes) > MANY_FIELDS:
        what = "different fields: the key ends at the first dot, so keys must have none"
        yield Problem("warning", what, len(total.field_bytes), list(total.field_bytes)[:5])


def _lacking(config: Config, found: Findings) -> Iterator[Problem]:
    """Modalities that a whole split lacks; one line for those that no split has."""
    for name in config.modalities.by_name():
        without = [
            (split, census.samples)
            for split, census in found.censuses.items()
            if census.samples and not any(name in combo.split("+") for combo in census.modalities)
        ]
        if len(without) == len(found.censuses):
            without = [("", sum(samples for _, samples in without))]
        for split, samples in without:
            of = f" of {split}" if split else ""
            yield Problem("warning", f"samples{of}, and none has {name}", samples)


def _unread(config: Config, total: Census) -> Iterator[Problem]:
    """Media that no setting names, such as photos called .webp beside fields: [jpg]."""
    uses = field_uses(config, total.field_bytes)
    for name, sizes in total.field_bytes.items():
        kind = expected_kind(name)
        if name not in uses and is_media(kind):
            setting = (
                f": add it to modalities.{config.modalities.name_for(kind)}.fields"
                if kind in kinds()
                else ""
            )
            what = f"members named .{name} are {kind} that no setting reads{setting}"
            yield Problem("note", what, sizes.spread().count)


def _labels(config: Config, found: Findings, total: Census) -> Iterator[Problem]:
    for reason, number in total.unlabelled.most_common():
        what = f"samples that train and evaluate refuse: {reason}"
        yield Problem("warning", what, number, total.examples.get(reason, ()))
    if total.respelled:
        what = "labels are in another Unicode form than NFC, and are joined with those that look the same"
        yield Problem("note", what, sum(total.respelled.values()), sorted(total.respelled)[:5])
    train = found.censuses.get("train")
    if train is None or not train.labels or OTHER in train.labels:
        return
    for split, census in found.censuses.items():
        strange = {name: n for name, n in census.labels.items() if name not in train.labels}
        if strange and split != "train":
            what = f"samples of {split} have a label that train has not"
            yield Problem("warning", what, sum(strange.values()), sorted(strange)[:5])
    largest, smallest = max(train.labels.values()), min(train.labels.values())
    if largest >= UNEVEN_LABELS * smallest:
        rare = [f"{name}: {n}" for name, n in train.labels.most_common()[::-1][:5]]
        what = "classes of train, the largest with {:.0f} times the samples of the smallest"
        yield Problem("note", what.format(largest / smallest), len(train.labels), rare)


def _notes(config: Config, total: Census) -> Iterator[Problem]:
    for name, section in config.modalities.by_name().items():
        for word, what in section.remarks().items():
            if number := total.notes[f"{name}.{word}"]:
                yield Problem("note", what, number)
    for why, number in total.indexes.most_common():
        if why != "written":
            yield Problem("note", f"shards got no index ({why})", number)

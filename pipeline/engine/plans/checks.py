"""Mistakes of a configuration that show before a sample is decoded, found before Ray starts and told all at once."""

from __future__ import annotations

import difflib
import itertools
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pipeline import storage
from pipeline.config import Config, Patterns
from pipeline.engine.decoding.decoded_folder import split_input
from pipeline.errors import ConfigError, ModelError, PipelineError
from pipeline.logs import event
from pipeline.modalities.decoding.targets import fields_at
from pipeline.modalities.known_kinds import expected_kind, is_media
from pipeline.models.bundle import MANIFEST
from pipeline.prediction.spec import kind_of
from pipeline.sample import Sample
from pipeline.settings import join_errors
from pipeline.shards.planning.plan import Part, Shard, expand, shard_fingerprint
from pipeline.shards.reading.reader import read_part

logger = logging.getLogger(__name__)

LOOKED_AT_SAMPLES = 1_000
LOOKED_AT_BYTES = 64 << 20  # of shards that are not on this machine


@dataclass(frozen=True)
class Needs:
    """What a job needs of its configuration.

    Attributes:
        inputs: Setting -> the split or the patterns that it names.
        objective: Whether there must be an objective, which can be trained.
        model: Whether there must be a model to run.
        metadata: Fields that the job carries along.
        columns: That the job writes itself, and that metadata would stand beside.
        places: That the job tells samples apart by: fields, or paths in JSON fields.
    """

    inputs: Mapping[str, Patterns] = field(default_factory=dict)
    objective: bool = False
    model: bool = False
    metadata: Sequence[str] = ()
    columns: Sequence[str] = ()
    places: Sequence[str] = ()


@dataclass
class _Look:
    """The first samples of an input.

    Attributes:
        samples: How many were looked at.
        fields: Field -> samples that have it.
        whole: Whether no sample is left that was not looked at, or so many were that a field would have shown.
    """

    samples: int = 0
    fields: Counter[str] = field(default_factory=Counter)
    whole: bool = False


def check(config: Config, needs: Needs) -> None:
    """Looks for mistakes.

    Raises:
        ConfigError: All of them, a line each.
        InputError: An input cannot be reached.
    """
    mistakes: list[PipelineError] = list(_without_data(config, needs))
    looks: list[_Look] = []
    for setting, patterns in needs.inputs.items():
        try:
            folders, shards = split_input(config.patterns(patterns, setting))
            if shards:
                looks.append(_look(config, expand(shards, where=setting)))
            elif not folders:
                mistakes.append(ConfigError(f"{setting} names nothing", where="configuration"))
        except (ConfigError, ModelError) as error:
            mistakes.append(error)
    carried = [name for name in needs.metadata if name not in needs.columns]
    mistakes += _metadata(carried, looks)
    mistakes += _places(needs.places, looks)
    if mistakes:
        raise join_errors(mistakes)
    _note_unread_media(config, looks)


def _without_data(config: Config, needs: Needs) -> Iterator[PipelineError]:
    if needs.objective:
        try:
            config.check_training()
        except ConfigError as error:
            yield error
    for name in needs.metadata:
        if name in needs.columns:
            yield second_column(name)
    if needs.model and kind_of(config.infer.model or "") == "bundle":
        folder = config.folder("model", config.infer.model)
        if not storage.exists(storage.join(folder, MANIFEST)):
            yield ModelError(
                f"no model bundle: {MANIFEST} is missing",
                where=folder,
                fix="train one with `python -m jobs.train`, or set infer.model",
            )


def second_column(name: str) -> ConfigError:
    """What is wrong with a metadata field that has the name of a column."""
    return ConfigError(
        f"the metadata field {name} would be a second column of that name",
        where="input.metadata",
        fix=f"leave {name} out of input.metadata",
    )


def _look(config: Config, shards: Sequence[Shard]) -> _Look:
    """Looks at the first samples; of shards that are far away, no more than some bytes."""
    look = _Look()
    size = 0
    enough = min(LOOKED_AT_SAMPLES, config.input.max_samples or LOOKED_AT_SAMPLES)
    # Whole shards, one after the other: cutting them into parts would read all their headers.
    parts = (Part(shard.name, shard.url, shard_fingerprint(shard)) for shard in shards)
    items = (read_part(part, config.limits, fields=()) for part in parts)
    for item in itertools.chain.from_iterable(items):
        if not isinstance(item, Sample):
            continue
        look.samples += 1
        look.fields.update(item.fields.keys())
        size += sum(member.size for member in item.fields.values())
        look.whole = look.samples == enough
        if look.whole or (size > LOOKED_AT_BYTES and not storage.is_local(shards[0].url)):
            return look
    look.whole = True
    return look


def _metadata(names: Sequence[str], looks: Sequence[_Look]) -> Iterator[ConfigError]:
    """Metadata fields that no sample has."""
    for look in looks:
        if not look.whole or not look.samples:
            continue
        for name in names:
            if name not in look.fields:
                near = difflib.get_close_matches(name, look.fields, n=1)
                fields = ", ".join(sorted(look.fields))
                yield ConfigError(
                    f"none of the first {look.samples} samples has the metadata field {name}",
                    where="input.metadata",
                    fix=f"did you mean {near[0]}?" if near else f"the fields there are: {fields}",
                )
        return


def _places(places: Sequence[str], looks: Sequence[_Look]) -> Iterator[ConfigError]:
    """Places in fields that no sample has."""
    for look in looks:
        for place in places:
            if look.whole and look.samples and fields_at([place]).isdisjoint(look.fields):
                yield ConfigError(
                    f"none of the first {look.samples} samples has a field that {place} could be in",
                    where="evaluate.slices",
                    fix=f"the fields there are: {', '.join(sorted(look.fields))}",
                )


def _note_unread_media(config: Config, looks: Sequence[_Look]) -> None:
    """Says which pictures, sounds and films no setting reads, since such samples are good by their texts alone."""
    configured = {
        name for section in config.modalities.by_name().values() for name in section.fields
    }
    for look in looks:
        for name, count in sorted(look.fields.items()):
            kind = expected_kind(name)
            if is_media(kind) and name not in configured:
                event(
                    logger,
                    "field_not_read",
                    field=name,
                    kind=kind,
                    samples=f"{count} of the first {look.samples}",
                    setting="modalities.NAME.fields",
                )

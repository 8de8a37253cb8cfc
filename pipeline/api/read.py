"""``pipeline.read``: shards by the names of the configuration, without one."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from pipeline.api.samples import Samples
from pipeline.config import Config, validate
from pipeline.engine.plans.prepare import make_tokenizer, plan_parts
from pipeline.errors import ConfigError
from pipeline.modalities.base import Verify
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.modalities.decoding.rows import OnBadField
from pipeline.objectives.classify.labels import ClassTarget

WHERE = "pipeline.read"
Settings = Mapping[str, object]
PathLike = str | os.PathLike[str]


def read(
    patterns: PathLike | Sequence[PathLike],
    *,
    modalities: Mapping[str, Settings] | None = None,
    label: str | None = None,
    metadata: Sequence[str] = (),
    tokenizer: str | None = None,
    on_bad_field: OnBadField = "quarantine",
    verify: Verify = "full",
    limits: Settings | None = None,
    max_samples: int | None = None,
    num_cpus: int | None = None,
    **sections: Settings,
) -> Samples:
    """Samples of shards, decoded on all cores of this machine in processes beside this one.

    Args:
        patterns: Shards, and folders that preprocess wrote, as in the configuration: braces, globs, folders, URLs of
            object stores and web servers, or a list of them.
        modalities: Name -> settings, as in the configuration: ``{"left": {"kind": "image", "fields": ["l.jpg"]}}``.
        label: Field of the label, or a path in a JSON field. A sample without it is a bad one. None reads no labels.
        metadata: Fields that are carried along as texts.
        tokenizer: JSON of the tokenizer of texts; trained from the first 10,000 texts, or taken from a preprocessed
            folder, where None.
        on_bad_field: ``drop`` keeps a sample without the modality that is bad.
        verify: ``kept`` stops decoding a sound after the seconds that are kept.
        limits: Settings of the configuration's section ``limits``.
        max_samples: Reads no more than the first so many.
        num_cpus: Cores to decode on; all that this process may use where None.
        **sections: Settings of a modality by its name: ``image={"size": 64}``, ``audio={}``.

    Raises:
        ConfigError: A setting is wrong, nothing matches, or no sample has any of the configured fields.
        BadDataError: There are shards, and nothing in them can be read.
    """
    places = [patterns] if isinstance(patterns, str | os.PathLike) else list(patterns)
    urls = [os.fspath(place) for place in places]
    config = _config(
        {
            "train": urls,
            "metadata": list(metadata),
            "max_samples": max_samples,
            "on_bad_field": on_bad_field,
            "verify": verify,
        },
        {**(modalities or {}), **sections},
        limits or {},
    )
    if tokenizer is None and config.modalities.tokenized():
        tokenizer = make_tokenizer(config, urls, WHERE)
    target = None if label is None else ClassTarget(label)
    decoder = Decoder.build(
        config.modalities, tokenizer, metadata=metadata, target=target, **config.handling()
    )
    parts = plan_parts(
        config, urls, WHERE, target=target, tokenizer=tokenizer, metadata=tuple(metadata)
    )
    return Samples(parts, decoder, tokenizer=tokenizer, num_cpus=num_cpus)


def _config(input_settings: Settings, modalities: Settings, limits: Settings) -> Config:
    if not modalities:
        raise ConfigError(
            "no modality is named",
            where=WHERE,
            fix="say what is read of a sample, for example image={}, text={} or audio={}",
        )
    tree = {"run": ".", "input": input_settings, "modalities": modalities, "limits": limits}
    return validate(tree, where=WHERE)

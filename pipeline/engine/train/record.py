"""What a model is trained from, held against the model or the checkpoint that a run has already."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline import runs, storage
from pipeline.config import Config, Patterns
from pipeline.engine.decoding.decoded_folder import DecodedFolder, split_input
from pipeline.engine.train.progress import read_history
from pipeline.errors import ConfigError, ModelError
from pipeline.modalities.facets import KeepsFeatures
from pipeline.models.bundle import MANIFEST, Bundle
from pipeline.models.noted import as_noted, modalities_as_noted
from pipeline.models.record import CHECKPOINTS, LAST, SIZED_FOR, TIME_IS_OVER
from pipeline.shards.planning.plan import expand, shard_fingerprint
from pipeline.sinks.origin import Origin, full_location, shown

logger = logging.getLogger(__name__)

TRAINED_ON = ("train", "val")  # splits that a model has seen: val chose its epoch
# Settings of a training that change nothing of what is learned.
OF_THE_JOB = {
    "resume",
    "overwrite",
    "checkpoint_every",
    "keep_checkpoints",
    "max_seconds",
    "cache_gb",
    "cache_folder",
    "track",
    "profile",
}
MAX_SHARDS = 10_000  # that a bundle names one by one


def embedded_modalities(config: Config) -> tuple[str, ...]:
    """Modalities whose frozen encoders see each sample once; what they make of it stays in the training's cache."""
    objective = config.objective
    if config.train.cache == "none" or objective is None or objective.NEEDS_VALUES:
        return ()
    encoders = {name: modality.encoder for name, modality in config.modalities.by_name().items()}
    return tuple(
        name
        for name, encoder in encoders.items()
        if isinstance(encoder, KeepsFeatures) and encoder.keeps_features
    )


def settings_of(config: Config) -> dict[str, Any]:
    """The settings of an epoch as the configuration has them, ready for JSON; no augmentation where there is none."""
    embedded = embedded_modalities(config)
    return {
        "train": config.train.model_dump(mode="json", exclude=OF_THE_JOB),
        "modalities": {
            name: {"augment": None}
            if name in embedded
            else section.model_dump(mode="json", include={"augment"})
            for name, section in config.modalities.by_name().items()
        },
        "cluster": config.cluster.model_dump(mode="json", include={"workers"}),
    }


def recipe_of(config: Config) -> dict[str, Any]:
    """What all epochs of a model have in common, ready for JSON: its data, and the network that is trained."""
    return {
        "modalities": config.modalities.decoding(encoders="sealed"),
        "objective": config.require_objective().model_dump(mode="json"),
        "cleaning": config.cleaning.identity(training=True),
        "input": {"verify": config.input.verify, "on_bad_field": config.input.on_bad_field},
        "data": {
            split: data_of(patterns, config.input.max_samples)
            for split in TRAINED_ON
            if (patterns := getattr(config.input, split)) is not None
        },
    }


def shards_of(config: Config) -> dict[str, list[str]]:
    """Split -> marks of its shards, for :func:`seen_in_training`; none where they are too many to be named."""
    marks = {}
    for split in TRAINED_ON:
        patterns = getattr(config.input, split)
        if patterns is not None:
            marks_of_shards = list(_marks(patterns))
            marks[split] = sorted({mark for pair in marks_of_shards for mark in pair})
            if len(marks_of_shards) > MAX_SHARDS:
                marks[split] = []
    return marks


def seen_in_training(bundle: Bundle, patterns: Patterns) -> dict[str, int]:
    """Split -> how many of the shards of an input the model was trained on, or its epoch chosen by; and of how many.

    A shard is known by where it lies, or by name, size and version where it was moved.
    """
    pairs = list(_marks(patterns))
    seen = {}
    for split, marks in bundle.training.get("shards", {}).items():
        count = sum(not set(marks).isdisjoint(pair) for pair in pairs)
        if count:
            seen[split] = count
    return seen | {"of": len(pairs)} if seen else {}


def finished(config: Config) -> Bundle | None:
    """The run's model, where these settings would train the same again; None where there is something to train.

    Raises:
        ConfigError: The run has a model or a checkpoint that these settings would replace or cannot continue.
    """
    folder = config.folder("model")
    bundle = None
    if not config.train.overwrite and storage.exists(storage.join(folder, MANIFEST)):
        bundle = _read(folder, config)
        if _is_done(_sized_as(config, bundle.training.get("recipe")), bundle):
            return bundle
    url = storage.join(config.run, CHECKPOINTS, LAST)
    if config.train.resume:
        from pipeline.training.state import last_checkpoint  # imports torch

        checkpoint = last_checkpoint(config.run)
        if bundle is not None:
            _check_lineage(bundle, checkpoint, url)
        if checkpoint is not None:
            made = "the last checkpoint was made"
            suited = _sized_as(config, checkpoint["identity"])
            _check_same(suited, checkpoint["identity"], url, made)
            _check_epochs(suited, len(checkpoint["history"]), url)
    elif not config.train.overwrite and storage.exists(url):
        logger.warning(
            "training begins anew: %d epochs of one that did not end are replaced, and what was done of the next; "
            "train.resume=true would have gone on from there",
            len(read_history(config.run)),
        )
    return None


def _sized_as(config: Config, made: Mapping[str, Any] | None) -> Config:
    """The configuration as it suits the samples that a model was trained on; what differs in number is other data."""
    return config.for_samples((made or {}).get(SIZED_FOR))


def _read(folder: str, config: Config) -> Bundle:
    try:
        return Bundle.load(folder, config.plugged())
    except ModelError as error:
        raise ConfigError(
            f"the run has a model, which cannot be read ({error.what})",
            where=folder,
            fix="choose another run, or set train.overwrite=true to train in its place",
        ) from None


def _is_done(config: Config, bundle: Bundle) -> bool:
    """Whether a finished model is what these settings ask for; False where it may be trained further."""
    folder = config.folder("model")
    trained_on = bundle.training.get("recipe")
    if trained_on is None:
        raise _refused("the run has a model that does not say what it was trained on", folder)
    _check_same(config, trained_on, folder, "the model was trained")
    now, before = settings_of(config), bundle.training["ranges"][-1]["settings"]
    now["train"] = as_noted(config.train, now["train"], before["train"])
    now["modalities"] = modalities_as_noted(
        config.modalities, now["modalities"], before["modalities"]
    )
    changed = list(runs.differences(_that_matter(before), _that_matter(now)))
    epochs, asked_epochs = bundle.training["kept"]["of"], config.train.epochs
    if not changed:
        is_cut = bundle.training["kept"].get("since") == TIME_IS_OVER
        if is_cut and not config.train.resume:
            logger.warning(
                "the model is that of %d of %d epochs, since %s; train.resume=true goes on",
                epochs,
                asked_epochs,
                TIME_IS_OVER,
            )
        return not (is_cut and config.train.resume)
    if not config.train.resume:
        fix = ""
        if (
            changed == [f"train.epochs was {epochs} and is now {asked_epochs}"]
            and asked_epochs > epochs
        ):
            fix = "set train.resume=true to go on from its last epoch, "
        raise _refused(f"the model was trained with other settings: {changed[0]}", folder, fix)
    _check_epochs(config, epochs, folder)
    if asked_epochs == epochs:
        raise ConfigError(
            f"all {epochs} epochs are done, and nothing is left to train with other settings: {changed[0]}",
            where=folder,
            fix="raise train.epochs to go on with them, or set train.overwrite=true without train.resume",
        )
    return False


def _check_epochs(config: Config, done: int, where: str) -> None:
    if config.train.epochs < done:
        raise ConfigError(
            f"{done} epochs are done, and train.epochs={config.train.epochs} asks for fewer",
            where=where,
            fix=f"set train.epochs to {done} or more, or train.overwrite=true without train.resume to train anew",
        )


def _check_lineage(bundle: Bundle, checkpoint: Mapping[str, Any] | None, url: str) -> None:
    """Refuses to replace a model by what another training left half-way."""
    ranges = [stretch["settings"] for stretch in bundle.training["ranges"]]
    epochs = bundle.training["kept"]["of"]
    if checkpoint is None:
        raise _refused(f"the checkpoint of the model's {epochs} epochs is gone", url)
    continued = [stretch["settings"] for stretch in checkpoint.get("ranges", ())][: len(ranges)]
    if len(checkpoint["history"]) < epochs or continued != ranges:
        raise _refused(
            f"the last checkpoint is of another training than the model of {epochs} epochs", url
        )


def _check_same(config: Config, made: Mapping[str, Any], where: str, what: str) -> None:
    """Refuses other data and another network; what an earlier version has not noted is not compared."""
    recipe = recipe_of(config)
    for split in sorted({*recipe["data"], *made.get("data", recipe["data"])}):
        difference = _data_difference(
            split, made.get("data", recipe["data"]).get(split), recipe["data"].get(split)
        )
        if difference:
            raise _refused(f"{what} with other data: {difference}", where)
    comparable = {name: made[name] for name in recipe if name in made and name != "data"}
    mine = {name: recipe[name] for name in comparable}
    if "objective" in mine:
        objective = config.require_objective()
        mine["objective"] = as_noted(objective, mine["objective"], made["objective"])
    if "modalities" in mine:
        mine["modalities"] = modalities_as_noted(
            config.modalities, mine["modalities"], made["modalities"]
        )
    for difference in runs.differences(comparable, mine):
        raise _refused(f"{what} with other settings: {difference}", where)


def _refused(what: str, where: str, fix: str = "") -> ConfigError:
    return ConfigError(
        what,
        where=where,
        fix=f"{fix}choose another run, or set train.overwrite=true to train in its place",
    )


def _that_matter(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Without what makes no other model: where samples are kept, and how many workers there are."""
    train = {name: value for name, value in settings["train"].items() if name != "cache"}
    return {"train": train, "modalities": settings["modalities"]}


def data_of(patterns: Patterns, max_samples: int | None) -> dict[str, Any]:
    """What tells two data sets apart."""
    origin = Origin.of(patterns, max_samples)
    versions = sorted(version for _, version in _marks(patterns))
    return {
        "patterns": list(origin.patterns),
        "max_samples": max_samples,
        "num_shards": len(versions),
        "digest": runs.fingerprint(versions),
    }


def _data_difference(
    split: str, made: Mapping[str, Any] | None, now: Mapping[str, Any] | None
) -> str:
    """In what two data sets differ, in words; empty where in nothing."""
    if made is None or now is None:
        change = "was not set and is now" if made is None else "was set and is no longer"
        return f"input.{split} {change}" if made is not now else ""
    if made["max_samples"] != now["max_samples"]:
        return f"input.max_samples was {made['max_samples']} and is now {now['max_samples']}"
    if made["digest"] == now["digest"]:
        return ""
    if made["patterns"] != now["patterns"]:
        return f"input.{split} was {shown(made['patterns'])} and is now {shown(now['patterns'])}"
    return (
        f"the shards of input.{split} have changed since, "
        f"{made['num_shards']} of them then and {now['num_shards']} now"
    )


def _marks(patterns: Patterns) -> Iterator[tuple[str, str]]:
    """Of each shard, or folder that preprocess wrote: digests of where it lies, and of its name, size and version."""
    folders, shards = split_input(patterns)
    for folder in folders:
        yield runs.fingerprint([full_location(folder.url)])[:16], _version(folder)
    for shard in expand(shards) if shards else ():
        yield runs.fingerprint([full_location(shard.url)])[:16], shard_fingerprint(shard)[:16]


def _version(folder: DecodedFolder) -> str:
    files = [[file.name, file.rows] for file in folder.manifest.files]
    return runs.fingerprint([folder.manifest.fingerprint, files])[:16]

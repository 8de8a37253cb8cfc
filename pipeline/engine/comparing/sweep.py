"""Variants of a configuration: their runs, which of them are done, and how they compare."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline import storage
from pipeline.config import Config, load
from pipeline.engine.comparing.runs import compare_entrants, judged
from pipeline.engine.decoding.cache import CACHE
from pipeline.engine.train.record import data_of, finished, recipe_of, settings_of
from pipeline.errors import ConfigError
from pipeline.evaluation.comparison import Comparison
from pipeline.evaluation.judged import Entrant
from pipeline.runs import Summary, fingerprint

FOLDER = "sweep"  # below the run; each variant has a folder there, and each seed one in that
# In a run: digests of what its training is of, and its evaluation.
TRAINING, EVALUATED = "training.digest", "evaluation.digest"


@dataclass(frozen=True)
class Variant:
    """One setting of a sweep.

    Attributes:
        name: Of the row.
        configs: Of its runs, one a seed.
    """

    name: str
    configs: tuple[Config, ...]


def variants_of(path: str, overrides: Sequence[str], config: Config) -> list[Variant]:
    """The variants of a configuration, each checked before any of them is trained.

    Args:
        path: The configuration's file, which overrides of a variant are applied to as those of a command line are.
        overrides: Of the command line; a variant's come behind them.
        config: What both make.

    Raises:
        ConfigError: There is no variant, or one is wrong; names it.
    """
    if not config.sweep.variants:
        raise ConfigError(
            "there is nothing to sweep over",
            where="sweep.variants",
            fix="name variants, for example sweep: {variants: {late: [objective.fusion.kind=late]}}",
        )
    return [
        Variant(name, tuple(_configs(path, overrides, config, name, changes)))
        for name, changes in config.sweep.variants.items()
    ]


def _configs(
    path: str, overrides: Sequence[str], config: Config, name: str, changes: Sequence[str]
) -> list[Config]:
    configs = []
    for seed in config.sweep.seeds:
        run = storage.join(config.run, FOLDER, name, f"seed-{seed}")
        own = [f"run={json.dumps(run)}", f"train.seed={seed}"]
        try:
            loaded = load(path, [*overrides, *changes, *own])
            loaded.check_training()
            configs.append(_sharing(loaded, storage.join(config.run, FOLDER, CACHE)))
        except ConfigError as error:
            raise ConfigError(
                error.what, where=f"sweep.variants.{name}: {error.where}", fix=error.fix
            ) from None
    return configs


def _sharing(config: Config, folder: str) -> Config:
    """The same run with the cache that all runs have in common, so that the same settings decode once."""
    settings = config.train
    if settings.cache != "disk" or settings.cache_folder is not None:
        return config
    return config.model_copy(update={"train": settings.model_copy(update={"cache_folder": folder})})


def to_train(config: Config) -> Config | None:
    """How a run is trained: on from its last checkpoint, where that is of these settings; None where it is done.

    Raises:
        ConfigError: It has a model of other settings.
    """
    if finished(config) is not None:
        return None
    settings = fingerprint({"recipe": recipe_of(config), "settings": settings_of(config)})
    if _read(config.run, TRAINING) != settings:
        _note(config.run, TRAINING, settings)
        return config
    goes_on = config.train.model_copy(update={"resume": not config.train.overwrite})
    return config.model_copy(update={"train": goes_on})


def is_evaluated(config: Config) -> bool:
    """Whether the run's evaluation is of the model that it has now, on the same input with the same settings."""
    return _read(config.run, EVALUATED) == _evaluation(config)


def note_evaluated(config: Config) -> None:
    """Notes what the run's evaluation was made from."""
    _note(config.run, EVALUATED, _evaluation(config))


def _evaluation(config: Config) -> str:
    """Digest of what an evaluation of the run's model depends on."""
    bundle = finished(config)
    patterns = config.patterns(config.evaluate.input, "evaluate.input")
    settings = config.evaluate.model_dump(mode="json", exclude={"baselines", "baseline_samples"})
    return fingerprint(
        {
            "model": "" if bundle is None else bundle.fingerprint,
            "settings": settings,
            "data": data_of(patterns, config.input.max_samples),
        }
    )


def _read(run: str, name: str) -> str:
    try:
        return storage.read_bytes(storage.join(run, name)).decode()
    except FileNotFoundError:
        return ""


def _note(run: str, name: str, digest: str) -> None:
    storage.write_bytes(storage.join(run, name), digest.encode())


def compare_variants(
    config: Config, variants: Sequence[Variant], summary: Summary, output: str
) -> Comparison:
    """Compares variants, each the mean over its seeds, and says which one the validation split would choose.

    Args:
        config: The whole configuration, of all variants.
        variants: Evaluated ones.
        summary: Takes the main numbers, and the comparison as its report.
        output: Folder written to.

    Raises:
        PipelineError: As :func:`pipeline.engine.comparing.runs.compare_runs`.
    """
    entrants = [
        Entrant(
            variant.name,
            tuple(judged(each.run, each.plugged()) for each in variant.configs),
        )
        for variant in variants
    ]
    return compare_entrants(config, entrants, summary, output, chosen=True)

"""Predicts with a pretrained generator of texts; see :mod:`pipeline.modalities.pretrained.generators`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.errors import ConfigError
from pipeline.modalities.pretrained import generators
from pipeline.modalities.pretrained.generators import GeneratorDescription

if TYPE_CHECKING:
    from pipeline.prediction.spec import ModelSpec


def generator_of(spec: ModelSpec) -> GeneratorDescription:
    """The generator that is asked for, for the modality that the job is configured with.

    Raises:
        ConfigError: As :func:`open_model`, as ModelError.
    """
    for setting in ("weights", "compile"):
        if getattr(spec, setting):
            raise ConfigError(
                "a generator is a folder with its weights, and writes token after token: it is not compiled",
                where=f"infer.{setting}={getattr(spec, setting)}",
                fix=f"leave infer.{setting} out",
            )
    known = spec.description
    if not isinstance(known, GeneratorDescription):
        known = generators.describe(spec.model, spec.settings)
    return known.for_job(spec.modalities.kinds())

"""The stage that holds a model, of whatever kind, and predicts a block of samples at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import pyarrow as pa

from pipeline.prediction.spec import Kind, ModelSpec


class Predictor(Protocol):
    """Decoded samples in, the same rows with predictions in place of their modalities out."""

    @property
    def fields(self) -> list[pa.Field]:
        """The columns that it adds, the embedding first."""

    def __call__(self, table: pa.Table) -> pa.Table:
        """Predicts the good rows of a block; bad rows pass with nulls.

        Args:
            table: As :meth:`pipeline.prediction.spec.Model.decoder` decodes it.
        """


def load_predictor(spec: ModelSpec) -> Predictor:
    """Loads what :func:`pipeline.prediction.spec.open_model` describes; needs no Ray.

    ::

        model = open_model(spec)
        table = model.decoder().decode(samples, part="")
        embeddings = load_predictor(spec)(table)["embedding"]

    Raises:
        ModelError: The model is missing, damaged, or does not fit the configuration.
        RunError: The device that was asked for is not there.
    """
    kinds: dict[Kind, Callable[[ModelSpec], Predictor]] = {
        "bundle": _bundle,
        "encoder": _encoder,
        "generator": _generator,
        "own": _own,
    }
    return kinds[spec.kind](spec)


def _bundle(spec: ModelSpec) -> Predictor:
    from pipeline.prediction.bundle import BundlePredictor

    return BundlePredictor(spec)


def _encoder(spec: ModelSpec) -> Predictor:
    from pipeline.prediction.encoder import EncoderPredictor

    return EncoderPredictor(spec)


def _generator(spec: ModelSpec) -> Predictor:
    from pipeline.prediction.generator.runner import GeneratorPredictor

    return GeneratorPredictor(spec)


def _own(spec: ModelSpec) -> Predictor:
    from pipeline.prediction.own.runner import OwnRunner

    return OwnRunner(spec)

"""What a job is told about the model that it runs, before any network is built."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, Protocol

import pyarrow as pa

from pipeline.errors import ConfigError
from pipeline.metrics.columns import Sums
from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.modalities.pretrained import EncoderDescription, describe, generators, is_encoder
from pipeline.modalities.pretrained.generators import GeneratorDescription
from pipeline.models.bundle import Bundle
from pipeline.objectives.sealed import check_objective, objective_of, prediction_fields
from pipeline.plugins import class_names
from pipeline.prediction.generator import generator_of
from pipeline.prediction.generator.summary import summary
from pipeline.prediction.own import is_own
from pipeline.prediction.own.description import OwnDescription, own_of

Precision = Literal["auto", "float32", "bfloat16"]
Kind = Literal["bundle", "encoder", "generator", "own"]
# What is known of a model that is no bundle.
Description = EncoderDescription | GeneratorDescription | OwnDescription


@dataclass(frozen=True)
class ModelSpec:
    """Which model is asked, and how it runs; picklable.

    Attributes:
        model: Folder of a bundle, an encoder as ``KIND:NAME`` (:mod:`pipeline.modalities.pretrained`), a generator of
            texts as ``hf:FOLDER`` (:mod:`pipeline.modalities.pretrained.generators`), or a person's own predictor as
            ``python:package.module:Class`` (:mod:`pipeline.prediction.own`).
        modalities: Those that the job is configured with.
        objective: The objective that the job is configured with, as JSON; None where there is none.
        weights: File or folder of an encoder's weights, or of a person's own predictor.
        batch_size: Samples of a micro-batch.
        num_threads: CPU threads of the networks in this process; None leaves them as they are.
        float16: Writes embeddings in half precision.
        precision: Of matrix products; ``auto`` is bfloat16 on a GPU and float32 elsewhere.
        compile: Compiles the networks.
        device: ``cpu`` or ``cuda``; None takes a GPU where there is one.
        description: What was said of a model that is no bundle before; what is loaded must be the same. None asks
            nothing.
        settings: Of a person's own predictor, or of a generator.
        seed: Of what a bundle draws for a sample, beside the sample's shard and key.
    """

    model: str
    modalities: ModalitiesConfig
    weights: str | None = None
    batch_size: int = 64
    num_threads: int | None = None
    float16: bool = False
    precision: Precision = "auto"
    compile: bool = False
    device: str | None = None
    description: Description | None = None
    objective: Mapping[str, Any] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0

    @property
    def plugged(self) -> frozenset[str]:
        """Names of a person's own classes that the job is configured with: those that may be imported for a bundle."""
        trees = (self.objective, self.modalities.model_dump(mode="json"))
        return frozenset(name for tree in trees for name in class_names(tree))

    @property
    def kind(self) -> Kind:
        """What kind of model this is."""
        return kind_of(self.model)


def kind_of(model: str) -> Kind:
    """What kind of model a name is of.

    Raises:
        ConfigError: It looks like an encoder's, of a kind that there is not.
        ModelError: It is a folder whose config.json is damaged.
    """
    if is_own(model):
        return "own"
    if not is_encoder(model):
        return "bundle"
    return "generator" if generators.is_generator(model) else "encoder"


class Model(Protocol):
    """A model as seen from the job that runs it."""

    @property
    def fingerprint(self) -> str:
        """Digest of everything that predictions depend on."""

    @property
    def fields(self) -> list[pa.Field]:
        """The columns that predictions add to the output, the embedding first."""

    @property
    def footer(self) -> Mapping[str, str]:
        """What the footer of its predictions says beside the model and the versions."""

    @property
    def summary(self) -> Callable[[pa.Table], Sums] | None:
        """What nights are compared by, of good rows with its columns; None where there is nothing."""

    @property
    def tokenizer(self) -> str | None:
        """The tokenizer that preprocessed texts must have been made with; None where any is good."""

    @property
    def modalities(self) -> ModalitiesConfig:
        """Those that it takes, with the limits and filters of the job."""

    @property
    def sized_for(self) -> int | None:
        """See :attr:`pipeline.models.bundle.Bundle.sized_for`; None for a model that is no bundle."""

    @property
    def description(self) -> Description | None:
        """What a model that is no bundle takes and gives."""

    @property
    def draws(self) -> bool:
        """Whether rows depend on the seed, too."""

    def decoding(self) -> Mapping[str, Any]:
        """The settings that decoded rows depend on, ready for JSON."""

    def decoder(self, **handling: object) -> Decoder:
        """How samples are decoded for it; ``handling`` as :meth:`.Decoder.build` takes it."""


def open_model(spec: ModelSpec) -> Model:
    """Reads what a job must know of a model.

    Raises:
        ConfigError: The name says no encoder that is known, a package is not installed, or a person's own class does
            not keep to its contract.
        ModelError: The model is missing, damaged, or does not fit the configured modalities.
    """
    kinds: dict[Kind, Callable[[ModelSpec], Model]] = {
        "bundle": BundleModel.open,
        "encoder": ForeignModel.of_encoder,
        "generator": ForeignModel.of_generator,
        "own": ForeignModel.of_own,
    }
    return kinds[spec.kind](spec)


def encoder_of(spec: ModelSpec) -> EncoderDescription:
    """The encoder that is asked for, for the modalities that the job is configured with.

    Raises:
        ConfigError: As :func:`open_model`, as ModelError.
    """
    if spec.settings:
        raise ConfigError(
            f"{spec.model} is an encoder, which has no settings",
            where="infer.settings",
            fix="leave them out, or name a generator in infer.model",
        )
    known = spec.description
    encoder = known if isinstance(known, EncoderDescription) else describe(spec.model, spec.weights)
    return encoder.for_job(spec.modalities.kinds())


@dataclass(frozen=True)
class BundleModel:
    """A bundle; see :class:`Model`."""

    bundle: Bundle
    modalities: ModalitiesConfig
    fields: list[pa.Field]
    description: None = None

    @classmethod
    def open(cls, spec: ModelSpec) -> BundleModel:
        """Reads a bundle, and holds it against the configuration."""
        if spec.weights is not None:
            raise ConfigError(
                "a bundle has its weights in its folder",
                where=f"infer.weights={spec.weights}",
                fix="leave infer.weights out, or name an encoder in infer.model",
            )
        bundle = Bundle.load(spec.model, spec.plugged)
        bundle.check_modalities(spec.modalities, "configuration")
        check_objective(bundle, spec.objective, "configuration")
        fields = prediction_fields(bundle, float16=spec.float16)
        return cls(bundle, bundle.modalities.for_job(spec.modalities), fields)

    @property
    def fingerprint(self) -> str:
        return self.bundle.fingerprint

    @property
    def sized_for(self) -> int | None:
        return self.bundle.sized_for

    @property
    def footer(self) -> Mapping[str, str]:
        return objective_of(self.bundle).footer(self.bundle.learned)

    @property
    def summary(self) -> Callable[[pa.Table], Sums]:
        return partial(objective_of(self.bundle).summary, learned=self.bundle.learned)

    @property
    def tokenizer(self) -> str | None:
        return self.bundle.tokenizer

    @property
    def draws(self) -> bool:
        return objective_of(self.bundle).draws

    def decoding(self) -> Mapping[str, Any]:
        return self.modalities.decoding(exclude_none=False)

    def decoder(self, **handling: Any) -> Decoder:
        objective = objective_of(self.bundle)
        if objective.TAKES_TARGETS:
            handling = {"target": objective.targets(self.bundle.learned), **handling}
        return Decoder.build(self.modalities, self.bundle.tokenizer, **handling)


@dataclass(frozen=True)
class ForeignModel:
    """A pretrained encoder or generator, or a person's own predictor; see :class:`Model`.

    Attributes:
        keeps_others: Whether a sample without anything that it takes has a row of nulls, rather than none.
    """

    description: Description
    modalities: ModalitiesConfig
    fields: list[pa.Field]
    fingerprint: str
    footer: Mapping[str, str] = field(default_factory=dict)
    summary: Callable[[pa.Table], Sums] | None = None
    tokenizer: str | None = None
    sized_for: None = None
    draws: bool = False
    keeps_others: bool = False

    @classmethod
    def of_encoder(cls, spec: ModelSpec) -> ForeignModel:
        """Describes an encoder for the modalities that the job is configured with."""
        encoder = encoder_of(spec)
        fields = encoder.fields(float16=spec.float16)
        return cls(encoder, spec.modalities, fields, encoder.fingerprint)

    @classmethod
    def of_generator(cls, spec: ModelSpec) -> ForeignModel:
        """Describes a generator for the modality that the job is configured with."""
        generator = generator_of(spec)
        return cls(
            generator,
            spec.modalities,
            list(generator.fields),
            generator.fingerprint,
            summary=partial(summary, column=generator.text),
            keeps_others=True,
        )

    @classmethod
    def of_own(cls, spec: ModelSpec) -> ForeignModel:
        """Asks a person's own predictor what it takes and gives."""
        own = own_of(spec)
        return cls(own, spec.modalities, list(own.fields), own.fingerprint)

    def decoding(self) -> Mapping[str, Any]:
        settings = self.modalities.decoding()
        compared = ("kind", "fields", "filter", "encoding")
        return {
            name: settings[name]
            if way is None  # as it is configured
            else {key: value for key, value in settings[name].items() if key in compared}
            for name, way in self.description.inputs.items()
        }

    def decoder(self, **handling: Any) -> Decoder:
        verify = handling.pop("verify", "full")
        codecs = self.description.codecs(self.modalities, verify)
        return Decoder.with_codecs(
            codecs, self.modalities, keeps_others=self.keeps_others, **handling
        )

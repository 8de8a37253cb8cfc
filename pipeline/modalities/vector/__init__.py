"""Vectors: readings of sensors and other features, as arrays of numbers. Settings of decoding and of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from pipeline.errors import SampleError
from pipeline.modalities.base import Codec, ModalityConfig, Verify
from pipeline.modalities.facets import (
    CheapFeatures,
    Corruption,
    Facts,
    ProbeRules,
    TrainingStatistics,
)
from pipeline.modalities.section import Section
from pipeline.modalities.shown import Shown
from pipeline.modalities.vector.encoders import (
    VectorEncoderConfig,
    VectorMlpConfig,
)

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from pipeline.modalities.content import Content
    from pipeline.modalities.vector.codec import VectorCodec
    from pipeline.modalities.vector.decoders import VectorRendering
    from pipeline.modalities.vector.measure import VectorMeasure

NonFinite = Literal["quarantine", "zero", "mean", "mask"]
Length = Literal["fit", "quarantine"]
MAX_VALUES = 1 << 24


class VectorAugmentConfig(Section):
    """Small random changes to vectors while training; all are off unless asked for."""

    noise_fraction: float = Field(
        default=0.0,
        ge=0,
        le=10,
        description="of white noise: its deviation over that of the series' channel, or over each feature itself",
    )
    scale_fraction: float = Field(
        default=0.0, ge=0, lt=1, description="largest change of a channel's size, as a share"
    )
    shift_fraction: float = Field(
        default=0.0, ge=0, le=1, description="largest shift in time of a series, as a share of it"
    )


class VectorConfig(ModalityConfig):
    """Arrays of numbers of one shape; a missing value is a mask, never a NaN.

    A field called ``npy`` is NumPy's format, ``json`` is JSON, and any other is lines of text, one row of numbers each.
    Features (L,) have exactly L values. Series (T, C) have C channels; the first T steps are kept, and steps that a
    shorter one lacks are missing values.
    """

    LIMITS: ClassVar[tuple[str, ...]] = ("max_bytes",)
    FORMATS: ClassVar[tuple[str, ...]] = ("npy",)
    REASONS: ClassVar[Mapping[str, str]] = {
        "bad_vector": "the vector cannot be read, or is of another shape than configured"
    }

    kind: Literal["vector"] = "vector"
    fields: tuple[str, ...] = Field(
        default=("npy",),
        description="extensions of vectors; the first that a sample has is decoded",
    )
    shape: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        min_length=1,
        max_length=2,
        description="[L] features, or [T, C]: T steps of a series with C channels",
    )
    path: str = Field(
        default="",
        description="names that lead to the numbers in a JSON field, such as sensors.acc",
    )
    separator: str = Field(
        default=",",
        min_length=1,
        max_length=1,
        description="between the numbers of a line of text; a space stands for any white space",
    )
    max_bytes: int = Field(default=16 << 20, gt=0, description="larger members are quarantined")
    non_finite: NonFinite = Field(
        default="quarantine",
        description="what becomes of values that are missing, NaN or infinite: quarantine leaves the sample out, "
        "zero and mean fill them in (mean of the training set), mask tells the network that they are missing",
    )
    too_long: Length = Field(
        default="fit", description="of a series: fit keeps its first T steps, or quarantine"
    )
    too_short: Length = Field(
        default="fit",
        description="of a series: fit takes the steps that it lacks as missing, or quarantine",
    )
    encoder: VectorEncoderConfig = Field(
        default_factory=VectorMlpConfig,
        description="network of this modality; mlp for features and cnn for series unless said",
    )
    augment: VectorAugmentConfig = VectorAugmentConfig()

    @model_validator(mode="before")
    @classmethod
    def _encoder_of_the_shape(cls, data: object) -> Any:
        if not isinstance(data, Mapping) or data.get("encoder") is not None:
            return data
        shape = data.get("shape", cls.model_fields["shape"].default)
        is_series = isinstance(shape, Sequence) and len(shape) == 2
        # As a person would write it: a section with defaults alone is dumped as empty, without its kind.
        return {**data, "encoder": {"kind": "cnn" if is_series else "mlp"}}

    @field_validator("shape")
    @classmethod
    def _not_enormous(cls, shape: tuple[int, ...]) -> tuple[int, ...]:
        if shape[0] * (shape[1] if len(shape) == 2 else 1) > MAX_VALUES:
            raise ValueError(f"at most {MAX_VALUES} values")
        return shape

    @field_validator("separator")
    @classmethod
    def _no_part_of_a_number(cls, separator: str) -> str:
        if separator.isalnum() or separator in "+-._\n\r":
            raise ValueError("a separator is no part of a number and ends no line")
        return separator

    @classmethod
    def suited_to(cls, members: Sequence[memoryview]) -> dict[str, Any]:
        """The shape that most ``.npy`` files have; of series that differ in length, one that keeps nearly all whole."""
        from pipeline.modalities.vector.probe import usual_shape

        shape = usual_shape(members)
        return {} if shape is None else {"shape": list(shape)}

    def codec(self, tokenizer: str | None, *, verify: Verify = "full") -> VectorCodec:
        from pipeline.modalities.vector.codec import VectorCodec

        return VectorCodec(
            self.shape,
            path=self.path,
            separator=self.separator,
            max_bytes=self.max_bytes,
            non_finite=self.non_finite,
            too_long=self.too_long,
            too_short=self.too_short,
        )

    def check_content(self, data: memoryview, field: str) -> None:
        if not data:
            raise SampleError("the vector is empty", reason="bad_vector", field=field)

    def probe(self, content: Content, field: str, found: str, rules: ProbeRules) -> Facts:
        from pipeline.modalities.vector.probe import probe_vector

        return probe_vector(content, field, self, rules)

    def remarks(self) -> Mapping[str, str]:
        return {
            "cut": f"series are cut to the first {self.shape[0]} steps (shape)",
            "padded": f"series have fewer than {self.shape[0]} steps (shape), and what they lack is masked",
        }

    def show_augmented(self, codec: Codec, original: np.ndarray, augmented: np.ndarray) -> Shown:
        from pipeline.modalities.vector.plot import line_plot, with_gaps

        return Shown("plot", line_plot(with_gaps(augmented), like=with_gaps(original)))

    def cheap_features(self) -> CheapFeatures:
        from pipeline.modalities.codecs import standard_scaler
        from pipeline.modalities.vector.cheap import statistics

        name = "values" if len(self.shape) == 1 else "statistics of channels"
        return CheapFeatures(name, self.codec(None), statistics, standard_scaler)

    def corruptions(self, codec: Codec) -> Mapping[str, Corruption]:
        from pipeline.modalities.vector.corrupt import corruptions

        return corruptions(is_series=len(self.shape) == 2)

    def rendering(self, tokenizer: str | None) -> VectorRendering:
        from pipeline.modalities.vector.decoders import VectorRendering

        return VectorRendering(self.shape)

    def measure(self) -> VectorMeasure:
        from pipeline.modalities.vector.measure import VectorMeasure

        return VectorMeasure()

    def training_statistics(self) -> TrainingStatistics:
        from pipeline.modalities.vector.statistics import VectorStatistics

        return VectorStatistics(self.shape)

    def build_encoder(self, width: int) -> nn.Module:
        return self.encoder.build(self, width)

    def augmentation(self) -> Any:
        from pipeline.modalities.vector.augment import VectorAugmentation

        return VectorAugmentation(**self.augment.model_dump())

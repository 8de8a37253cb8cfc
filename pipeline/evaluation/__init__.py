"""Which of several models is better, and how sure that is: differences on the same samples, tests, baselines, pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, field_validator

from pipeline.modalities.section import Section

# Of a folder.
VariantName = Annotated[str, StringConstraints(pattern=r"^[\w+-][\w.+-]*$")]


class RobustnessConfig(Section):
    """The model on samples in which one modality at a time gets worse; off unless corruptions are named."""

    corruptions: Literal["all"] | tuple[str, ...] = Field(
        default=(),
        description="all, or some, such as [noise, missing]: each modality takes part in those that it knows",
    )
    max_samples: int = Field(
        default=2000,
        ge=1,
        description="that are corrupted, at most, as many of each part: drawn by evaluate.seed and their keys, the "
        "same for all models",
    )

    @property
    def chosen(self) -> tuple[str, ...] | None:
        """Names of corruptions; None where all are."""
        return None if self.corruptions == "all" else self.corruptions


class SweepConfig(Section):
    """Variants of a configuration that are trained and compared."""

    variants: Mapping[VariantName, tuple[str, ...]] = Field(
        default={},
        description="a name of each, and the overrides that make it: [objective.fusion.kind=late]",
    )
    seeds: tuple[int, ...] = Field(
        default=(0, 1, 2), min_length=1, description="train.seed of each variant's runs"
    )

    parallel: int = Field(
        default=1,
        ge=1,
        description="runs that are trained side by side, as trials of Ray Tune, each in one process with its share of "
        "the CPUs",
    )

    @field_validator("seeds")
    @classmethod
    def _different(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) < len(seeds):
            raise ValueError("a seed is given twice")
        return seeds

"""What an evaluation found: the records of ``evaluation/metrics.json``, and how they are written and read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue, TypeAdapter

from pipeline.metrics.resampling.estimate import Estimate

Interval = tuple[float, float]
"""Lower and upper end of a 95 % interval."""

# Written only where they are known.
_OPTIONAL = ("intervals", "undefined", "seen_in_training", "input", "robustness", "slices")


@dataclass(frozen=True, kw_only=True)
class Scores:
    """How good a model is on some samples.

    Attributes:
        num_samples: Samples judged; None where that is not known.
        metrics: Metric -> its value; None where it is undefined.
        intervals: Metric -> its interval, where it has one; None where intervals are not written.
        undefined: Metric -> why there is no value; None where reasons are not written.
    """

    num_samples: int | None = None
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    intervals: Mapping[str, Interval] | None = None
    undefined: Mapping[str, str] | None = None

    def interval_of(self, metric: str) -> Interval | None:
        """The interval of a metric, where it has one."""
        return (self.intervals or {}).get(metric)


@dataclass(frozen=True, kw_only=True)
class OverallScores(Scores):
    """How good the model is on all samples with all modalities.

    Attributes:
        details: What the objective alone writes and reads, such as curves; ready for JSON.
    """

    details: Mapping[str, JsonValue] = field(default_factory=dict)

    @classmethod
    def of(cls, num_samples: int, estimates: Mapping[str, Estimate]) -> OverallScores:
        """Of metrics with their intervals and the reasons of what is undefined."""
        return cls(
            num_samples=num_samples,
            metrics={name: estimate.value for name, estimate in estimates.items()},
            intervals={
                name: estimate.interval for name, estimate in estimates.items() if estimate.interval
            },
            undefined={
                name: estimate.undefined
                for name, estimate in estimates.items()
                if estimate.undefined
            },
        )

    def to_json(self) -> dict[str, JsonValue]:
        """One object: metrics and details stand beside the rest."""
        return _written(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> OverallScores:
        """The other way round."""
        return _read(cls, values)


@dataclass(frozen=True, kw_only=True)
class ComparedScores(Scores):
    """How good a model is on some samples, compared with the model of all modalities on the same ones.

    Attributes:
        interval: Of the metric that models are compared by.
        difference: Its value minus the other model's; None where that is not known.
        difference_interval: The paired interval of the difference.
    """

    interval: Interval | None = None
    difference: float | None = None
    difference_interval: Interval | None = None


@dataclass(frozen=True, kw_only=True)
class OtherScores(ComparedScores):
    """How good another model is.

    Attributes:
        name: What the report calls it, such as ``image alone``.
        modalities: What it was trained on.
    """

    name: str
    modalities: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Corrupted:
    """What was made worse before a model saw it.

    Attributes:
        modality: Whose values.
        corruption: In which way.
        unit: What the severity is.
        severity: How much; None where nothing was done.
    """

    modality: str
    corruption: str
    unit: str
    severity: float | None = None


@dataclass(frozen=True, kw_only=True)
class CorruptedScores(Scores, Corrupted):
    """How good a model is on samples that have a modality, when that is made worse."""


@dataclass(frozen=True, kw_only=True)
class SliceScores(Scores):
    """How good a model is on the samples of one slice.

    Attributes:
        place: The metadata that samples are told apart by.
        value: What these have there.
    """

    place: str
    value: str


@dataclass(frozen=True)
class EvaluationRecord:
    """The content of ``evaluation/metrics.json``.

    Attributes:
        split: What was judged.
        input: The patterns of its shards, without what opens signed URLs; None where that is not known.
        modalities: Of the model, in the configuration's order.
        overall: The whole model on all samples.
        subsets: Subset of the modalities, joined by ``+`` -> the model that is given no others.
        comparison: Other models.
        seen_in_training: Of :func:`pipeline.engine.train.record.seen_in_training`; None where nothing was seen.
        robustness: The whole model on corrupted samples; None where nobody asked.
        slices: The whole model on slices of the samples; None where nobody asked.
        details: What the objective alone writes and reads, such as the names of its classes; ready for JSON.
    """

    split: str = "test"
    input: tuple[str, ...] | None = None
    modalities: tuple[str, ...] = ()
    overall: OverallScores = field(default_factory=OverallScores)
    subsets: Mapping[str, ComparedScores] = field(default_factory=dict)
    comparison: tuple[OtherScores, ...] = ()
    seen_in_training: Mapping[str, int] | None = None
    robustness: tuple[CorruptedScores, ...] | None = None
    slices: tuple[SliceScores, ...] | None = None
    details: Mapping[str, JsonValue] = field(default_factory=dict)

    def to_json(self) -> dict[str, JsonValue]:
        """The layout of the file."""
        tables: dict[str, JsonValue] = {
            name: [_written(scores) for scores in rows]
            for name, rows in (("robustness", self.robustness), ("slices", self.slices))
            if rows is not None
        }
        return {
            **_written(self),
            "overall": _written(self.overall),
            "subsets": {name: _written(scores) for name, scores in self.subsets.items()},
            "comparison": [_written(scores) for scores in self.comparison],
            **tables,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> EvaluationRecord:
        """The other way round; what is not there is empty."""
        subsets, comparison = values.get("subsets", {}), values.get("comparison", ())
        scores = {
            "overall": _read(OverallScores, values.get("overall", {})),
            "subsets": {name: _read(ComparedScores, row) for name, row in subsets.items()},
            "comparison": [_read(OtherScores, row) for row in comparison],
        }
        for name, kind in (("robustness", CorruptedScores), ("slices", SliceScores)):
            if values.get(name) is not None:
                scores[name] = [_read(kind, row) for row in values[name]]
        return _read(cls, {**values, **scores})


@dataclass(frozen=True)
class SampleScores:
    """How well a model does on each of N samples; its mean over them is a metric.

    Attributes:
        name: Of that metric.
        values: (N,) bool where a sample is right or wrong, float64 otherwise.
        best: Whether the highest or the lowest is the best.
    """

    name: str
    values: NDArray[np.bool_] | NDArray[np.float64]
    best: Literal["max", "min"]


def difference_json(paired: Estimate) -> dict[str, JsonValue]:
    """``difference`` and ``difference_interval``, as they stand in the row of another model."""
    ends: list[JsonValue] | None = [*paired.interval] if paired.interval else None
    return {"difference": paired.value, "difference_interval": ends}


_Record = TypeVar("_Record", bound=Scores | EvaluationRecord)


def _written(record: Scores | EvaluationRecord) -> dict[str, JsonValue]:
    """A record as JSON, with its metrics and details beside its other members."""
    values: dict[str, Any] = TypeAdapter(type(record)).dump_python(record, mode="json")
    metrics, details = values.pop("metrics", {}), values.pop("details", {})
    unknown = [name for name in _OPTIONAL if name in values and values[name] is None]
    for name in unknown:
        del values[name]
    return {**values, **metrics, **details}


def _read(kind: type[_Record], values: Mapping[str, Any]) -> _Record:
    """A record of JSON in which metrics and details stand beside its other members."""
    members = {member.name for member in fields(kind)}
    named = {name: value for name, value in values.items() if name in members}
    details = {name: value for name, value in values.items() if name not in members}
    if "metrics" in members:
        metrics = {name: value for name, value in details.items() if _is_metric(value)}
        named["metrics"] = metrics
        details = {name: value for name, value in details.items() if name not in metrics}
    return TypeAdapter(kind).validate_python({**named, "details": details})


def _is_metric(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))

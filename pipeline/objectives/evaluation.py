"""What judges the predictions of an objective, and what it is shown beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import JsonValue

if TYPE_CHECKING:
    from pipeline.metrics.record import EvaluationRecord


@dataclass(frozen=True)
class Prompts:
    """Texts that describe classes, as a model sees them.

    Attributes:
        modality: The modality that they were given as.
        classes: The class that each of P texts describes.
        rows: (P rows) the columns of the objective's ``schema``, for samples that have nothing else.
    """

    modality: str
    classes: Sequence[str]
    rows: pa.Table


@dataclass(frozen=True)
class TrainingSplit:
    """What a model says of samples that it was trained on.

    Attributes:
        texts: Canonical texts of the targets of T samples; None where there is none.
        rows: (T rows) the columns of the objective's ``schema``, but the embedding.
    """

    texts: Sequence[str | None]
    rows: pa.Table


@dataclass(frozen=True)
class JudgedFeatures:
    """What a judge sees of a modality of N samples: of their own values, and of those made of all that is given.

    Attributes:
        real: (N, D) float32, its embeddings of the samples' own values.
        made: (N, D) float32, of the made ones.
        present: (N,) bool, which samples have a value of their own.
        truths: (N,) canonical texts of its targets; None where a sample has none.
        answers: (N,) what it says of the made values, as such texts; None where answers are not compared.
    """

    real: NDArray[np.floating]
    made: NDArray[np.floating]
    present: NDArray[np.bool_]
    truths: Sequence[str | None]
    answers: Sequence[str | None] | None


@dataclass(frozen=True)
class MadeValues:
    """Values of modalities that a model made, and what a judge says of them; all of it ready for JSON.

    Attributes:
        examples: Samples, each with what was made of every subset of its modalities, and with what it is.
        between: What lies between two samples; empty where the model makes nothing of that.
        coherence: How often what was made says what it should; None without a judge.
        features: Modality -> what the judge sees of it; no part of the JSON.
    """

    examples: list[JsonValue]
    between: list[JsonValue]
    coherence: dict[str, JsonValue] | None
    features: Mapping[str, JudgedFeatures] = field(default_factory=dict)

    def to_json(self) -> dict[str, JsonValue]:
        """As it stands in ``evaluation/metrics.json``."""
        return {
            "examples": self.examples,
            "between": self.between,
            **({} if self.coherence is None else {"coherence": self.coherence}),
        }


class Evaluation(Protocol):
    """Judges predictions against targets, for the whole model and for every subset of its modalities."""

    @property
    def columns(self) -> Sequence[str]:
        """Those of the predicted columns that are needed of every subset."""

    @property
    def by_subset(self) -> bool:
        """Whether each subset must be predicted; else only the whole samples are."""

    @property
    def by_content(self) -> bool:
        """Whether it must be told which samples are equal in a modality."""

    def update(
        self,
        texts: Sequence[str | None],
        predictions: Mapping[str, pa.Table],
        present: Mapping[str, NDArray[np.bool_]],
        contents: Mapping[str, NDArray[np.int64]] | None = None,
    ) -> None:
        """Takes in B more samples.

        Args:
            texts: Canonical texts of their targets; None where there are no targets.
            predictions: Subset of the modalities, joined by ``+``, -> its predictions, with ``columns``.
            present: Modality -> (B,) bool, True where a sample has it.
            contents: Modality -> (B,) int64, equal where samples are equal in it; for ``by_content``.
        """

    def merge(self, other: Any) -> None:
        """Takes in the samples of another evaluation, behind those of this one."""

    def compute(self) -> EvaluationRecord:
        """The content of ``evaluation/metrics.json``, with an empty comparison."""

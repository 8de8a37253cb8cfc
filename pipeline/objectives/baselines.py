"""Cheap models that networks are held against: what an objective says of them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.objectives.base import EMBEDDING, Arrays

Family = Literal["linear", "forest"]
Model = Callable[[Any], Arrays]
"""Features of B samples -> what a network of the objective would say of them."""

NUM_TREES = 200
MAX_STEPS = 1000  # of a linear model's solver


class Baselines(Protocol):
    """Cheap models of an objective's targets, by scikit-learn."""

    @property
    def guess_name(self) -> str:
        """What always saying the same is called: ``majority class``."""

    def family_name(self, family: Family) -> str:
        """What a family of models is called: ``logistic regression``."""

    def guess(self, texts: Sequence[str]) -> Model:
        """The model that looks at nothing.

        Args:
            texts: Canonical texts of the targets of the training split, at least one.
        """

    def fit(
        self, family: Family, features: Any, texts: Sequence[str], inverse_penalty: float
    ) -> Model:
        """Fits a model.

        Args:
            family: Of models.
            features: (N, F) float32, or sparse.
            texts: N canonical texts of their targets.
            inverse_penalty: Of :class:`pipeline.modalities.facets.CheapFeatures`.
        """


def answers(name: str, values: NDArray[np.floating]) -> Arrays:
    """What a cheap model says, as a network says it.

    Args:
        name: Of the array that the objective makes its columns from.
        values: (B, ...), any float.
    """
    # No column may be without values; a cheap model has no embedding.
    return {name: values.astype(np.float32), EMBEDDING: np.zeros((len(values), 1), np.float32)}


@contextmanager
def quiet() -> Iterator[None]:
    """Without the warnings of solvers that stop after ``MAX_STEPS``: a baseline need not be the best of its kind."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield

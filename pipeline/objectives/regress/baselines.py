"""Cheap estimators of numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.objectives.baselines import NUM_TREES, Family, Model, answers, quiet
from pipeline.objectives.regress.numbers import parsed
from pipeline.objectives.regress.rows import PREDICTION

NAMES: Mapping[Family, str] = {"linear": "ridge regression", "forest": "random forest"}


class NumberBaselines:
    """Estimators of K numbers.

    Args:
        count: K.
        seed: Of a forest.
    """

    guess_name = "mean of the training set"

    def __init__(self, count: int, seed: int) -> None:
        self.count, self.seed = count, seed

    def family_name(self, family: Family) -> str:
        """As scikit-learn calls it."""
        return NAMES[family]

    def guess(self, texts: Sequence[str]) -> Model:
        """Says the mean of every sample."""
        mean = self._targets(texts).mean(axis=0)
        return lambda features: answers(PREDICTION, np.tile(mean, (features.shape[0], 1)))

    def fit(
        self, family: Family, features: Any, texts: Sequence[str], inverse_penalty: float
    ) -> Model:
        """Ridge regression of standardised numbers, or a forest."""
        targets = self._targets(texts)
        mean, deviation = targets.mean(axis=0), targets.std(axis=0)
        deviation = np.where(deviation > 0, deviation, 1.0)
        model = self._model(family, inverse_penalty)
        with quiet():
            model.fit(features, (targets - mean) / deviation)

        def predict(features: Any) -> Any:
            values = np.asarray(model.predict(features)).reshape(-1, self.count)
            return answers(PREDICTION, values * deviation + mean)

        return predict

    def _model(self, family: Family, inverse_penalty: float) -> Any:
        if family == "forest":
            from sklearn.ensemble import RandomForestRegressor

            return RandomForestRegressor(NUM_TREES, random_state=self.seed)
        from sklearn.linear_model import Ridge

        return Ridge(alpha=1 / inverse_penalty)

    def _targets(self, texts: Sequence[str]) -> NDArray[np.float64]:
        return parsed(texts, self.count)

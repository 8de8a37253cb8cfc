"""Cheap classifiers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.objectives.base import Arrays
from pipeline.objectives.baselines import MAX_STEPS, NUM_TREES, Family, Model, answers, quiet
from pipeline.objectives.classify.rows import PROBABILITIES

NAMES: Mapping[Family, str] = {"linear": "logistic regression", "forest": "random forest"}


class ClassBaselines:
    """Classifiers of K classes.

    Args:
        classes: Their names.
        seed: Of a forest.
    """

    guess_name = "majority class"

    def __init__(self, classes: Sequence[str], seed: int) -> None:
        self.ids = {name: index for index, name in enumerate(classes)}
        self.seed = seed

    def family_name(self, family: Family) -> str:
        """As scikit-learn calls it."""
        return NAMES[family]

    def guess(self, texts: Sequence[str]) -> Model:
        """Says of every sample how frequent the classes are."""
        counts = np.bincount(self._labels(texts), minlength=len(self.ids))
        shares = counts / counts.sum()
        return lambda features: self._answers(np.tile(shares, (_count(features), 1)))

    def fit(
        self, family: Family, features: Any, texts: Sequence[str], inverse_penalty: float
    ) -> Model:
        """Logistic regression or a forest; where there is one class only, that one."""
        labels = self._labels(texts)
        if len(np.unique(labels)) < 2:
            return self.guess(texts)
        model = self._model(family, inverse_penalty)
        with quiet():
            model.fit(features, labels)

        def predict(features: Any) -> Arrays:
            probabilities = np.zeros((_count(features), len(self.ids)))
            probabilities[:, model.classes_] = model.predict_proba(features)
            return self._answers(probabilities)

        return predict

    def _model(self, family: Family, inverse_penalty: float) -> Any:
        if family == "forest":
            from sklearn.ensemble import RandomForestClassifier

            return RandomForestClassifier(NUM_TREES, random_state=self.seed)
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression(C=inverse_penalty, max_iter=MAX_STEPS)

    def _labels(self, texts: Sequence[str]) -> NDArray[np.int64]:
        return np.array([self.ids[text] for text in texts], np.int64)

    def _answers(self, probabilities: NDArray[np.floating]) -> Arrays:
        return answers(PROBABILITIES, probabilities)


def _count(features: Any) -> int:
    """Rows of an array or of a sparse matrix, which has no length."""
    return int(features.shape[0])

"""Cheap multi-label classifiers: one classifier a class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.objectives.base import Arrays
from pipeline.objectives.baselines import MAX_STEPS, NUM_TREES, Family, Model, answers, quiet
from pipeline.objectives.multi_label.labels import labels_of
from pipeline.objectives.multi_label.rows import PROBABILITIES

NAMES: Mapping[Family, str] = {"linear": "logistic regressions", "forest": "random forests"}


class LabelBaselines:
    """Classifiers of samples with any number of K classes.

    Args:
        classes: Their names.
        seed: Of forests.
    """

    guess_name = "frequency of each class"

    def __init__(self, classes: Sequence[str], seed: int) -> None:
        self.classes, self.seed = list(classes), seed

    def family_name(self, family: Family) -> str:
        """As scikit-learn calls its members."""
        return NAMES[family]

    def guess(self, texts: Sequence[str]) -> Model:
        """Says of every sample how frequent each class is."""
        shares = self._labels(texts).mean(axis=0)
        return lambda features: answers(PROBABILITIES, np.tile(shares, (features.shape[0], 1)))

    def fit(
        self, family: Family, features: Any, texts: Sequence[str], inverse_penalty: float
    ) -> Model:
        """A classifier of each class; of one that all samples have, or none has, that."""
        from sklearn.multiclass import OneVsRestClassifier

        model = OneVsRestClassifier(self._model(family, inverse_penalty))
        with quiet():
            model.fit(features, self._labels(texts))

        def predict(features: Any) -> Arrays:
            # Of a single class, it gives the probabilities of yes and no.
            probabilities = model.predict_proba(features)[:, -len(self.classes) :]
            return answers(PROBABILITIES, probabilities)

        return predict

    def _model(self, family: Family, inverse_penalty: float) -> Any:
        if family == "forest":
            from sklearn.ensemble import RandomForestClassifier

            return RandomForestClassifier(NUM_TREES // 4, random_state=self.seed)
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression(C=inverse_penalty, max_iter=MAX_STEPS)

    def _labels(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """(N, K): 1 where a sample has a class."""
        sets = [set(labels_of(text)) for text in texts]
        return np.array([[name in names for name in self.classes] for names in sets], np.int64)

"""Cheap models that stand in a comparison: fitted on one split, judged on the samples that all are judged on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.evaluation.judged import Cost, Entrant, Judged
from pipeline.modalities.facets import CheapFeatures
from pipeline.objectives.base import Arrays, Judging
from pipeline.objectives.baselines import Baselines
from pipeline.sample import KEY, LABEL, MODALITIES, SHARD

FUSED = "mean of the modalities' baselines"


@dataclass(frozen=True)
class Split:
    """The good samples of a split.

    Attributes:
        rows: Key, shard, modalities and canonical text of the target.
        kept: Modality -> what its features keep of the samples, (N, F) float32 or (N,) texts.
        present: Modality -> (N,) bool.
    """

    rows: pa.Table
    kept: Mapping[str, NDArray[Any]]
    present: Mapping[str, NDArray[np.bool_]]

    @property
    def texts(self) -> list[str]:
        """Canonical texts of the targets."""
        texts: list[str] = self.rows[LABEL].to_pylist()
        return texts


def fitted_entrants(
    baselines: Baselines,
    features: Mapping[str, CheapFeatures],
    train: Split,
    test: Split,
    like: Judged,
    judging: Judging,
) -> list[Entrant]:
    """Rows of cheap models.

    Args:
        baselines: The objective's.
        features: Modality -> what a model sees of it.
        train: The split that models are fitted on.
        test: The split that they are judged on.
        like: A network of the same objective.
        judging: How they are judged.
    """
    answers = _Fitting(baselines, features, train, test).all()
    return [_entrant(name, row, like, test, judging) for name, row in answers.items()]


class _Fitting:
    """Fits each model on the training split, and has it answer for the other.

    Args:
        baselines: The objective's.
        features: Modality -> what a model sees of it.
        train: The split that models are fitted on.
        test: The split that they answer for.
    """

    def __init__(
        self,
        baselines: Baselines,
        features: Mapping[str, CheapFeatures],
        train: Split,
        test: Split,
    ) -> None:
        self.baselines, self.features, self.train, self.test = baselines, features, train, test

    def all(self) -> dict[str, tuple[Arrays, float]]:
        """Name -> answers and seconds of fitting: a guess, a model of each modality, and the mean of several."""
        began = monotonic()
        guess = self.baselines.guess(self.train.texts)(np.zeros((self.test.rows.num_rows, 0)))
        answers = {self.baselines.guess_name: (guess, monotonic() - began)}
        alone: dict[str, Arrays] = {}
        for name, features in self.features.items():
            if self.train.present[name].any():
                began = monotonic()
                alone[name] = self._alone(name, guess)
                family = self.baselines.family_name(features.family)
                title = f"{name}: {features.name}, {family}"
                answers[title] = (alone[name], monotonic() - began)
        if len(alone) > 1:
            seconds = sum(seconds for _, seconds in answers.values())
            answers[FUSED] = (self._mean(alone, guess), seconds)
        return answers

    def _alone(self, name: str, guess: Arrays) -> Arrays:
        """The answers of a model of one modality; the guess for samples without it."""
        features = self.features[name]
        vectorizer = features.vectorizer()
        rows = np.flatnonzero(self.train.present[name])
        texts = [self.train.texts[row] for row in rows]
        seen = vectorizer.fit_transform(self.train.kept[name][rows])
        model = self.baselines.fit(features.family, seen, texts, features.inverse_penalty)
        answers = {key: values.copy() for key, values in guess.items()}
        there = np.flatnonzero(self.test.present[name])
        if len(there):
            predicted = model(vectorizer.transform(self.test.kept[name][there]))
            for key in answers:
                answers[key][there] = predicted[key]
        return answers

    def _mean(self, alone: Mapping[str, Arrays], guess: Arrays) -> Arrays:
        """The mean of what the modalities of a sample say; the guess where it has none."""
        present = np.stack([self.test.present[name] for name in alone]).astype(np.float32)
        count = present.sum(axis=0)
        mean = {}
        for key, values in guess.items():
            shape = (-1, *[1] * (values.ndim - 1))
            total = sum(
                answers[key] * weight.reshape(shape)
                for answers, weight in zip(alone.values(), present, strict=True)
            )
            none = (count == 0).reshape(shape)
            mean[key] = np.where(none, values, total / np.maximum(count, 1).reshape(shape))
        return mean


def _entrant(
    name: str, row: tuple[Arrays, float], like: Judged, test: Split, judging: Judging
) -> Entrant:
    """A baseline as a row of the comparison, judged as the objective judges a network."""
    arrays, seconds = row
    predicted = like.objective.rows(arrays, like.learned)
    evaluation = like.objective.evaluation(like.learned, judging)
    whole = "+".join(test.present)
    evaluation.update(test.texts, {whole: predicted}, test.present)
    truth = like.objective.truth(test.rows[LABEL].combine_chunks())
    columns = {key: test.rows[key] for key in (KEY, SHARD, MODALITIES)} | {LABEL: truth}
    columns |= {key: predicted[key] for key in predicted.column_names}
    judged = Judged(
        where="the cheap baselines",
        objective=like.objective,
        learned=like.learned,
        record=evaluation.compute(),
        rows=pa.table(columns),
        cost=Cost(training_seconds=seconds),
    )
    return Entrant(name, (judged,), baseline=True)

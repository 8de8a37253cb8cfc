"""Models that are compared, with predictions that are written down."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from pipeline.evaluation.judged import Judged
from pipeline.objectives.base import Judging, ObjectiveSection
from pipeline.objectives.classify import ClassifyConfig

JUDGING = Judging("test", 0, 200)
LABELS = ["a", "b"] * 20


def model(
    where: str, wrong: int, labels: list[str] = LABELS, first: int = 0, keys: str = "k"
) -> Judged:
    """A classifier that has ``wrong`` of the samples from the place ``first`` on wrong."""
    objective, learned = ClassifyConfig(), {"classes": ["a", "b"]}
    is_b = np.array([label == "b" for label in labels])
    said = is_b ^ ((np.arange(len(labels)) >= first) & (np.arange(len(labels)) < first + wrong))
    probabilities = np.where(np.stack([~said, said], axis=1), 0.9, 0.1).astype(np.float32)
    return judged(
        where,
        objective,
        learned,
        labels,
        {"probabilities": probabilities},
        [f"{keys}{index:02d}" for index in range(len(labels))],
    )


def judged(
    where: str,
    objective: ObjectiveSection,
    learned: dict[str, object],
    texts: list[str],
    arrays: dict[str, np.ndarray],
    keys: list[str],
) -> Judged:
    predicted = objective.rows(
        {**arrays, "embedding": np.zeros((len(texts), 64), np.float32)}, learned
    )
    evaluation = objective.evaluation(learned, JUDGING)
    evaluation.update(texts, {"text": predicted}, {"text": np.ones(len(texts), bool)})
    columns = {"key": keys, "shard": ["x.tar"] * len(texts)}
    columns |= {"modalities": [["text"]] * len(texts)}
    columns |= {"label": objective.truth(pa.array(texts))}
    columns |= {name: predicted[name] for name in predicted.column_names}
    return Judged(where, objective, learned, evaluation.compute(), pa.table(columns))

"""Metrics of a classifier: gathered batch by batch, computed once."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ConfigError, ModelError
from pipeline.metrics.curves import MAX_CURVES, Curve, thinned

TOP_K = (3, 5)


@dataclass(frozen=True, slots=True)
class OneAgainstRest:
    """Metrics of one class; None where they are undefined.

    Attributes:
        precision: None where it is neither a label nor a prediction, as the next two.
        recall: Of its samples.
        f1: Of both.
        support: Its samples.
        roc_auc: None where all samples or none are of it, as the next.
        average_precision: Over all thresholds.
    """

    precision: float | None
    recall: float | None
    f1: float | None
    support: int
    roc_auc: float | None
    average_precision: float | None


@dataclass(frozen=True, slots=True)
class ClassificationScores:
    """All metrics of a classifier; None where they are undefined.

    Attributes:
        num_samples: Samples judged.
        metrics: ``accuracy``, ``balanced_accuracy``, ``log_loss`` (nats), ``top_3_accuracy`` and ``top_5_accuracy``
            where there are more classes than that; ``precision_macro``, ``recall_macro``, ``f1_macro`` (macro: the mean
            over classes that occur among labels or predictions), ``roc_auc`` and ``average_precision`` (one-vs-rest,
            the mean over classes with positives and negatives).
        per_class: Class -> its metrics, in the order of the classes.
        confusion: Counts; a row is a label, a column a prediction.
        roc: Class -> ``fpr`` and ``tpr``; the most frequent classes.
        pr: Class -> ``recall`` and ``precision``; the same.
    """

    num_samples: int
    metrics: Mapping[str, float | None]
    per_class: Mapping[str, OneAgainstRest]
    confusion: Sequence[Sequence[int]]
    roc: Mapping[str, Curve]
    pr: Mapping[str, Curve]


class ClassificationMetrics:
    """Gathers labels and probabilities, in any number of batches, and computes every metric.

    Args:
        classes: Names of the K classes, in the order of the probabilities' columns.

    Raises:
        ConfigError: With fewer than two classes, or a name used twice.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = tuple(str(name) for name in classes)
        if len(self.classes) < 2 or len(set(self.classes)) < len(self.classes):
            raise ConfigError(
                "a classifier needs at least two different classes",
                where=f"classes={list(self.classes)[:10]}",
                fix="check objective.label and the labels in the training data",
            )
        self._labels: list[NDArray[np.int64]] = []
        self._probabilities: list[NDArray[np.float32]] = []

    def update(self, labels: NDArray[np.int64], probabilities: NDArray[np.floating]) -> None:
        """Adds one batch.

        Args:
            labels: (B,) int64, indices into ``classes``.
            probabilities: (B, K) float32; each row sums to one.

        Raises:
            ValueError: Shapes that do not fit, or a label outside the classes.
            ModelError: Probabilities that are not finite or are negative.
        """
        labels = np.asarray(labels, dtype=np.int64)
        probabilities = np.asarray(probabilities, dtype=np.float32)
        if labels.ndim != 1 or probabilities.shape != (len(labels), len(self.classes)):
            raise ValueError(
                f"labels {labels.shape} and probabilities {probabilities.shape} "
                f"do not fit {len(self.classes)} classes"
            )
        if len(labels) and not 0 <= labels.min() <= labels.max() < len(self.classes):
            raise ValueError(f"a label is outside 0..{len(self.classes) - 1}")
        if not np.isfinite(probabilities).all() or (probabilities < 0).any():
            raise ModelError(
                "the model gave probabilities that are no probabilities",
                where=f"{int((~np.isfinite(probabilities)).any(axis=1).sum())} samples of a batch",
                fix="train again with a smaller train.learning_rate",
            )
        self._labels.append(labels)
        self._probabilities.append(probabilities)

    def merge(self, other: ClassificationMetrics) -> None:
        """Adds everything that another instance, of the same classes, has gathered.

        Raises:
            ValueError: If the classes differ.
        """
        if other.classes != self.classes:
            raise ValueError(f"cannot merge classes {other.classes} into {self.classes}")
        self._labels += other._labels
        self._probabilities += other._probabilities

    def arrays(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """All gathered labels (N,) int64 and probabilities (N, K) float64, rows of sum one."""
        if not self._labels:
            return np.zeros(0, np.int64), np.zeros((0, len(self.classes)))
        probabilities = np.concatenate(self._probabilities).astype(np.float64)
        # Half-precision models miss a sum of one by up to a percent; scikit-learn insists on it.
        total = probabilities.sum(axis=1, keepdims=True)
        uniform = np.full_like(probabilities, 1 / len(self.classes))
        normalised = np.divide(probabilities, total, out=uniform, where=total > 0)
        return np.concatenate(self._labels), normalised

    def compute(self) -> ClassificationScores:
        """Computes all metrics over everything gathered."""
        labels, probabilities = self.arrays()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # classes absent from a split are answered by None
            per_class = _per_class(self.classes, labels, probabilities)
            roc, pr = _curves(self.classes, labels, probabilities)
            return ClassificationScores(
                num_samples=len(labels),
                metrics={**_overall(labels, probabilities), **_macro(per_class)},
                per_class=per_class,
                confusion=_confusion(labels, probabilities).tolist(),
                roc=roc,
                pr=pr,
            )


def _overall(
    labels: NDArray[np.int64], probabilities: NDArray[np.float64]
) -> dict[str, float | None]:
    """Metrics of all samples together."""
    from sklearn import metrics as sk  # costs seconds, so only where a number is asked for

    num_classes = probabilities.shape[1]
    top_k = [k for k in TOP_K if k < num_classes]
    if not len(labels):
        names = ["accuracy", "balanced_accuracy", "log_loss", *(f"top_{k}_accuracy" for k in top_k)]
        return dict.fromkeys(names)
    predictions = probabilities.argmax(axis=1)
    columns = np.arange(num_classes)
    result = {
        "accuracy": sk.accuracy_score(labels, predictions),
        "balanced_accuracy": sk.balanced_accuracy_score(labels, predictions),
        "log_loss": sk.log_loss(labels, probabilities, labels=columns),
    }
    for k in top_k:
        result[f"top_{k}_accuracy"] = sk.top_k_accuracy_score(
            labels, probabilities, k=k, labels=columns
        )
    return {name: float(value) for name, value in result.items()}


def _per_class(
    classes: Sequence[str], labels: NDArray[np.int64], probabilities: NDArray[np.float64]
) -> dict[str, OneAgainstRest]:
    """Class -> its metrics."""
    from sklearn import metrics as sk

    predictions = probabilities.argmax(axis=1)
    rows: dict[str, OneAgainstRest] = {}
    columns = np.arange(len(classes))
    scores = np.zeros((3, len(classes)))
    if len(labels):
        scores = np.stack(
            sk.precision_recall_fscore_support(
                labels, predictions, labels=columns, average=None, zero_division=0
            )[:3]
        )
    for k, name in enumerate(classes):
        positive = labels == k
        support = int(positive.sum())
        seen = support > 0 or bool((predictions == k).any())
        ranked = 0 < support < len(labels)
        rows[name] = OneAgainstRest(
            precision=float(scores[0, k]) if seen else None,
            recall=float(scores[1, k]) if seen else None,
            f1=float(scores[2, k]) if seen else None,
            support=support,
            roc_auc=float(sk.roc_auc_score(positive, probabilities[:, k])) if ranked else None,
            average_precision=(
                float(sk.average_precision_score(positive, probabilities[:, k])) if ranked else None
            ),
        )
    return rows


def _macro(per_class: Mapping[str, OneAgainstRest]) -> dict[str, float | None]:
    """Means over the classes for which a metric is defined."""
    names = {
        "precision": "precision_macro",
        "recall": "recall_macro",
        "f1": "f1_macro",
        "roc_auc": "roc_auc",
        "average_precision": "average_precision",
    }
    values = {
        name: [value for row in per_class.values() if (value := getattr(row, metric)) is not None]
        for metric, name in names.items()
    }
    return {name: float(np.mean(numbers)) if numbers else None for name, numbers in values.items()}


def _confusion(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> NDArray[np.int64]:
    """Counts (K, K) int64, row = label, column = prediction."""
    counts = np.zeros((probabilities.shape[1],) * 2, np.int64)
    np.add.at(counts, (labels, probabilities.argmax(axis=1)), 1)
    return counts


def _curves(
    classes: Sequence[str], labels: NDArray[np.int64], probabilities: NDArray[np.float64]
) -> tuple[dict[str, Curve], dict[str, Curve]]:
    """One-vs-rest ROC and precision-recall curves of the most frequent classes."""
    from sklearn import metrics as sk

    support = np.bincount(labels, minlength=len(classes))
    frequent = np.argsort(-support, kind="stable")[:MAX_CURVES]
    roc: dict[str, Curve] = {}
    pr: dict[str, Curve] = {}
    for k in sorted(int(k) for k in frequent if 0 < support[k] < len(labels)):
        fpr, tpr, _ = sk.roc_curve(labels == k, probabilities[:, k])
        precision, recall, _ = sk.precision_recall_curve(labels == k, probabilities[:, k])
        fpr, tpr = thinned(fpr, tpr)
        recall, precision = thinned(recall[::-1], precision[::-1])
        roc[classes[k]] = {"fpr": _rounded(fpr), "tpr": _rounded(tpr)}
        pr[classes[k]] = {"recall": _rounded(recall), "precision": _rounded(precision)}
    return roc, pr


def _rounded(values: NDArray[np.float64]) -> list[float]:
    return [round(float(value), 5) for value in values]

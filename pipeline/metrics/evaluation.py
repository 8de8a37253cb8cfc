"""Everything that ``evaluate`` writes about one labelled split: ``evaluation/metrics.json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.calibration import calibration
from pipeline.metrics.classification import ClassificationMetrics
from pipeline.metrics.resampling.bootstrap import (
    NUM_RESAMPLES,
    bootstrap_interval,
    confusion_intervals,
    paired_bootstrap,
)
from pipeline.metrics.subsets import named_seed, rows_of, subset_name


def evaluate_predictions(
    classes: Sequence[str],
    labels: NDArray[np.int64],
    probabilities: Mapping[str, NDArray[np.floating]],
    present: Mapping[str, NDArray[np.bool_]],
    seed: int,
    num_bootstrap: int = NUM_RESAMPLES,
    split: str = "test",
) -> dict[str, Any]:
    """Metrics of one split, for the whole model and for every subset of its modalities.

    A subset is judged on the samples that have at least one of its modalities, as a model of those
    modalities alone would be.

    Args:
        classes: Names of the K classes.
        labels: (N,) int64.
        probabilities: Subset -> (N, K) float32. A subset is its modalities' names joined by ``+``
            in the configuration's order; the one of all modalities must be there. Rows of samples
            that have none of a subset's modalities are not looked at.
        present: Modality -> (N,) bool, True where a sample has it, in the configuration's order.
        seed: Seed of the bootstrap.
        num_bootstrap: Resamples of each interval.
        split: Name of the split, carried along.

    Returns:
        JSON-ready: ``split``, ``classes``, ``modalities``, ``overall`` (all metrics, with
        ``calibration`` and ``intervals``), ``subsets`` (subset -> accuracy, interval, f1_macro,
        num_samples, and the paired ``difference`` from the whole model on the same samples) and an
        empty ``comparison``, for rows of :func:`compare_model`.

    Raises:
        ValueError: A subset that is not made of the modalities, or no subset of them all.
    """
    everything = subset_name(present)
    if everything not in probabilities:
        raise ValueError(f"no predictions for all modalities together ({everything})")
    full = np.asarray(probabilities[everything])
    judged = rows_of(everything, present, len(labels))
    overall = _computed(classes, labels[judged], full[judged], seed, num_bootstrap)
    rows_by_subset = {name: rows_of(name, present, len(labels)) for name in probabilities}
    return {
        "split": split,
        "classes": list(classes),
        "modalities": list(present),
        "overall": overall,
        "subsets": {
            name: _subset(
                classes,
                labels[rows],
                np.asarray(probabilities[name])[rows],
                full[rows],
                seed=named_seed(seed, name),
                num_bootstrap=num_bootstrap,
            )
            for name, rows in rows_by_subset.items()
        },
        "comparison": [],
    }


def compare_model(
    name: str,
    modalities: Sequence[str],
    classes: Sequence[str],
    labels: NDArray[np.int64],
    probabilities: NDArray[np.floating],
    seed: int,
    num_bootstrap: int = NUM_RESAMPLES,
    whole: NDArray[np.floating] | None = None,
) -> dict[str, Any]:
    """One row of ``comparison``: another model, say one trained on a single modality.

    Args:
        name: What the report calls it, such as ``image alone``.
        modalities: What it was trained on.
        classes: Names of the K classes.
        labels: (N,) int64, of the samples it can judge.
        probabilities: (N, K) float32.
        seed: Seed of the bootstrap.
        num_bootstrap: Resamples of the interval.
        whole: (N, K) float32, what the model that it is compared with makes of the same samples; None where that is not
            known, and then there is no paired ``difference``.
    """
    scored = _scored(
        classes, labels, probabilities, seed=named_seed(seed, name), num_bootstrap=num_bootstrap
    )
    if whole is not None:
        right = (predicted.argmax(axis=1) == labels for predicted in (probabilities, whole))
        scored |= paired_difference(
            *right, seed=named_seed(seed, name), num_bootstrap=num_bootstrap
        )
    return {"name": name, "modalities": list(modalities), **scored}


def paired_difference(
    first: NDArray[np.bool_], second: NDArray[np.bool_], *, seed: int, num_bootstrap: int
) -> dict[str, Any]:
    """``difference`` of two accuracies on the same N samples, and ``difference_interval``, its 95 % interval.

    Args:
        first: (N,) bool, what one model got right.
        second: (N,) bool, what the other did.
        seed: Seed of the bootstrap.
        num_bootstrap: Resamples of the interval.
    """
    paired = paired_bootstrap(first, second, seed=seed, num_resamples=num_bootstrap)
    return {
        "difference": paired.difference if paired else None,
        "difference_interval": [paired.low, paired.high] if paired else None,
    }


def summary_metrics(evaluation: Mapping[str, Any]) -> dict[str, float]:
    """The flat numbers of ``summary.json``, ``accuracy_SUBSET`` included, undefined left out."""
    overall = evaluation["overall"]
    metrics = {
        name: value
        for name, value in overall.items()
        if isinstance(value, int | float) and name != "num_samples"
    }
    errors = overall["calibration"]
    metrics["expected_calibration_error"] = errors["expected_calibration_error"]
    metrics["brier_score"] = errors["brier_score"]
    for name, subset in evaluation["subsets"].items():
        metrics[f"accuracy_{name}"] = subset["accuracy"]
    return {name: float(value) for name, value in metrics.items() if value is not None}


def _computed(
    classes: Sequence[str],
    labels: NDArray[np.int64],
    probabilities: NDArray[np.floating],
    seed: int,
    num_bootstrap: int,
) -> dict[str, Any]:
    """All metrics, with calibration and intervals."""
    metrics = ClassificationMetrics(classes)
    metrics.update(labels, probabilities)
    computed = {**metrics.compute(), "calibration": calibration(*metrics.arrays())}
    intervals = confusion_intervals(
        np.asarray(computed["confusion"]),
        seed=named_seed(seed, "overall"),
        num_resamples=num_bootstrap,
    )
    return {**computed, "intervals": intervals}


def _subset(
    classes: Sequence[str],
    labels: NDArray[np.int64],
    probabilities: NDArray[np.floating],
    full: NDArray[np.floating],
    *,
    seed: int,
    num_bootstrap: int,
) -> dict[str, Any]:
    result = _scored(classes, labels, probabilities, seed=seed, num_bootstrap=num_bootstrap)
    right = (predicted.argmax(axis=1) == labels for predicted in (probabilities, full))
    return result | paired_difference(*right, seed=seed, num_bootstrap=num_bootstrap)


def _scored(
    classes: Sequence[str],
    labels: NDArray[np.int64],
    probabilities: NDArray[np.floating],
    *,
    seed: int,
    num_bootstrap: int,
) -> dict[str, Any]:
    """Accuracy with its interval, macro F1 and the number of samples."""
    from sklearn.metrics import f1_score

    predictions = probabilities.argmax(axis=1)
    correct = predictions == labels
    interval = bootstrap_interval(correct, seed=seed, num_resamples=num_bootstrap)
    result: dict[str, Any] = {
        "accuracy": None,
        "interval": list(interval) if interval else None,
        "f1_macro": None,
        "num_samples": len(labels),
    }
    if len(labels):
        result["accuracy"] = float(correct.mean())
        f1 = f1_score(labels, predictions, average="macro", zero_division=0)
        result["f1_macro"] = float(f1)
    return result

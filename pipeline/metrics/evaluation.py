"""Everything that ``evaluate`` writes about one labelled split: ``evaluation/metrics.json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue, TypeAdapter

from pipeline.metrics.calibration import Calibration, calibration
from pipeline.metrics.classification import ClassificationMetrics, OneAgainstRest
from pipeline.metrics.curves import Curve
from pipeline.metrics.record import (
    ComparedScores,
    EvaluationRecord,
    Interval,
    OtherScores,
    OverallScores,
)
from pipeline.metrics.resampling.bootstrap import (
    NUM_RESAMPLES,
    bootstrap_interval,
    confusion_intervals,
)
from pipeline.metrics.resampling.estimate import Estimate, paired_difference
from pipeline.metrics.resampling.ranking import roc_auc_interval
from pipeline.metrics.subsets import named_seed, rows_of, subset_name


@dataclass(frozen=True)
class ClassDetails:
    """What an evaluation of K classes tells beside its metrics.

    Attributes:
        per_class: Class -> its metrics, in the order of the classes.
        confusion: K rows of K counts; a row is a label, a column a prediction.
        roc: Class -> ``fpr`` and ``tpr``; the most frequent ones.
        pr: Class -> ``recall`` and ``precision``; the most frequent ones.
        calibration: How far the probabilities can be trusted.
    """

    per_class: Mapping[str, OneAgainstRest] = field(default_factory=dict)
    confusion: Sequence[Sequence[int]] = ()
    roc: Mapping[str, Curve] = field(default_factory=dict)
    pr: Mapping[str, Curve] = field(default_factory=dict)
    calibration: Calibration = field(default_factory=Calibration)

    def to_json(self) -> dict[str, JsonValue]:
        """For the details of :class:`pipeline.metrics.record.OverallScores`."""
        values: dict[str, JsonValue] = TypeAdapter(ClassDetails).dump_python(self, mode="json")
        return values

    @classmethod
    def of(cls, evaluation: EvaluationRecord) -> ClassDetails:
        """The other way round."""
        return TypeAdapter(cls).validate_python(evaluation.overall.details)


def evaluate_predictions(
    classes: Sequence[str],
    labels: NDArray[np.int64],
    probabilities: Mapping[str, NDArray[np.floating]],
    present: Mapping[str, NDArray[np.bool_]],
    seed: int,
    num_bootstrap: int = NUM_RESAMPLES,
    split: str = "test",
) -> EvaluationRecord:
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
        All metrics, with :class:`ClassDetails`; of each subset accuracy, which is compared, and macro F1; an empty
        comparison, for rows of :func:`compare_model`; and ``classes``.

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
    return EvaluationRecord(
        split=split,
        modalities=tuple(present),
        overall=overall,
        subsets={
            name: _compared(
                classes,
                labels[rows],
                np.asarray(probabilities[name])[rows],
                full[rows],
                seed=named_seed(seed, name),
                num_bootstrap=num_bootstrap,
            )
            for name, rows in rows_by_subset.items()
        },
        details={"classes": list(classes)},
    )


def compare_model(
    name: str,
    modalities: Sequence[str],
    classes: Sequence[str],
    labels: NDArray[np.int64],
    probabilities: NDArray[np.floating],
    seed: int,
    num_bootstrap: int = NUM_RESAMPLES,
    whole: NDArray[np.floating] | None = None,
) -> OtherScores:
    """One row of the comparison: another model, say one trained on a single modality.

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
    scores = _compared(
        classes,
        labels,
        probabilities,
        whole,
        seed=named_seed(seed, name),
        num_bootstrap=num_bootstrap,
    )
    return OtherScores(name=name, modalities=tuple(modalities), **vars(scores))


def summary_metrics(evaluation: EvaluationRecord) -> dict[str, float]:
    """The flat numbers of ``summary.json``, ``accuracy_SUBSET`` included, undefined left out."""
    errors = ClassDetails.of(evaluation).calibration
    metrics = {
        **evaluation.overall.metrics,
        "expected_calibration_error": errors.expected_calibration_error,
        "brier_score": errors.brier_score,
    }
    for name, subset in evaluation.subsets.items():
        metrics[f"accuracy_{name}"] = subset.metrics["accuracy"]
    return {name: float(value) for name, value in metrics.items() if value is not None}


def _computed(
    classes: Sequence[str],
    labels: NDArray[np.int64],
    probabilities: NDArray[np.floating],
    seed: int,
    num_bootstrap: int,
) -> OverallScores:
    """All metrics, with calibration and intervals."""
    gathered = ClassificationMetrics(classes)
    gathered.update(labels, probabilities)
    scores = gathered.compute()
    intervals = confusion_intervals(
        np.asarray(scores.confusion),
        seed=named_seed(seed, "overall"),
        num_resamples=num_bootstrap,
    )
    details = ClassDetails(
        scores.per_class, scores.confusion, scores.roc, scores.pr, calibration(*gathered.arrays())
    )
    return OverallScores(
        num_samples=scores.num_samples,
        metrics=scores.metrics,
        intervals={name: (low, high) for name, (low, high) in intervals.items()}
        | _probability_intervals(*gathered.arrays(), seed, num_bootstrap),
        details=details.to_json(),
    )


def _probability_intervals(
    labels: NDArray[np.int64], probabilities: NDArray[np.float64], seed: int, num_bootstrap: int
) -> dict[str, Interval]:
    """The intervals of metrics that a confusion matrix does not determine."""
    of_label = probabilities[np.arange(len(labels)), labels]
    losses = -np.log(of_label.clip(np.finfo(np.float64).eps))
    own = named_seed(seed, "probabilities")
    intervals = {
        "log_loss": bootstrap_interval(losses, seed=own, num_resamples=num_bootstrap),
        "roc_auc": roc_auc_interval(labels, probabilities, seed=own, num_resamples=num_bootstrap),
    }
    return {name: ends for name, ends in intervals.items() if ends is not None}


def _compared(
    classes: Sequence[str],
    labels: NDArray[np.int64],
    probabilities: NDArray[np.floating],
    whole: NDArray[np.floating] | None,
    *,
    seed: int,
    num_bootstrap: int,
) -> ComparedScores:
    """Accuracy with its interval, macro F1, and the difference from another model's accuracy, if there is one."""
    from sklearn.metrics import f1_score

    predictions = probabilities.argmax(axis=1)
    right = predictions == labels
    accuracy, f1_macro, paired = None, None, Estimate(None)
    if len(labels):
        accuracy = float(right.mean())
        f1_macro = float(f1_score(labels, predictions, average="macro", zero_division=0))
    if whole is not None:
        right_of_whole = whole.argmax(axis=1) == labels
        paired = paired_difference(right, right_of_whole, seed=seed, num_resamples=num_bootstrap)
    return ComparedScores(
        num_samples=len(labels),
        metrics={"accuracy": accuracy, "f1_macro": f1_macro},
        interval=bootstrap_interval(right, seed=seed, num_resamples=num_bootstrap),
        difference=paired.value,
        difference_interval=paired.interval,
    )

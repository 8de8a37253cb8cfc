"""What a classifier puts on the page of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.metrics.evaluation import ClassDetails
from pipeline.metrics.record import EvaluationRecord
from pipeline.models.record import Score
from pipeline.objectives.classify.plots import class_curves, reliability
from pipeline.objectives.classify.rows import (
    CALIBRATION_ERROR,
    PREDICTION,
    PROBABILITIES,
    SCORE,
    UNSCALED,
)
from pipeline.reports.comparison import best_single, comparison_rows, gain_over
from pipeline.reports.content import Example, SplitCounts
from pipeline.reports.plots import label_balance
from pipeline.reports.section import Group, Judgement, KeyFigure, Measure, Part, Targets
from pipeline.reports.svg import text_columns
from pipeline.sample import KEY, LABEL, SHARD

ACCURACY = Measure("accuracy", "Accuracy", "max", percent=True)
UNEVEN = 10.0  # times as many samples of the largest class as of the smallest, above which the page warns
HEADLINE = ("accuracy", "f1_macro", "roc_auc")
MAX_CONFUSION = 30
MAX_MISTAKES = 8
MAX_CLASSES = 100
SHOWN_PROBABILITIES = 5
TITLES = {
    "accuracy": "Accuracy",
    "f1_macro": "Macro F1",
    "roc_auc": "ROC AUC",
    "balanced_accuracy": "Balanced accuracy",
    "precision_macro": "Macro precision",
    "recall_macro": "Macro recall",
    "average_precision": "Average precision",
    "log_loss": "Log loss",
    "top_3_accuracy": "Top-3 accuracy",
    "top_5_accuracy": "Top-5 accuracy",
}


class ClassSection:
    """See :class:`pipeline.reports.section.Section`."""

    measure, titles = ACCURACY, TITLES
    score = Score("accuracy", "max", is_share=True)
    curves: Mapping[str, str] = {"Accuracy": "accuracy"}

    def figures(self, evaluation: EvaluationRecord) -> list[KeyFigure]:
        overall = evaluation.overall
        return [
            KeyFigure(
                TITLES[name],
                value,
                "percent" if name == "accuracy" else "number",
                ends=overall.interval_of(name),
            )
            for name in HEADLINE
            if (value := overall.metrics.get(name)) is not None
        ]

    def lede(self, evaluation: EvaluationRecord) -> Part | None:
        accuracy = evaluation.overall.metrics.get(ACCURACY.name)
        if accuracy is None:
            return None
        rows = comparison_rows(evaluation, ACCURACY.name)
        single = best_single(rows, ACCURACY) if len(rows) > 1 else None
        values = {
            "accuracy": accuracy,
            "num_samples": evaluation.overall.num_samples,
            "split": evaluation.split,
            "single": single,
            "gain": gain_over(single, evaluation, ACCURACY) if single is not None else None,
        }
        return Part("objectives/classify/lede.html", values)

    def reference(self, evaluation: EvaluationRecord) -> tuple[float, str] | None:
        rate = majority_rate(evaluation)
        return (rate, "always the most frequent class") if rate is not None else None

    def metrics(self, evaluation: EvaluationRecord, predicted: pa.Table | None) -> Part | None:
        return Part("objectives/classify/metrics.html", _metrics(evaluation))

    def targets(self, splits: Mapping[str, Mapping[str, int]]) -> Targets:
        uneven = {name: imbalance(labels) for name, labels in splits.items()}
        return Targets(
            columns=(("Labels", 0), ("Largest to smallest", 1)),
            rows={name: (len(labels), uneven[name]) for name, labels in splits.items()},
            plot=label_balance(
                {name: SplitCounts(labels=labels) for name, labels in splits.items()}
            ),
            notes=[
                f"Uneven labels in {name}: the largest class has {times:.0f} times the samples of the smallest."
                for name, times in uneven.items()
                if times is not None and times > UNEVEN
            ],
        )

    def label(self, text: str) -> str:
        return text

    def choose(
        self, predicted: pa.Table, evaluation: EvaluationRecord, count: int
    ) -> list[Judgement]:
        """The surest mistakes, and right ones spread over the split."""
        right = predicted.filter(pc.equal(predicted[LABEL], predicted[PREDICTION]))
        wrong = predicted.filter(pc.not_equal(predicted[LABEL], predicted[PREDICTION]))
        step = max(1, right.num_rows // max(1, count))
        spread = right.take(list(range(0, right.num_rows, step))[:count])
        mistakes = wrong.sort_by([(SCORE, "descending")]).slice(0, count)
        rows = pa.concat_tables([mistakes, spread]).to_pylist()
        classes = list(ClassDetails.of(evaluation).per_class)
        return [_judgement(row, classes) for row in rows]

    def groups(self, examples: Sequence[Example]) -> list[Group]:
        """Wrong examples, the surest mistakes first, and right ones."""
        judged = [
            replace(example, right=example.prediction == example.label)
            for example in examples
            if example.label is not None
        ]
        wrong = [example for example in judged if not example.right]
        return [
            Group(
                "Wrong, the surest first",
                sorted(wrong, key=lambda example: -(example.score or 0)),
            ),
            Group("Right", [example for example in judged if example.right]),
            Group("Without a label", [example for example in examples if example.label is None]),
        ]


def imbalance(labels: Mapping[str, int]) -> float | None:
    """Samples of the largest class over those of the smallest; None where there are no two classes."""
    counts = Counter(labels).values()
    return max(counts) / min(counts) if len(counts) > 1 else None


def majority_rate(evaluation: EvaluationRecord) -> float | None:
    """Accuracy of always saying the most frequent class, from the supports; None without samples."""
    supports = [row.support for row in ClassDetails.of(evaluation).per_class.values()]
    return max(supports) / sum(supports) if sum(supports) else None


def _judgement(row: Mapping[str, Any], classes: Sequence[str]) -> Judgement:
    ranked = sorted(zip(row[PROBABILITIES], classes, strict=True), reverse=True)
    return Judgement(
        shard=row[SHARD],
        key=row[KEY],
        label=row[LABEL],
        prediction=row[PREDICTION],
        right=row[PREDICTION] == row[LABEL],
        score=row[SCORE],
        probabilities={name: value for value, name in ranked[:SHOWN_PROBABILITIES]},
    )


def _metrics(evaluation: EvaluationRecord) -> dict[str, object]:
    """Numbers, curves, per class, confusion and calibration."""
    details, metrics = ClassDetails.of(evaluation), evaluation.overall.metrics
    per_class, calibration = details.per_class, details.calibration
    drawn = [
        class_curves(details.roc, per_class, "roc"),
        class_curves(details.pr, per_class, "pr"),
        reliability(calibration),
    ]
    below = [name for name in TITLES if name in metrics and name not in HEADLINE]
    numbers = [(TITLES[name], metrics[name]) for name in below]
    numbers += [
        ("Calibration error", calibration.expected_calibration_error),
        ("Brier score", calibration.brier_score),
    ]
    before = evaluation.details.get(f"{CALIBRATION_ERROR}{UNSCALED}")
    if isinstance(before, float):
        numbers += [("Calibration error without temperature scaling", before)]
    return {
        "numbers": numbers,
        "per_class": list(per_class.items())[:MAX_CLASSES],
        "num_classes": len(per_class),
        "plots": [plot for plot in drawn if plot],
        **_confusion(list(per_class), details.confusion),
    }


def _confusion(classes: Sequence[str], counts: Sequence[Sequence[int]]) -> dict[str, object]:
    """The matrix as rows of (count, share of the row), and the most frequent mistakes."""
    rows = []
    mistakes = []
    for i, row in enumerate(counts):
        total = sum(row)
        rows.append((classes[i], total, [(n, n / total if total else 0.0) for n in row]))
        mistakes += [
            (n, n / total, classes[i], classes[j]) for j, n in enumerate(row) if n and i != j
        ]
    mistakes.sort(key=lambda mistake: -mistake[0])
    return {
        "confusion": rows if len(classes) <= MAX_CONFUSION else [],
        "tall": any(text_columns(name) > 4 for name in classes),
        "mistakes": mistakes[:MAX_MISTAKES],
    }

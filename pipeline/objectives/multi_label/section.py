"""What a multi-label classifier puts on the page of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from pipeline.metrics.record import EvaluationRecord
from pipeline.models.record import Score
from pipeline.objectives.multi_label.evaluation import LabelDetails
from pipeline.objectives.multi_label.labels import labels_of
from pipeline.objectives.multi_label.plots import average_precision_bars, precision_recall_curves
from pipeline.objectives.multi_label.rows import PREDICTION, PROBABILITIES, SCORE
from pipeline.reports.comparison import best_single, comparison_rows, gain_over
from pipeline.reports.content import Example, SplitCounts
from pipeline.reports.plots import label_balance
from pipeline.reports.section import Group, Judgement, KeyFigure, Measure, Part, Targets
from pipeline.sample import KEY, LABEL, SHARD

PRECISION = Measure("mean_average_precision", "Mean average precision", "max")
MAX_CLASSES = 100
SHOWN_PROBABILITIES = 5
NOTHING = "none"
TITLES = {
    "mean_average_precision": "Mean average precision",
    "f1_micro": "Micro F1",
    "f1_macro": "Macro F1",
    "subset_accuracy": "All labels right",
    "hamming_loss": "Wrong decisions",
}


class LabelsSection:
    """See :class:`pipeline.reports.section.Section`.

    Args:
        score: What chose the epoch that was kept.
    """

    measure, titles = PRECISION, TITLES
    curves: Mapping[str, str] = {PRECISION.title: PRECISION.name, "Micro F1": "f1_micro"}

    def __init__(self, score: Score) -> None:
        self.score = score

    def figures(self, evaluation: EvaluationRecord) -> list[KeyFigure]:
        overall = evaluation.overall
        return [
            KeyFigure(TITLES[name], value, "number", ends=overall.interval_of(name))
            for name in ("mean_average_precision", "f1_micro", "f1_macro")
            if (value := overall.metrics.get(name)) is not None
        ]

    def lede(self, evaluation: EvaluationRecord) -> Part | None:
        metrics = evaluation.overall.metrics
        if metrics.get(PRECISION.name) is None:
            return None
        rows = comparison_rows(evaluation, PRECISION.name)
        single = best_single(rows, PRECISION) if len(rows) > 1 else None
        values = {
            "precision": metrics[PRECISION.name],
            "whole": metrics["subset_accuracy"],
            "num_samples": evaluation.overall.num_samples,
            "split": evaluation.split,
            "single": single,
            "gain": gain_over(single, evaluation, PRECISION) if single is not None else None,
        }
        return Part("objectives/multi_label/lede.html", values)

    def reference(self, evaluation: EvaluationRecord) -> tuple[float, str] | None:
        """The mean share of the samples that have a class, which a ranking by chance has as its average precision."""
        supports = [row.support for row in LabelDetails.of(evaluation).per_class.values()]
        num_samples = evaluation.overall.num_samples or 0
        shares = [support / num_samples for support in supports if support]
        return (sum(shares) / len(shares), "a ranking by chance") if shares else None

    def metrics(self, evaluation: EvaluationRecord, predicted: pa.Table | None) -> Part | None:
        metrics, undefined = evaluation.overall.metrics, evaluation.overall.undefined or {}
        details = LabelDetails.of(evaluation)
        per_class = details.per_class
        drawn = [
            average_precision_bars(per_class, metrics[PRECISION.name]),
            precision_recall_curves(details.pr, per_class),
        ]
        values = {
            "numbers": [(title, metrics[name]) for name, title in TITLES.items()],
            "undefined": [(TITLES[name], words) for name, words in undefined.items()],
            "per_class": list(per_class.items())[:MAX_CLASSES],
            "num_classes": len(per_class),
            "plots": [plot for plot in drawn if plot],
        }
        return Part("objectives/multi_label/metrics.html", values)

    def targets(self, splits: Mapping[str, Mapping[str, int]]) -> Targets:
        labels = {name: _counts(texts) for name, texts in splits.items()}
        samples = {name: sum(texts.values()) for name, texts in splits.items()}
        return Targets(
            columns=(("Labels", 0), ("Labels a sample", 2), ("Without a label", 0)),
            rows={
                name: (
                    len(labels[name]),
                    labels[name].total() / samples[name] if samples[name] else None,
                    sum(count for text, count in texts.items() if not labels_of(text)),
                )
                for name, texts in splits.items()
            },
            plot=label_balance(
                {name: SplitCounts(samples[name], counts) for name, counts in labels.items()}
            ),
        )

    def label(self, text: str) -> str:
        return _words(labels_of(text))

    def choose(
        self, predicted: pa.Table, evaluation: EvaluationRecord, count: int
    ) -> list[Judgement]:
        """Those with the most wrong labels, and right ones spread over the split."""
        rows = predicted.select([KEY, SHARD, LABEL, PREDICTION, SCORE, PROBABILITIES]).to_pylist()
        errors = [len(set(row[LABEL]) ^ set(row[PREDICTION])) for row in rows]
        order = sorted(range(len(rows)), key=lambda at: -errors[at])
        wrong = [rows[at] for at in order if errors[at]][:count]
        right = [row for row, number in zip(rows, errors, strict=True) if not number]
        spread = right[:: max(1, len(right) // max(1, count))][:count]
        classes = list(LabelDetails.of(evaluation).per_class)
        return [_judgement(row, classes) for row in [*wrong, *spread]]

    def groups(self, examples: Sequence[Example]) -> list[Group]:
        """Wrong examples in the order of :meth:`choose`, and right ones."""
        judged = [
            replace(example, right=example.prediction == example.label)
            for example in examples
            if example.label is not None
        ]
        return [
            Group("The most wrong labels first", [one for one in judged if not one.right]),
            Group("All labels right", [one for one in judged if one.right]),
            Group("Without a label", [one for one in examples if one.label is None]),
        ]


def _counts(texts: Mapping[str, int]) -> Counter[str]:
    """Label -> samples that have it."""
    counts: Counter[str] = Counter()
    for text, count in texts.items():
        counts.update(dict.fromkeys(labels_of(text), count))
    return counts


def _words(labels: Iterable[str]) -> str:
    return ", ".join(sorted(labels)) or NOTHING


def _judgement(row: Mapping[str, Any], classes: Sequence[str]) -> Judgement:
    ranked = sorted(zip(row[PROBABILITIES], classes, strict=True), reverse=True)
    return Judgement(
        shard=row[SHARD],
        key=row[KEY],
        label=_words(row[LABEL]),
        prediction=_words(row[PREDICTION]),
        right=set(row[LABEL]) == set(row[PREDICTION]),
        score=row[SCORE],
        probabilities={name: value for value, name in ranked[:SHOWN_PROBABILITIES]},
    )

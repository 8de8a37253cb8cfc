"""What captions put on the page of a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa

from pipeline.metrics.record import EvaluationRecord
from pipeline.metrics.texts.scores import BLEU, NAMES
from pipeline.metrics.texts.tokens import words_of
from pipeline.models.record import Score
from pipeline.objectives.caption.evaluation import (
    METRIC,
    OF_MOST_FREQUENT,
    ciders,
    joined,
    most_frequent_of,
)
from pipeline.objectives.caption.plots import lengths_plot
from pipeline.objectives.caption.rows import CAPTION
from pipeline.objectives.texts.targets import references_of
from pipeline.reports.comparison import best_single, comparison_rows, gain_over
from pipeline.reports.content import Example
from pipeline.reports.section import Group, Judgement, KeyFigure, Measure, Part, Targets
from pipeline.sample import KEY, LABEL, SHARD

CIDER = Measure(METRIC, "CIDEr-D", "max")
TITLES = {
    **{name: f"BLEU-{order}" for order, name in enumerate(BLEU, 1)},
    "rouge_l": "ROUGE-L",
    METRIC: "CIDEr-D",
    "meteor": "METEOR, equal words alone",
    "exact_match": "Exact match",
    "distinct_1": "Distinct words",
    "distinct_2": "Distinct pairs of words",
}
DECIMALS = 2
SEVERAL = "Captions, the worst by CIDEr-D first, then the best"


class CaptionSection:
    """See :class:`pipeline.reports.section.Section`.

    Args:
        score: What chose the epoch that was kept.
    """

    measure, titles = CIDER, TITLES
    curves: Mapping[str, str] = {
        "Perplexity of a symbol": "perplexity",
        "Symbols that are right": "token_accuracy",
    }

    def __init__(self, score: Score) -> None:
        self.score = score

    def figures(self, evaluation: EvaluationRecord) -> list[KeyFigure]:
        overall = evaluation.overall
        return [
            KeyFigure(TITLES[name], value, "number", ends=overall.interval_of(name))
            for name in (METRIC, BLEU[-1], "rouge_l")
            if (value := overall.metrics.get(name)) is not None
        ]

    def lede(self, evaluation: EvaluationRecord) -> Part | None:
        metrics = evaluation.overall.metrics
        if metrics.get(METRIC) is None:
            return None
        rows = comparison_rows(evaluation, METRIC)
        single = best_single(rows, CIDER) if len(rows) > 1 else None
        values = {
            "cider": metrics[METRIC],
            "of_most_frequent": metrics.get(OF_MOST_FREQUENT),
            "num_samples": evaluation.overall.num_samples,
            "split": evaluation.split,
            "single": single,
            "gain": gain_over(single, evaluation, CIDER) if single is not None else None,
        }
        return Part("objectives/caption/lede.html", values)

    def reference(self, evaluation: EvaluationRecord) -> tuple[float, str] | None:
        value = evaluation.overall.metrics.get(OF_MOST_FREQUENT)
        return (value, "always the most frequent caption") if value is not None else None

    def metrics(self, evaluation: EvaluationRecord, predicted: pa.Table | None) -> Part | None:
        overall = evaluation.overall
        caption, guessed = most_frequent_of(evaluation)
        plots = []
        if predicted is not None and predicted.num_rows:
            written = [len(words_of(text)) for text in predicted[CAPTION].to_pylist()]
            references = [
                len(words_of(text)) for texts in predicted[LABEL].to_pylist() for text in texts
            ]
            plots.append(lengths_plot({"captions": written, "references": references}, "lengths"))
        content = {
            "rows": [
                (
                    TITLES[name],
                    overall.metrics.get(name),
                    overall.interval_of(name),
                    guessed.get(name),
                )
                for name in NAMES
            ],
            "resampled": bool(overall.intervals),
            "undefined": [
                (TITLES[name], words) for name, words in (overall.undefined or {}).items()
            ],
            "most_frequent": caption,
            "plots": [plot for plot in plots if plot],
        }
        return Part("objectives/caption/metrics.html", content)

    def targets(self, splits: Mapping[str, Mapping[str, int]]) -> Targets:
        samples = {
            name: [(references_of(text) or (), count) for text, count in counted.items()]
            for name, counted in splits.items()
        }
        lengths = {
            name: [
                len(words_of(text)) for texts, count in rows for text in texts for _ in range(count)
            ]
            for name, rows in samples.items()
        }
        return Targets(
            columns=[("Texts a sample", DECIMALS), ("Words a text", DECIMALS)],
            rows={
                name: [
                    len(lengths[name]) / max(1, sum(count for _, count in rows)),
                    float(np.mean(lengths[name])) if lengths[name] else None,
                ]
                for name, rows in samples.items()
            },
            plot=lengths_plot(lengths, "targets"),
        )

    def label(self, text: str) -> str:
        return joined(references_of(text) or ())

    def choose(
        self, predicted: pa.Table, evaluation: EvaluationRecord, count: int
    ) -> list[Judgement]:
        """The worst by CIDEr-D, then the best; of equal ones, those spread over the split."""
        scores = ciders(predicted)
        order = np.argsort(scores, kind="stable")
        worst = order[:count]
        best = order[::-1][: min(count, len(order) - len(worst))]
        return list(self._judgements(predicted, scores, [*worst.tolist(), *best.tolist()]))

    def _judgements(
        self, predicted: pa.Table, scores: np.ndarray, rows: Sequence[int]
    ) -> Iterator[Judgement]:
        for row in rows:
            caption = predicted[CAPTION][row].as_py()
            yield Judgement(
                shard=predicted[SHARD][row].as_py(),
                key=predicted[KEY][row].as_py(),
                label=joined(predicted[LABEL][row].as_py()),
                prediction=f"{caption} (CIDEr-D {scores[row]:.2f})",
            )

    def groups(self, examples: Sequence[Example]) -> list[Group]:
        """In the order of :meth:`choose`."""
        return [
            Group(SEVERAL, [example for example in examples if example.label is not None]),
            Group("Without a text", [example for example in examples if example.label is None]),
        ]

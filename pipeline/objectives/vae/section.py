"""What a variational autoencoder puts on the page of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from pipeline.metrics.record import EvaluationRecord
from pipeline.models.record import Score
from pipeline.objectives.generated.coherence import MADE, made_view
from pipeline.objectives.vae.rows import BOUND, ELBO, GENERATED_LABEL, LABEL_SCORE, nll
from pipeline.reports.content import Example
from pipeline.reports.section import Group, Judgement, KeyFigure, Measure, Part, Targets
from pipeline.sample import KEY, LABEL, SHARD

NATS = {ELBO: "ELBO, nats", BOUND: "Importance-weighted bound, nats"}
ACCURACY = "Right labels made"
NLL = nll("")


class VaeSection:
    """See :class:`pipeline.reports.section.Section`.

    Args:
        score: What chose the epoch that was kept.
        metric: What subsets are compared by.
    """

    curves: Mapping[str, str] = {"ELBO, nats": ELBO, "Divergence from the prior, nats": "kl"}

    def __init__(self, score: Score, metric: str) -> None:
        self.score = score
        is_share = metric != ELBO
        self.measure = Measure(metric, ACCURACY if is_share else NATS[ELBO], "max", is_share)
        self.titles = NATS | ({metric: ACCURACY} if is_share else {})

    def figures(self, evaluation: EvaluationRecord) -> list[KeyFigure]:
        overall = evaluation.overall
        return [
            KeyFigure(
                title,
                value,
                "percent" if title == ACCURACY else "number",
                ends=overall.interval_of(name),
            )
            for name, title in self.titles.items()
            if (value := overall.metrics.get(name)) is not None
        ]

    def lede(self, evaluation: EvaluationRecord) -> Part | None:
        overall = evaluation.overall
        if overall.metrics.get(ELBO) is None:
            return None
        values = {
            "elbo": overall.metrics[ELBO],
            "bound": overall.metrics.get(BOUND),
            "accuracy": overall.metrics.get(self.measure.name) if self.measure.percent else None,
            "num_samples": overall.num_samples,
            "split": evaluation.split,
        }
        return Part("objectives/vae/lede.html", values)

    def reference(self, evaluation: EvaluationRecord) -> tuple[float, str] | None:
        return None

    def metrics(self, evaluation: EvaluationRecord, predicted: pa.Table | None) -> Part | None:
        overall = evaluation.overall
        content = {
            "rows": [
                (title, overall.metrics.get(name), overall.interval_of(name), self._is_share(name))
                for name, title in self.titles.items()
                if name in overall.metrics
            ],
            "likelihoods": [
                (name.removeprefix(NLL), value, overall.interval_of(name))
                for name, value in overall.metrics.items()
                if name.startswith(NLL)
            ],
            "undefined": [
                (self.titles.get(name, name), words)
                for name, words in (overall.undefined or {}).items()
            ],
            "made": made_view(evaluation.details.get(MADE)),
        }
        return Part("objectives/vae/metrics.html", content)

    def _is_share(self, name: str) -> bool:
        return self.measure.percent and name == self.measure.name

    def targets(self, splits: Mapping[str, Mapping[str, int]]) -> Targets:
        return Targets(
            columns=[("Labels", 0), ("Samples without a label", 0)],
            rows={
                name: [sum(1 for label in counts if label), counts.get("", 0)]
                for name, counts in splits.items()
            },
        )

    def label(self, text: str) -> str:
        return text

    def choose(
        self, predicted: pa.Table, evaluation: EvaluationRecord, count: int
    ) -> list[Judgement]:
        """The least likely samples, then the likeliest."""
        bounds = predicted[ELBO].to_numpy()
        order = np.argsort(bounds, kind="stable").tolist()
        rows = [*order[:count], *order[count:][-count:][::-1]]
        return [self._judgement(predicted, row) for row in rows]

    def _judgement(self, predicted: pa.Table, row: int) -> Judgement:
        cells = {name: predicted[name][row].as_py() for name in predicted.column_names}
        label, made = cells.get(LABEL), cells.get(GENERATED_LABEL)
        return Judgement(
            shard=cells[SHARD],
            key=cells[KEY],
            label=label if made is not None else None,
            prediction=f"ELBO {cells[ELBO]:,.0f}" if made is None else made,
            right=None if made is None or label is None else made == label,
            score=cells.get(LABEL_SCORE),
        )

    def groups(self, examples: Sequence[Example]) -> list[Group]:
        return [
            Group("Samples by their ELBO, the least likely first, then the likeliest", examples)
        ]

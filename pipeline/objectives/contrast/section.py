"""What a shared space puts on the page of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from pipeline.metrics.record import EvaluationRecord
from pipeline.models.record import Score
from pipeline.objectives.contrast.evaluation import METRIC, details_of
from pipeline.objectives.contrast.plots import space_map
from pipeline.objectives.contrast.rows import column, vectors
from pipeline.objectives.contrast.targets import LABEL, names_of
from pipeline.reports.content import Example
from pipeline.reports.section import Group, Judgement, KeyFigure, Measure, Part, Targets
from pipeline.sample import KEY, SHARD

RECALL = Measure(METRIC, "Recall at 5", "max", percent=True)
TITLES = {
    "recall_at_1": "Recall at 1",
    "recall_at_5": "Recall at 5",
    "recall_at_10": "Recall at 10",
    "mean_average_precision": "Mean average precision",
    "median_rank": "Median rank",
}
CARDS_OF_A_QUERY = 4  # itself, and the three nearest


class SpaceSection:
    """See :class:`pipeline.reports.section.Section`."""

    measure, titles = RECALL, TITLES
    score = Score("mean_average_precision", "max", is_share=True)
    curves: Mapping[str, str] = {"Mean average precision": "mean_average_precision"}

    def figures(self, evaluation: EvaluationRecord) -> list[KeyFigure]:
        overall = evaluation.overall
        return [
            KeyFigure(
                title,
                value,
                "percent" if name.startswith("recall") else "number",
                ends=overall.interval_of(name),
            )
            for name, title in TITLES.items()
            if (value := overall.metrics.get(name)) is not None and name != "recall_at_10"
        ]

    def lede(self, evaluation: EvaluationRecord) -> Part | None:
        recall = evaluation.overall.metrics.get(METRIC)
        if recall is None:
            return None
        values = {
            "recall": recall,
            "chance": evaluation.overall.metrics.get("recall_at_5_by_chance"),
            "num_samples": evaluation.overall.num_samples,
            "split": evaluation.split,
            "median": evaluation.overall.metrics.get("median_rank"),
        }
        return Part("objectives/contrast/lede.html", values)

    def reference(self, evaluation: EvaluationRecord) -> tuple[float, str] | None:
        chance = evaluation.overall.metrics.get("recall_at_5_by_chance")
        return (chance, "a random order") if chance is not None else None

    def metrics(self, evaluation: EvaluationRecord, predicted: pa.Table | None) -> Part | None:
        plot = None
        if predicted is not None and predicted.num_rows:
            plot = space_map(
                {name: vectors(predicted[column(name)]) for name in evaluation.modalities}
            )
        values = {
            "titles": TITLES,
            "directions": list(details_of(evaluation, "directions").values()),
            "gaps": details_of(evaluation, "gaps"),
            "probes": details_of(evaluation, "probes"),
            "zero_shot": details_of(evaluation, "zero_shot"),
            "plots": [plot] if plot else [],
        }
        return Part("objectives/contrast/metrics.html", values)

    def targets(self, splits: Mapping[str, Mapping[str, int]]) -> Targets:
        labels = {
            name: Counter(
                {
                    label: count
                    for text, count in counts.items()
                    if (label := names_of(text).get(LABEL)) is not None
                }
            )
            for name, counts in splits.items()
        }
        if not any(labels.values()):
            return Targets()
        return Targets(
            columns=[("Labels", 0)], rows={name: [len(counts)] for name, counts in labels.items()}
        )

    def label(self, text: str) -> str:
        names = names_of(text)
        return names.get(LABEL) or ", ".join(names.values())

    def choose(
        self, predicted: pa.Table, evaluation: EvaluationRecord, count: int
    ) -> list[Judgement]:
        """Of each direction some queries, spread over the split, each followed by the nearest that it finds."""
        shards, keys = predicted[SHARD].to_pylist(), predicted[KEY].to_pylist()
        chosen: list[Judgement] = []
        for direction in details_of(evaluation, "directions").values():
            nearest: Any = direction["nearest"]
            queries = max(1, count // CARDS_OF_A_QUERY) if count else 0
            step = max(1, len(nearest) // max(1, queries))
            for found in nearest[::step][:queries]:
                chosen += _gallery(direction, found, shards, keys)
        return chosen

    def groups(self, examples: Sequence[Example]) -> list[Group]:
        """A group a direction, in the order of :meth:`choose`."""
        headings = dict.fromkeys(example.heading for example in examples)
        return [
            Group(heading, [example for example in examples if example.heading == heading])
            for heading in headings
        ]


def _gallery(
    direction: Mapping[str, Any],
    found: Mapping[str, Any],
    shards: Sequence[str],
    keys: Sequence[str],
) -> Iterator[Judgement]:
    """A query, and the nearest that it finds; its own sample among them is marked."""
    asks, finds = str(direction["asks"]), str(direction["finds"])
    heading, query = f"{asks} finds {finds}", found["query"]
    rank, total = found["rank"], direction["num_candidates"]
    yield Judgement(
        shards[query],
        keys[query],
        None,
        f"asks; found at rank {rank} of {total}",
        heading=heading,
        only=(asks,),
    )
    for place, (row, score) in enumerate(zip(found["rows"], found["scores"], strict=True), 1):
        is_own = row == query
        yield Judgement(
            shards[row],
            keys[row],
            keys[row] if is_own else None,
            f"{place}. similarity {score:.2f}",
            right=True if is_own else None,
            heading=heading,
            only=(finds,),
        )

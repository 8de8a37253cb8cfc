"""Judges a shared space: retrieval in every direction, classes by texts, probes of labels, and gaps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import JsonValue

from pipeline.metrics.record import (
    ComparedScores,
    EvaluationRecord,
    OverallScores,
    difference_json,
)
from pipeline.metrics.resampling.bootstrap import bootstrap_interval
from pipeline.metrics.resampling.estimate import Estimate, paired_difference
from pipeline.metrics.retrieval import RECALLS, Ranking, median_estimate, row_means
from pipeline.metrics.subsets import named_seed, rows_of
from pipeline.objectives.base import CONTENTS, EMBEDDING, Judging
from pipeline.objectives.contrast.judged import Space, gaps, probes, zero_shot
from pipeline.objectives.contrast.rows import column, vectors
from pipeline.objectives.contrast.targets import GROUP, LABEL, names_of
from pipeline.objectives.contrast.validation import rankings
from pipeline.objectives.evaluation import Prompts, TrainingSplit
from pipeline.objectives.gathered import Gathered

METRIC = "recall_at_5"
SHOWN_QUERIES = 100  # of a direction, whose nearest neighbours are kept for the page

Float = NDArray[np.float64]
Int = NDArray[np.int64]
Rankings = Mapping[tuple[int, int], Ranking]


class SpaceEvaluation(Gathered):
    """Retrieval between the modalities of a split, and what labels say where there are any.

    A sample is found when it, one that is equal to it in a modality, or one of its group stands among the first.

    Args:
        modalities: Of the space, in the order of the configuration.
        judging: How the split is judged.

    Attributes:
        prompts: Texts that describe classes; None where none are given.
        training: What probes of labels are fitted on; None for other samples of the judged split.
    """

    by_subset = False
    by_content = True

    def __init__(self, modalities: Sequence[str], judging: Judging) -> None:
        super().__init__()
        self.modalities, self.judging = tuple(modalities), judging
        self.columns = tuple(map(column, modalities))
        self.prompts: Prompts | None = None
        self.training: TrainingSplit | None = None

    def compute(self) -> EvaluationRecord:
        """The content of ``evaluation/metrics.json``.

        Returns:
            Means over the samples, of each the mean over its directions; of each subset of the modalities the mean
            over the directions that ask with one of them; and each direction by itself in ``directions``.
        """
        present = self.present
        whole = self.predictions["+".join(present)]
        embeddings, has = _stacked(whole, self.modalities)
        groups = [names_of(text).get(GROUP) for text in self._texts]
        directions = rankings(embeddings, has, _identities(self.contents, groups, len(has)))
        space = Space(embeddings, has, _labels(self._texts))
        details: dict[str, JsonValue] = {
            "directions": {
                self._name(pair): self._direction(pair, ranking)
                for pair, ranking in directions.items()
            },
            "gaps": gaps(space, self.modalities),
            "probes": probes(space, self.modalities, self.judging, self._training_space()),
        }
        if self.prompts is not None:
            details["zero_shot"] = zero_shot(space, self.modalities, self.prompts, self.judging)
        samples = int(rows_of("+".join(present), present, len(has)).sum())
        return EvaluationRecord(
            split=self.judging.split,
            modalities=tuple(present),
            overall=OverallScores.of(samples, self._overall(directions)),
            subsets=self._subsets(directions, present),
            details=details,
        )

    def _training_space(self) -> Space | None:
        if self.training is None:
            return None
        embeddings, has = _stacked(self.training.rows, self.modalities)
        return Space(embeddings, has, _labels(self.training.texts))

    def _overall(self, directions: Rankings) -> dict[str, Estimate]:
        rankings_of_all = list(directions.values())
        estimates = {
            f"recall_at_{count}": self._mean(
                row_means([ranking.recall(count) for ranking in rankings_of_all]), f"r{count}"
            )
            for count in RECALLS
        }
        ranks = row_means([ranking.ranks for ranking in rankings_of_all])
        precision = row_means([ranking.precision for ranking in rankings_of_all])
        chance = row_means([ranking.chance[:, 1] for ranking in rankings_of_all])
        estimates["mean_average_precision"] = self._mean(precision, "precision")
        estimates["median_rank"] = self._median(ranks, "ranks")
        estimates["recall_at_5_by_chance"] = Estimate(_mean(chance))
        return estimates

    def _subsets(
        self, directions: Rankings, present: Mapping[str, NDArray[np.bool_]]
    ) -> dict[str, ComparedScores]:
        """Of each subset of the modalities, how well those find what belongs to them."""
        whole = _recalls(directions, self.modalities, self.modalities)
        names = list(present)
        subsets = {}
        for size in range(1, len(names) + 1):
            for subset in combinations(names, size):
                name = "+".join(subset)
                recalls = _recalls(directions, self.modalities, subset)
                mean = self._mean(recalls, name)
                both = ~np.isnan(recalls)
                paired = paired_difference(
                    recalls[both],
                    whole[both],
                    seed=named_seed(self.judging.seed, name),
                    num_resamples=self.judging.num_bootstrap,
                )
                subsets[name] = ComparedScores(
                    num_samples=int(rows_of(name, present, len(whole)).sum()),
                    metrics={METRIC: mean.value},
                    interval=mean.interval,
                    difference=paired.value,
                    difference_interval=paired.interval,
                )
        return subsets

    def _direction(self, pair: tuple[int, int], ranking: Ranking) -> dict[str, JsonValue]:
        """The numbers of one direction, ready for JSON, and the nearest of its first queries."""
        name = self._name(pair)
        estimates = {
            f"recall_at_{count}": self._mean(ranking.recall(count), f"{name} r{count}")
            for count in RECALLS
        }
        estimates["mean_average_precision"] = self._mean(ranking.precision, f"{name} precision")
        estimates["median_rank"] = self._median(ranking.ranks, f"{name} ranks")
        scores = OverallScores.of(int((~np.isnan(ranking.ranks)).sum()), estimates).to_json()
        chance = {
            f"recall_at_{count}": _mean(ranking.chance[:, place])
            for place, count in enumerate(RECALLS)
        }
        asked = np.flatnonzero(~np.isnan(ranking.ranks))
        step = max(1, len(asked) // SHOWN_QUERIES)
        nearest: list[JsonValue] = [
            {
                "query": int(row),
                "rank": int(ranking.ranks[row]),
                "rows": [int(place) for place in ranking.nearest[row] if place >= 0],
                "scores": [round(float(s), 4) for s in ranking.scores[row] if not np.isnan(s)],
            }
            for row in asked[::step][:SHOWN_QUERIES]
        ]
        return {
            **scores,
            "asks": self.modalities[pair[0]],
            "finds": self.modalities[pair[1]],
            "num_candidates": ranking.num_candidates,
            "by_chance": dict(chance),
            "nearest": nearest,
        }

    def _name(self, pair: tuple[int, int]) -> str:
        return f"{self.modalities[pair[0]]}_to_{self.modalities[pair[1]]}"

    def _mean(self, values: Float, name: str) -> Estimate:
        return mean_estimate(values, self.judging, name)

    def _median(self, values: Float, name: str) -> Estimate:
        seed = named_seed(self.judging.seed, name)
        return median_estimate(values, seed=seed, num_resamples=self.judging.num_bootstrap)


def mean_estimate(values: NDArray[np.generic], judging: Judging, name: str) -> Estimate:
    """The mean of (N,) values, NaN left out, with its interval."""
    numbers = np.asarray(values, np.float64)
    defined = numbers[~np.isnan(numbers)]
    if not len(defined):
        return Estimate(None, undefined="no samples")
    interval = bootstrap_interval(
        defined, seed=named_seed(judging.seed, name), num_resamples=judging.num_bootstrap
    )
    return Estimate(float(defined.mean()), interval)


def difference(first: pa.Table, second: pa.Table, judging: Judging) -> dict[str, JsonValue]:
    """The paired difference of two models' recalls, from their rows of the same samples.

    Copies are known by what the first model's rows say of contents.
    """
    recalls = []
    names = [name for name in first.column_names if name.endswith(f"_{EMBEDDING}")]
    modalities = [name.removesuffix(f"_{EMBEDDING}") for name in names]
    contents: dict[str, Int] = {}
    if CONTENTS in first.column_names:
        digests = pa.Table.from_struct_array(first[CONTENTS].combine_chunks())
        contents = {name: digests[name].to_numpy() for name in digests.column_names}
    for rows in (first, second):
        embeddings, has = _stacked(rows, modalities)
        identities = _identities(contents, [None] * len(has), len(has))
        recalls.append(_recalls(rankings(embeddings, has, identities), modalities, modalities))
    both = ~np.isnan(recalls[0]) & ~np.isnan(recalls[1])
    return difference_json(
        paired_difference(
            recalls[0][both],
            recalls[1][both],
            seed=judging.seed,
            num_resamples=judging.num_bootstrap,
        )
    )


def summary_metrics(evaluation: EvaluationRecord) -> dict[str, float]:
    """The flat numbers of ``summary.json``, such as ``recall_at_5_image_to_text``; undefined ones left out."""
    numbers: dict[str, object] = dict(evaluation.overall.metrics)
    for subset, scores in evaluation.subsets.items():
        numbers[f"{METRIC}_{subset}"] = scores.metrics.get(METRIC)
    names = ("mean_average_precision", "median_rank", *(f"recall_at_{count}" for count in RECALLS))
    for direction, values in details_of(evaluation, "directions").items():
        numbers |= {f"{name}_{direction}": values.get(name) for name in names}
    for kind in ("probes", "zero_shot"):
        for subset, values in details_of(evaluation, kind).items():
            numbers |= {
                f"{name}_{subset}": value
                for name, value in values.items()
                if name.endswith("accuracy")
            }
    return {name: float(value) for name, value in numbers.items() if isinstance(value, int | float)}


def details_of(evaluation: EvaluationRecord, name: str) -> dict[str, dict[str, JsonValue]]:
    """A table of the evaluation: row -> column -> value; empty where it was not made."""
    values = evaluation.details.get(name)
    rows = values if isinstance(values, dict) else {}
    return {key: row for key, row in rows.items() if isinstance(row, dict)}


def _stacked(rows: pa.Table, modalities: Sequence[str]) -> tuple[Float, NDArray[np.bool_]]:
    """(N, M, D) float64 of length 1, zeros where a sample lacks the modality, and (N, M) bool."""
    pairs = [vectors(rows[column(name)]) for name in modalities]
    return np.stack([values for values, _ in pairs], 1), np.stack([has for _, has in pairs], 1)


def _labels(texts: Sequence[str | None]) -> list[str | None]:
    """The label of each sample, by the canonical texts of their targets; None where it has none."""
    return [names_of(text).get(LABEL) for text in texts]


def _identities(contents: Mapping[str, Int], groups: Sequence[str | None], count: int) -> Int:
    """(N, I) int64: the digests of contents, and a number a group; 0 for none."""
    numbers = {name: place for place, name in enumerate(sorted({g for g in groups if g}), 1)}
    of_groups = np.array([numbers.get(group or "", 0) for group in groups], dtype=np.int64)
    return np.stack([*contents.values(), of_groups.reshape(count)], axis=1)


def _recalls(directions: Rankings, modalities: Sequence[str], asking: Sequence[str]) -> Float:
    """(N,) float64: of each sample the mean over the directions that ask with some modalities; NaN without one."""
    return row_means(
        [
            ranking.recall(5)
            for (query, _), ranking in directions.items()
            if modalities[query] in asking
        ]
    )


def _mean(values: Float) -> float | None:
    return None if np.isnan(values).all() else float(np.nanmean(values))

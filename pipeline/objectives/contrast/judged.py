"""What labels say of a shared space: classes by texts, neighbours, and linear probes; and gaps between modalities."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from pipeline.metrics.probes import (
    Labelled,
    by_prototypes,
    linear_probe,
    mean_directions,
    nearest_neighbours,
)
from pipeline.metrics.resampling.bootstrap import bootstrap_interval
from pipeline.metrics.subsets import named_seed
from pipeline.objectives.base import Judging
from pipeline.objectives.contrast.rows import column, joined, vectors
from pipeline.objectives.evaluation import Prompts

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]
Labels = Sequence[str | None]

ALL = "all"  # of a sample's modalities together
MAX_PROBED = 5000  # samples of the judged split that probes are judged by
TRAIN, WITHIN = (
    "train",
    "folds",
)  # what probes are fitted on: the training split, or the other folds of the judged one


@dataclass(frozen=True)
class Space:
    """Embeddings of N samples by M modalities, and their labels.

    Attributes:
        embeddings: (N, M, D) float, of length 1; zeros where a sample lacks the modality.
        has: (N, M) bool.
        labels: Of N samples; None where there is none.
    """

    embeddings: Float
    has: Bool
    labels: Labels

    def views(self, modalities: Sequence[str]) -> Iterator[tuple[str, Float, NDArray[np.int64]]]:
        """(Name, (N, D) values, places of the samples with both a value and a label) of each modality, and of all."""
        labelled = np.array([label is not None for label in self.labels], dtype=bool)
        for name, values, present in _views(self.embeddings, self.has, modalities):
            yield name, values, np.flatnonzero(labelled & present)

    def labelled(self, values: Float, places: NDArray[np.int64]) -> Labelled:
        """Some of the samples, with one of the views' values."""
        return Labelled(values[places], [str(self.labels[place]) for place in places])


def probes(
    judged: Space, modalities: Sequence[str], judging: Judging, fitted: Space | None = None
) -> dict[str, JsonValue]:
    """How often neighbours and a linear classifier say a sample's label.

    Args:
        judged: The split.
        modalities: M names.
        judging: How the split is judged.
        fitted: The training split, whose samples are the neighbours and what the classifier is fitted on; None for
            other samples of the judged split.

    Returns:
        Modality, and ``all`` for the joint embedding -> accuracies with their intervals, and how many samples of which
        split they were ``fitted_on``; empty without labels.
    """
    others = {}
    if fitted is not None:
        views = fitted.views(modalities)
        others = {name: fitted.labelled(values, places) for name, values, places in views}
    rows: dict[str, JsonValue] = {}
    for name, values, places in judged.views(modalities):
        pool = others.get(name) or None  # the training split may have no label
        if len(places) < (2 if pool is None else 1):
            continue
        samples = judged.labelled(values, _drawn(places, judging.seed))
        row: dict[str, JsonValue] = {
            "num_samples": len(samples),
            "fitted_on": WITHIN if pool is None else TRAIN,
            "num_fitted": len(samples) if pool is None else len(pool),
            **_accuracy("knn_accuracy", nearest_neighbours(samples, pool), judging, name),
        }
        linear = linear_probe(samples, judging.seed, pool)
        if linear is not None:
            row |= _accuracy("linear_probe_accuracy", linear, judging, name)
        rows[name] = row
    return rows


def zero_shot(
    judged: Space, modalities: Sequence[str], prompts: Prompts, judging: Judging
) -> dict[str, JsonValue]:
    """How often the class whose texts are most similar to a sample is its label; no label is learned from.

    Args:
        judged: The split. Labels that are no class of the prompts are counted as wrong.
        modalities: M names.
        prompts: Texts of classes.
        judging: How the split is judged.

    Returns:
        Modality, that of the prompts left out, and ``all`` of these together -> accuracy, its interval, and chance.

    Source:
        Radford et al. 2021, "Learning transferable visual models from natural language supervision", section 3.1.2.
    """
    classes = list(dict.fromkeys(prompts.classes))
    texts, _ = vectors(prompts.rows[column(prompts.modality)])
    prototypes = mean_directions(texts, prompts.classes, classes)
    others = [place for place, name in enumerate(modalities) if name != prompts.modality]
    space = Space(judged.embeddings[:, others], judged.has[:, others], judged.labels)
    rows: dict[str, JsonValue] = {}
    for name, values, chosen in space.views([modalities[place] for place in others]):
        if not len(chosen):
            continue
        said = by_prototypes(values[chosen], prototypes)
        right = np.array(
            [
                classes[place] == judged.labels[row]
                for place, row in zip(said.tolist(), chosen.tolist(), strict=True)
            ]
        )
        rows[name] = {
            "num_samples": len(chosen),
            "num_classes": len(classes),
            "by_chance": 1 / len(classes),
            **_accuracy("zero_shot_accuracy", right, judging, name),
        }
    return rows


def gaps(space: Space, modalities: Sequence[str]) -> dict[str, JsonValue]:
    """How far the modalities lie apart: the distance of their means, and how similar pairs and strangers are.

    Source:
        Liang et al. 2022, "Mind the gap: understanding the modality gap in multi-modal contrastive representation
        learning", section 4.1 (the distance of the means).
    """
    rows: dict[str, JsonValue] = {}
    for first, second in combinations(range(len(modalities)), 2):
        both = space.has[:, first] & space.has[:, second]
        if not both.any():
            continue
        left, right = space.embeddings[both, first], space.embeddings[both, second]
        apart = np.linalg.norm(left.mean(axis=0) - right.mean(axis=0))
        pairs = float((left * right).sum(axis=1).mean())
        count = int(both.sum())
        everyone = float(left.mean(axis=0) @ right.mean(axis=0))
        strangers = (count * everyone - pairs) / (count - 1) if count > 1 else None
        rows[f"{modalities[first]}+{modalities[second]}"] = {
            "distance": float(apart),
            "similarity_of_pairs": pairs,
            "similarity_of_strangers": strangers,
        }
    return rows


def _drawn(places: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """At most ``MAX_PROBED`` of them, drawn at random."""
    if len(places) <= MAX_PROBED:
        return places
    return np.sort(np.random.default_rng(seed).choice(places, MAX_PROBED, replace=False))


def _views(
    embeddings: Float, has: Bool, modalities: Sequence[str]
) -> Iterator[tuple[str, Float, Bool]]:
    """(Name, (N, D), (N,)) of each modality, and of all together where there are several."""
    for place, name in enumerate(modalities):
        yield name, embeddings[:, place], has[:, place]
    if len(modalities) > 1:
        parts = [embeddings[:, place] for place in range(len(modalities))]
        yield ALL, joined(parts), np.asarray(has.any(axis=1))


def _accuracy(name: str, right: Bool, judging: Judging, view: str) -> dict[str, JsonValue]:
    interval = bootstrap_interval(
        right,
        seed=named_seed(judging.seed, f"{name} {view}"),
        num_resamples=judging.num_bootstrap,
    )
    ends: list[JsonValue] | None = [*interval] if interval else None
    return {name: float(right.mean()), f"{name}_interval": ends}

"""What labels say of a shared space: classes by texts that describe them, neighbours, and linear probes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from pipeline.metrics.probes import by_prototypes, linear_probe, mean_directions, nearest_neighbours
from pipeline.metrics.resampling.bootstrap import bootstrap_interval
from pipeline.metrics.subsets import named_seed
from pipeline.objectives.base import Judging, Prompts
from pipeline.objectives.contrast.rows import column, joined, vectors

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]
Labels = Sequence[str | None]

ALL = "all"  # of a sample's modalities together
MAX_PROBED = 5000  # samples that a probe looks at


def probes(
    embeddings: Float, has: Bool, modalities: Sequence[str], labels: Labels, judging: Judging
) -> dict[str, JsonValue]:
    """How often neighbours and a linear classifier say a sample's label, from others of the same split.

    Args:
        embeddings: (N, M, D) float, of length 1; zeros where a sample lacks the modality.
        has: (N, M) bool.
        modalities: M names.
        labels: Of N samples; None where there is none.
        judging: How the split is judged.

    Returns:
        Modality, and ``all`` for the joint embedding -> accuracies with their intervals; empty without labels.
    """
    labelled = np.array([label is not None for label in labels], dtype=bool)
    rows: dict[str, JsonValue] = {}
    for name, values, present in _views(embeddings, has, modalities):
        chosen = np.flatnonzero(labelled & present)[:MAX_PROBED]
        if len(chosen) < 2:
            continue
        names = [str(labels[row]) for row in chosen]
        right = nearest_neighbours(values[chosen], names)
        row = {"num_samples": len(chosen), **_accuracy("knn_accuracy", right, judging, name)}
        linear = linear_probe(values[chosen], names, judging.seed)
        if linear is not None:
            row |= _accuracy("linear_probe_accuracy", linear, judging, name)
        rows[name] = row
    return rows


def zero_shot(
    embeddings: Float,
    has: Bool,
    modalities: Sequence[str],
    labels: Labels,
    prompts: Prompts,
    judging: Judging,
) -> dict[str, JsonValue]:
    """How often the class whose texts are most similar to a sample is its label; no label is learned from.

    Args:
        embeddings: As of :func:`probes`.
        has: As of :func:`probes`.
        modalities: As of :func:`probes`.
        labels: As of :func:`probes`. Those that are no class of the prompts are counted as wrong.
        prompts: Texts of classes.
        judging: As of :func:`probes`.

    Returns:
        Modality, that of the prompts left out, and ``all`` of these together -> accuracy, its interval, and chance.

    Source:
        Radford et al. 2021, "Learning transferable visual models from natural language supervision", section 3.1.2.
    """
    classes = list(dict.fromkeys(prompts.classes))
    texts, _ = vectors(prompts.rows[column(prompts.modality)])
    prototypes = mean_directions(texts, prompts.classes, classes)
    others = [place for place, name in enumerate(modalities) if name != prompts.modality]
    labelled = np.array([label is not None for label in labels], dtype=bool)
    rows: dict[str, JsonValue] = {}
    views = _views(embeddings[:, others], has[:, others], [modalities[place] for place in others])
    for name, values, present in views:
        chosen = np.flatnonzero(labelled & present)
        if not len(chosen):
            continue
        said = by_prototypes(values[chosen], prototypes)
        right = np.array(
            [
                classes[place] == labels[row]
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

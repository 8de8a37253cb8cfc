"""The columns of a variational autoencoder: embedding, bounds, and what was made of each modality and of the label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from pipeline.modalities.rendering.base import Rendering, generated
from pipeline.objectives.base import Arrays
from pipeline.objectives.generated import rows as of_values

ELBO, BOUND = "elbo", "importance_bound"
GENERATED_LABEL, LABEL_SCORE = generated("label"), "label_score"
NOTHING = -1e29  # below it, a number stands for none


def nll(name: str) -> str:
    """The column of a modality's negative log-likelihood, nats."""
    return f"nll_{name}"


def schema(
    renderings: Mapping[str, Rendering], latent: int, *, bound: bool, labelled: bool
) -> list[pa.Field]:
    """The columns, in order.

    Args:
        renderings: Modality -> how its values are made.
        latent: Numbers of an embedding.
        bound: Whether there is an importance-weighted bound.
        labelled: Whether a label is made.
    """
    numbers = [ELBO, *([BOUND] if bound else []), *map(nll, renderings)]
    fields = of_values.schema(renderings, latent)
    fields += [pa.field(name, pa.float32()) for name in numbers]
    if labelled:
        fields += [
            pa.field(GENERATED_LABEL, pa.string()),
            pa.field(LABEL_SCORE, pa.float32()),
        ]
    return fields


def table(arrays: Arrays, renderings: Mapping[str, Rendering], classes: Sequence[str]) -> pa.Table:
    """The columns of B samples.

    Args:
        arrays: Of :meth:`pipeline.objectives.vae.model.VariationalAutoencoder.predict`.
        renderings: Modality -> how its values are made.
        classes: Labels; empty where none is made.
    """
    made = of_values.table(arrays, renderings)
    for name in (ELBO, BOUND, *map(nll, renderings)):
        if name in arrays:
            values = arrays[name]
            made = made.append_column(name, pa.array(values, pa.float32(), mask=values < NOTHING))
    if classes:
        logits = arrays[GENERATED_LABEL]
        best = logits.argmax(axis=1) if len(logits) else np.zeros(0, np.int64)
        scores = np.exp(logits.max(axis=1)) if len(logits) else np.zeros(0)
        names = [classes[place] for place in best.tolist()]
        made = made.append_column(GENERATED_LABEL, pa.array(names, pa.string()))
        made = made.append_column(LABEL_SCORE, pa.array(scores, pa.float32()))
    return made

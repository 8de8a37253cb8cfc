"""What nights of a variational autoencoder are compared by."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa

from pipeline.metrics.columns import Sums
from pipeline.objectives.vae.rows import ELBO, GENERATED_LABEL

EDGES = (-np.inf, *range(-20_000, 1000, 500), np.inf)


def summary(rows: pa.Table) -> Sums:
    """A histogram of the bound, in steps of 500 nats; and the labels that were made, where there are any."""
    bounds = rows[ELBO].combine_chunks().drop_null().to_numpy(zero_copy_only=False)
    sums: Sums = {ELBO: np.histogram(bounds, EDGES)[0].tolist()}
    if GENERATED_LABEL in rows.column_names:
        sums[GENERATED_LABEL] = dict(Counter(rows[GENERATED_LABEL].drop_null().to_pylist()))
    return sums

"""What nights of made values are compared by."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa

from pipeline.metrics.columns import Sums
from pipeline.objectives.gan.rows import ASKED, REALISM

EDGES = (-np.inf, *np.linspace(-4.0, 4.0, 17).tolist(), np.inf)


def summary(rows: pa.Table) -> Sums:
    """A histogram of the discriminator's logits in steps of a half, and what was asked for."""
    logits = rows[REALISM].combine_chunks().drop_null().to_numpy(zero_copy_only=False)
    asked = Counter(rows[ASKED].drop_null().to_pylist())
    return {
        REALISM: np.histogram(logits, EDGES)[0].tolist(),
        **({ASKED: dict(asked)} if asked else {}),
    }

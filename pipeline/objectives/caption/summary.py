"""What nights of captions are compared by."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
import pyarrow as pa

from pipeline.metrics.columns import Sums
from pipeline.metrics.texts.tokens import words_of
from pipeline.objectives.caption.rows import CAPTION

BINS, MOST_WORDS = 10, 30  # longer captions are in the last bin
BUCKETS = 64


def summary(rows: pa.Table) -> Sums:
    """How many rows have a caption of how many words, in ten bins, and which captions they have, in 64 buckets.

    Equal captions are in the same bucket: a model that says the same of everything fills one, and one that says as many
    different things as before, in the same shares, fills them as before.
    """
    captions = rows[CAPTION].to_pylist()
    lengths = [min(len(words_of(caption)), MOST_WORDS) for caption in captions]
    buckets = [
        blake2b(caption.encode(), digest_size=2).digest()[0] % BUCKETS for caption in captions
    ]
    return {
        "words": np.histogram(lengths, BINS, (0, MOST_WORDS))[0].tolist(),
        "captions": np.bincount(buckets, minlength=BUCKETS).tolist(),
    }

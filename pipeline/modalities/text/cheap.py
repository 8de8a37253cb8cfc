"""What a cheap model sees of texts: how often each short string of characters occurs, in any script."""

from __future__ import annotations

from typing import Any

import numpy as np

LENGTHS = (1, 4)  # of the strings, in characters
MAX_FEATURES = 1 << 17  # the most frequent strings


def whole_texts(values: np.ndarray) -> np.ndarray:
    """(B,) texts, as they are."""
    return values


def ngrams() -> Any:
    """Counts of strings within words, weighed by how rare they are (TF-IDF)."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    return TfidfVectorizer(
        analyzer="char_wb", ngram_range=LENGTHS, sublinear_tf=True, max_features=MAX_FEATURES
    )

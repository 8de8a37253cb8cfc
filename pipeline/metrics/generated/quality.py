"""Made values beside real ones of the same number: what a perfect maker would reach says how far off one is."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.generated.frechet import frechet_distance
from pipeline.metrics.generated.neighbours import NEIGHBOURS, precision_recall

SPLITS = 10  # into halves by chance, over which is averaged


@dataclass(frozen=True)
class Quality:
    """Means over the splits.

    Attributes:
        frechet_distance: See :func:`.frechet.frechet_distance`.
        precision: See :class:`.neighbours.PrecisionRecall`.
        recall: The same.
    """

    frechet_distance: float
    precision: float
    recall: float

    def to_dict(self) -> dict[str, float]:
        """Name -> number."""
        return asdict(self)


def qualities(
    real: NDArray[np.floating], made: NDArray[np.floating], seed: int, num_splits: int = SPLITS
) -> tuple[Quality, Quality]:
    """How near made values are to real ones, and how near other real ones are.

    The real values are halved by chance, and as many made ones as are in a half are drawn: the one half is compared
    with them, and with the other half. All distances are of sets of one size, on which they depend.

    Args:
        real: (N, D) float features.
        made: (M, D) float features.
        seed: Of the splits.
        num_splits: How many.

    Returns:
        Of the made values, and of the real ones; NaN where there are too few.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(num_splits):
        half = len(real) // 2
        order = rng.permutation(len(real))
        judge, others = real[order[:half]], real[order[half : 2 * half]]
        drawn = made[rng.permutation(len(made))[:half]]
        size = min(len(drawn), half)
        rows.append([_numbers(judge[:size], drawn[:size]), _numbers(judge[:size], others[:size])])
    ours, theirs = np.mean(rows, axis=0).tolist()
    return Quality(*ours), Quality(*theirs)


def _numbers(real: NDArray[np.floating], made: NDArray[np.floating]) -> tuple[float, float, float]:
    return (frechet_distance(real, made), *precision_recall(real, made, NEIGHBOURS))

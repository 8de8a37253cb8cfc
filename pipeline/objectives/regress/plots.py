"""The figure of targets that are numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from pipeline.reports.svg import (
    SERIES,
    WIDTH,
    Plot,
    add_axes,
    draw,
    legend_above,
    percent_axis,
    shortened,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BINS = 24


def histogram(splits: Mapping[str, np.ndarray], name: str) -> Plot | None:
    """How the numbers of each split are distributed: share of its samples over their values.

    Args:
        splits: Split -> (N,) float64.
        name: Of the numbers.
    """
    drawn = {split: numbers for split, numbers in splits.items() if len(numbers)}
    drawn = dict(list(drawn.items())[: len(SERIES)])
    if not drawn:
        return None
    edges = np.histogram_bin_edges(np.concatenate(list(drawn.values())), BINS)

    def paint(figure: Figure) -> None:
        axes = add_axes(figure, 62, 34, 12, 42)
        for color, (split, numbers) in zip(SERIES, drawn.items(), strict=False):
            shares = np.histogram(numbers, edges)[0] / len(numbers)
            axes.stairs(shares, edges, color=color, label=shortened(split), linewidth=1.5)
        percent_axis(axes.yaxis)
        axes.set_xlabel(shortened(name))
        axes.set_ylabel("share of the split")
        legend_above(axes, 4)

    words = "; ".join(
        f"{split} from {numbers.min():.4g} to {numbers.max():.4g}, mean {numbers.mean():.4g}"
        for split, numbers in drawn.items()
    )
    return draw("targets", f"Targets: {shortened(name)}", f"Targets: {words}.", (WIDTH, 260), paint)

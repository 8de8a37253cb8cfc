"""The figure of lengths of texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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


def lengths_plot(texts: Mapping[str, Sequence[int]], name: str) -> Plot | None:
    """How many words texts have: share of the texts over words, a line for each kind of text.

    Args:
        texts: Kind of text -> words of each.
        name: Of the figure.
    """
    drawn = {kind: np.asarray(lengths) for kind, lengths in texts.items() if len(lengths)}
    drawn = dict(list(drawn.items())[: len(SERIES)])
    if not drawn:
        return None
    longest = int(max(lengths.max() for lengths in drawn.values()))
    width = max(1, -(-(longest + 1) // BINS))  # whole words
    edges = np.arange(0, longest + width + 1, width) - 0.5

    def paint(figure: Figure) -> None:
        axes = add_axes(figure, 62, 34, 12, 42)
        for color, (kind, lengths) in zip(SERIES, drawn.items(), strict=False):
            shares = np.histogram(lengths, edges)[0] / len(lengths)
            axes.stairs(shares, edges, color=color, label=shortened(kind), linewidth=1.5)
        percent_axis(axes.yaxis)
        axes.set_xlabel("words")
        axes.set_ylabel("share of the texts")
        legend_above(axes, 4)

    words = "; ".join(
        f"{kind} of {lengths.min()} to {lengths.max()} words, mean {lengths.mean():.2f}"
        for kind, lengths in drawn.items()
    )
    return draw(name, "Lengths of texts", f"Lengths: {words}.", (WIDTH, 260), paint)

"""A vector as a small picture."""

from __future__ import annotations

import io

import numpy as np

WIDTH_INCHES, HEIGHT_INCHES, DOTS_PER_INCH = 3.2, 1.6, 100
# More points than that say nothing more at this width, and take their time.
MAX_POINTS = 2000
# Lines that an eye can tell apart.
MAX_CHANNELS = 12


def with_gaps(both: np.ndarray) -> np.ndarray:
    """Values and which of them are real, float (2, *shape) -> (*shape), NaN where one is missing."""
    gapped: np.ndarray = np.where(both[1] > 0, both[0], np.nan)
    return gapped


def line_plot(values: np.ndarray, like: np.ndarray | None = None) -> bytes:
    """Draws values over their place: a line a channel of a series, bars of a few features.

    Args:
        values: float (L,) or (T, C), NaN where one is missing, which leaves a gap.
        like: Values whose vertical axis it gets, so that several plots can be compared; its own by default.

    Returns:
        PNG of 320 x 160 pixels. Of long series every n-th step is drawn, and of many channels the first 12.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH_INCHES, HEIGHT_INCHES), dpi=DOTS_PER_INCH, layout="tight")
    axes = figure.add_subplot()
    places = np.arange(0, len(values), max(1, -(-len(values) // MAX_POINTS)))
    if values.ndim == 1 and len(values) <= MAX_CHANNELS:
        axes.bar(places, np.nan_to_num(values[places]))
    else:
        shown = values[places].reshape(len(places), -1)[:, :MAX_CHANNELS]
        axes.plot(places, shown, linewidth=0.8, marker="." if len(places) < 3 else "")
    axes.tick_params(labelsize=6)
    if like is not None and np.isfinite(like).any():
        low, high = float(np.nanmin(like)), float(np.nanmax(like))
        margin = 0.1 * (high - low) or 1.0
        axes.set_ylim(low - margin, high + margin)
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    return picture.getvalue()

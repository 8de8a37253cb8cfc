"""The report's figures of samples with any number of labels: average precision, and precision over recall."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.metrics.curves import thinned
from pipeline.metrics.multi_label import MultiLabelMetrics
from pipeline.reports.svg import (
    INK,
    MUTED,
    SERIES,
    SURFACE,
    WIDTH,
    Plot,
    add_axes,
    draw,
    legend_above,
    shortened,
    text_width,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_CLASSES = 20
MAX_NAMED = 4
_DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (5, 2, 1.5, 2)))


def average_precision_bars(metrics: MultiLabelMetrics) -> Plot | None:
    """Average precision of each class with its interval, the mean as a line; the weakest of many classes.

    Args:
        metrics: Of one split. Classes without a sample have no bar, and the title says how many.
    """
    scores = {
        name: score.average_precision
        for name, score in metrics.per_class.items()
        if score.average_precision.value is not None
    }
    if not scores:
        return None
    weakest = sorted(scores, key=lambda name: scores[name].value or 0.0)[:MAX_CLASSES]
    names = [shortened(name) for name in weakest]
    values = [scores[name].value or 0.0 for name in weakest]
    mean = metrics.mean_average_precision.value

    def paint(figure: Figure) -> None:
        axes = add_axes(figure, text_width(names) + 8, 12, 46, 38)
        rows = range(len(values))
        axes.barh(rows, values, height=0.7, color=SERIES[0])
        for row, name in zip(rows, weakest, strict=True):
            for color, width in ((SURFACE, 4.0), (INK, 1.5)):
                if (interval := scores[name].interval) is not None:
                    axes.plot(interval, [row, row], color=color, lw=width, solid_capstyle="round")
            axes.text(1.02, row, f"{values[row]:.3f}", va="center", ha="left", color=INK)
        if mean is not None:
            axes.axvline(mean, color=INK, linewidth=1, linestyle=(0, (2, 2)))
        axes.set(yticks=rows, ylim=(len(values) - 0.45, -0.55), xlim=(0, 1))
        axes.set_yticklabels(names, color=INK)
        axes.set_xlabel("average precision (dotted: mean of all classes)")
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)

    title = "Average precision of each class"
    if len(scores) > len(weakest):
        title = f"Average precision of the {len(weakest)} weakest of {len(scores)} classes"
    if absent := len(metrics.per_class) - len(scores):
        title += f" ({absent} without a sample left out)"
    spoken = "; ".join(f"{name} {value:.3f}" for name, value in zip(weakest, values, strict=True))
    size = (WIDTH, 50 + 22 * len(values))
    return draw("average-precision", title, f"{title}: {spoken}.", size, paint)


def precision_recall_curves(
    metrics: MultiLabelMetrics, labels: NDArray[np.bool_], probabilities: NDArray[np.float64]
) -> Plot | None:
    """Precision over recall of each class; the weakest are named, and a dot marks the threshold in use.

    Args:
        metrics: Of the same samples; its classes are in the order of the columns.
        labels: (N, K) bool.
        probabilities: (N, K) float in 0..1.
    """
    columns = {
        name: k for k, (name, score) in enumerate(metrics.per_class.items()) if score.support
    }
    if not columns:
        return None
    areas = {name: metrics.per_class[name].average_precision.value or 0.0 for name in columns}
    weakest = sorted(columns, key=lambda name: areas[name])
    named = weakest[: MAX_NAMED if len(weakest) <= MAX_NAMED else MAX_NAMED - 1]
    others = [name for name in weakest if name not in named]

    def paint(figure: Figure) -> None:
        axes = add_axes(figure, 46, 12 + 19 * math.ceil((len(named) + 1) / 2), 12, 42)
        for i, name in enumerate(others):
            label = f"{len(others)} other classes" if i == 0 else None
            curve = _curve(labels[:, columns[name]], probabilities[:, columns[name]])
            axes.plot(*curve, color=MUTED, alpha=0.45, lw=1, label=label)
        for i, name in reversed(list(enumerate(named))):
            axes.plot(
                *_curve(labels[:, columns[name]], probabilities[:, columns[name]]),
                color=SERIES[i],
                linestyle=_DASHES[i],
                label=f"{shortened(name, 10)} (AP {areas[name]:.3f})",
                zorder=3,
            )
            score = metrics.per_class[name]
            if score.recall is not None and score.precision is not None:
                axes.plot(score.recall, score.precision, "o", color=SERIES[i], zorder=4)
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02), xlabel="recall", ylabel="precision")
        legend_above(axes, 2)

    spoken = "; ".join(f"{name} {areas[name]:.3f}" for name in named)
    title = "Precision and recall (dots: at the threshold in use)"
    description = f"{title}. Lowest average precisions: {spoken}."
    return draw("multi-label-curves", title, description, (WIDTH, 370), paint)


def _curve(
    positive: NDArray[np.bool_], scores: NDArray[np.float64]
) -> tuple[Sequence[float], Sequence[float]]:
    """Recall and precision, rising recall, as few points as a reader can see."""
    from sklearn.metrics import precision_recall_curve  # costs seconds, so only where it is drawn

    precision, recall, _ = precision_recall_curve(positive, scores)
    recall, precision = thinned(recall[::-1], precision[::-1])
    return recall.tolist(), precision.tolist()

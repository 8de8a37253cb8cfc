"""The report's figures of samples with any number of labels: average precision, and precision over recall."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pipeline.metrics.curves import Curve
from pipeline.metrics.multi_label import ClassScores
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


def average_precision_bars(per_class: Mapping[str, ClassScores], mean: float | None) -> Plot | None:
    """Average precision of each class with its interval, the mean as a line; the weakest of many classes.

    Args:
        per_class: Class -> its metrics. One without a sample has no average precision and no bar; the title says how
            many there are.
        mean: Of all classes, drawn as a reference.
    """
    scores = {
        name: row.average_precision.value
        for name, row in per_class.items()
        if row.average_precision.value is not None
    }
    if not scores:
        return None
    weakest = sorted(scores, key=lambda name: scores[name])[:MAX_CLASSES]
    names = [shortened(name) for name in weakest]
    values = [scores[name] for name in weakest]

    def paint(figure: Figure) -> None:
        axes = add_axes(figure, text_width(names) + 8, 12, 46, 38)
        rows = range(len(values))
        axes.barh(rows, values, height=0.7, color=SERIES[0])
        for row, name in zip(rows, weakest, strict=True):
            for color, width in ((SURFACE, 4.0), (INK, 1.5)):
                if (interval := per_class[name].average_precision.interval) is not None:
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
    if absent := len(per_class) - len(scores):
        title += f" ({absent} without a sample left out)"
    spoken = "; ".join(f"{name} {value:.3f}" for name, value in zip(weakest, values, strict=True))
    size = (WIDTH, 50 + 22 * len(values))
    return draw("average-precision", title, f"{title}: {spoken}.", size, paint)


def precision_recall_curves(
    curves: Mapping[str, Curve],
    per_class: Mapping[str, ClassScores],
) -> Plot | None:
    """Precision over recall of each class; the weakest are named, and a dot marks the threshold in use.

    Args:
        curves: Class -> ``recall`` and ``precision``; see :func:`pipeline.metrics.multi_label.precision_recall`.
        per_class: Class -> its metrics.
    """
    if not curves:
        return None
    areas = {name: per_class[name].average_precision.value or 0.0 for name in curves}
    weakest = sorted(curves, key=lambda name: areas[name])
    named = weakest[: MAX_NAMED if len(weakest) <= MAX_NAMED else MAX_NAMED - 1]
    unnamed = [name for name in weakest if name not in named]

    def paint(figure: Figure) -> None:
        axes = add_axes(figure, 46, 12 + 19 * math.ceil((len(named) + 1) / 2), 12, 42)
        for i, name in enumerate(unnamed):
            label = f"{len(unnamed)} other classes" if i == 0 else None
            axes.plot(*_line(curves[name]), color=MUTED, alpha=0.45, lw=1, label=label)
        for i, name in reversed(list(enumerate(named))):
            axes.plot(
                *_line(curves[name]),
                color=SERIES[i],
                linestyle=_DASHES[i],
                label=f"{shortened(name, 10)} (AP {areas[name]:.3f})",
                zorder=3,
            )
            recall, precision = per_class[name].recall, per_class[name].precision
            if recall is not None and precision is not None:
                axes.plot(recall, precision, "o", color=SERIES[i], zorder=4)
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02), xlabel="recall", ylabel="precision")
        legend_above(axes, 2)

    spoken = "; ".join(f"{name} {areas[name]:.3f}" for name in named)
    title = "Precision and recall (dots: at the threshold in use)"
    description = f"{title}. Lowest average precisions: {spoken}."
    return draw("multi-label-curves", title, description, (WIDTH, 370), paint)


def _line(curve: Curve) -> tuple[Sequence[float], Sequence[float]]:
    return curve["recall"], curve["precision"]

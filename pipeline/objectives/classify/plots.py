"""The figures of a classifier's evaluation: ROC, precision and recall, reliability."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from pipeline.metrics.calibration import Calibration
from pipeline.metrics.classification import OneAgainstRest
from pipeline.metrics.curves import Curve
from pipeline.reports.curves import DASHES
from pipeline.reports.svg import (
    LINE,
    MUTED,
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


def class_curves(
    curves: Mapping[str, Curve],
    per_class: Mapping[str, OneAgainstRest],
    kind: str,
) -> Plot | None:
    """ROC (``kind="roc"``) or precision-recall (``kind="pr"``) curves, one-vs-rest.

    The weakest classes are named and coloured; the others are drawn thin, to show the spread.
    """
    if not curves:
        return None
    x, y, area, short, title = {
        "roc": ("fpr", "tpr", "roc_auc", "AUC", "ROC, one class against the rest"),
        "pr": ("recall", "precision", "average_precision", "AP", "Precision and recall"),
    }[kind]
    areas = {name: float(getattr(per_class[name], area) or 0) for name in curves}
    order = sorted(curves, key=lambda name: areas[name])
    named = order[: 4 if len(order) <= 4 else 3]

    def paint(figure: Figure) -> None:
        axes = add_axes(figure, 46, 12 + 19 * math.ceil((len(named) + 1) / 2), 12, 42)
        unnamed = [name for name in order if name not in named]
        for i, name in enumerate(unnamed):
            label = f"{len(unnamed)} other classes" if i == 0 else None
            axes.plot(curves[name][x], curves[name][y], color=MUTED, alpha=0.45, lw=1, label=label)
        for i, name in reversed(list(enumerate(named))):
            axes.plot(
                curves[name][x],
                curves[name][y],
                color=SERIES[i],
                linestyle=DASHES[i],
                label=f"{shortened(name, 10)} ({short} {areas[name]:.3f})",
                zorder=3,
            )
        if kind == "roc":
            axes.plot([0, 1], [0, 1], color=LINE, linewidth=1.5, zorder=1)
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
        axes.set_xlabel("false positive rate" if kind == "roc" else "recall")
        axes.set_ylabel("true positive rate" if kind == "roc" else "precision")
        legend_above(axes, 2)

    spoken = "; ".join(f"{name} {areas[name]:.3f}" for name in named)
    description = f"{title}. Lowest areas under the curve: {spoken}."
    return draw(f"curves-{kind}", title, description, (WIDTH, 370), paint)


def reliability(calibration: Calibration) -> Plot | None:
    """Reliability diagram: accuracy over confidence, and how many samples have that confidence."""
    bins = [row for row in calibration.bins if row.count]
    accuracies = [row.accuracy or 0.0 for row in bins]
    confidences = [row.confidence or 0.0 for row in bins]
    total = sum(row.count for row in bins)
    if not total:
        return None

    def paint(figure: Figure) -> None:
        axes = add_axes(figure, 46, 34, 12, 128)
        below = add_axes(figure, 46, 268, 12, 42)
        middle = [(row.low + row.high) / 2 for row in bins]
        width = 0.9 * (bins[0].high - bins[0].low)
        axes.bar(middle, accuracies, width=width, color=SERIES[0], label="accuracy")
        axes.plot(
            middle,
            confidences,
            "_",
            color=SERIES[1],
            markersize=14,
            markeredgewidth=2.5,
            label="mean confidence",
        )
        axes.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="accuracy")
        axes.set_xticklabels([])
        below.bar(middle, [row.count / total for row in bins], width=width, color=MUTED)
        below.set(xlim=(0, 1), ylabel="samples", xlabel="confidence")
        percent_axis(below.yaxis, 3)
        legend_above(axes, 3)

    spoken = "; ".join(
        f"confidence {row.confidence:.2f} accuracy {row.accuracy:.2f} ({row.count} samples)"
        for row in bins
    )
    description = f"Reliability diagram: {spoken}."
    return draw(
        "reliability",
        "Reliability",
        description,
        (WIDTH, 370),
        paint,
    )

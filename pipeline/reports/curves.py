"""The report's curves: training over epochs, ROC, precision and recall."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

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

_DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (5, 2, 1.5, 2)))


def training_curves(history: Sequence[Mapping[str, Any]], kept: int | None = None) -> list[Plot]:
    """Loss, accuracy and learning rate over epochs; those that the rows hold.

    Args:
        history: One row an epoch.
        kept: The epoch that was kept, which is marked.
    """
    epochs = [row.get("epoch") for row in history]
    by_epoch = None not in epochs and len(set(epochs)) == len(epochs)
    unit = "epoch" if by_epoch else "step"
    x = [_number(row.get(unit, i)) for i, row in enumerate(history)]
    marked = kept if by_epoch and kept in epochs else None
    plots = [
        _curve(
            history, x, unit, "Loss", {"train_loss": "training", "val_loss": "validation"}, marked
        ),
        _curve(
            history,
            x,
            unit,
            "Accuracy",
            {"train_accuracy": "training", "val_accuracy": "validation"},
            marked,
        ),
        _curve(history, x, unit, "Learning rate", {"learning_rate": "learning rate"}, marked),
    ]
    return [plot for plot in plots if plot]


def class_curves(
    curves: Mapping[str, Mapping[str, Sequence[float]]],
    per_class: Mapping[str, Mapping[str, Any]],
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
    order = sorted(curves, key=lambda name: per_class[name][area] or 0)
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
                linestyle=_DASHES[i],
                label=f"{shortened(name, 10)} ({short} {per_class[name][area]:.3f})",
                zorder=3,
            )
        if kind == "roc":
            axes.plot([0, 1], [0, 1], color=LINE, linewidth=1.5, zorder=1)
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
        axes.set_xlabel("false positive rate" if kind == "roc" else "recall")
        axes.set_ylabel("true positive rate" if kind == "roc" else "precision")
        legend_above(axes, 2)

    spoken = "; ".join(f"{name} {per_class[name][area]:.3f}" for name in named)
    description = f"{title}. Lowest areas under the curve: {spoken}."
    return draw(f"curves-{kind}", title, description, (WIDTH, 370), paint)


def _curve(
    history: Sequence[Mapping[str, Any]],
    x: Sequence[float],
    unit: str,
    title: str,
    columns: Mapping[str, str],
    kept: int | None,
) -> Plot | None:
    """One plot of some columns, with a line at the epoch that was kept; None where no row has any of them."""
    series = {c: [_number(row.get(c)) for row in history] for c in columns}
    series = {c: values for c, values in series.items() if not all(map(math.isnan, values))}
    if not series:
        return None

    def paint(figure: Figure) -> None:
        from matplotlib.ticker import MaxNLocator

        axes = add_axes(figure, 52, 34 if len(columns) > 1 else 14, 12, 42)
        for i, (column, values) in enumerate(series.items()):
            marker = "o" if len(history) <= 12 else ""
            axes.plot(
                x, values, marker=marker, markersize=4, color=SERIES[i], linestyle=_DASHES[i],
                label=columns[column],
            )  # fmt: skip
        if kept is not None:
            axes.axvline(kept, color=MUTED, linewidth=1, linestyle=_DASHES[2], zorder=1)
        if len(history) == 1:
            axes.set_xticks(x)
        else:
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.set_xlabel(unit)
        if title == "Accuracy":
            percent_axis(axes.yaxis)
        elif max((v for vs in series.values() for v in vs if math.isfinite(v)), default=0) < 0.1:
            axes.yaxis.set_major_formatter(_exponent)
        if len(columns) > 1:
            legend_above(axes, 2)

    last = "; ".join(f"{columns[column]} {values[-1]:.4g}" for column, values in series.items())
    name = "training-" + title.lower().replace(" ", "-")
    spoken = f"{title} over {unit}s. At the end: {last}."
    spoken += f" The dotted line marks epoch {kept}, which was kept." if kept is not None else ""
    return draw(name, title, spoken, (WIDTH - 30, 250), paint)


def _exponent(value: float, position: float) -> str:
    """``5e-4``, as people write learning rates."""
    return f"{value:.1e}".replace(".0e", "e").replace("e-0", "e-") if value else "0"


def _number(value: Any) -> float:
    """A float; NaN, which leaves a gap in a line, for what is none."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan

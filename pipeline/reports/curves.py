"""The report's curves of training over epochs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.reports.svg import (
    MUTED,
    SERIES,
    WIDTH,
    Plot,
    add_axes,
    draw,
    legend_above,
    percent_axis,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (5, 2, 1.5, 2)))


def training_curves(
    history: Sequence[Mapping[str, object]],
    kept: int | None = None,
    metrics: Mapping[str, str] | None = None,
    shares: Sequence[str] = (),
) -> list[Plot]:
    """Loss, metrics and learning rate over epochs; those that the rows hold.

    Args:
        history: One row an epoch.
        kept: The epoch that was kept, which is marked.
        metrics: Title -> metric that is drawn beside the loss.
        shares: Titles of those that are written in percent.
    """
    epochs = [row.get("epoch") for row in history]
    by_epoch = None not in epochs and len(set(epochs)) == len(epochs)
    unit = "epoch" if by_epoch else "step"
    x = [_number(row.get(unit, i)) for i, row in enumerate(history)]
    marked = kept if by_epoch and kept in epochs else None
    pairs = {
        title: {f"train_{name}": "training", f"val_{name}": "validation"}
        for title, name in {"Loss": "loss", **(metrics or {})}.items()
    }
    pairs["Learning rate"] = {"learning_rate": "learning rate"}
    plots = [
        _curve(history, x, unit, title, columns, marked, percent=title in shares)
        for title, columns in pairs.items()
    ]
    return [plot for plot in plots if plot]


def _curve(
    history: Sequence[Mapping[str, object]],
    x: Sequence[float],
    unit: str,
    title: str,
    columns: Mapping[str, str],
    kept: int | None,
    *,
    percent: bool,
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
                x, values, marker=marker, markersize=4, color=SERIES[i], linestyle=DASHES[i],
                label=columns[column],
            )  # fmt: skip
        if kept is not None:
            axes.axvline(kept, color=MUTED, linewidth=1, linestyle=DASHES[2], zorder=1)
        if len(history) == 1:
            axes.set_xticks(x)
        else:
            axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.set_xlabel(unit)
        if percent:
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

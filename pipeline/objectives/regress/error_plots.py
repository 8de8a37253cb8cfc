"""The report's figures of predicted numbers: predictions and residuals over targets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.reports.svg import (
    INK,
    SERIES,
    WIDTH,
    Plot,
    add_axes,
    draw,
    legend_above,
    shortened,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Points of one figure: enough to see the cloud, few enough for a page that a phone opens.
MAX_POINTS = 1000


def prediction_scatter(
    targets: NDArray[np.float64], predictions: NDArray[np.float64], output: str = ""
) -> Plot | None:
    """Predictions over targets, with the line on which both are equal.

    Args:
        targets: (N,) float, in the target's unit.
        predictions: (N,) float, in the same unit.
        output: The target's name, where there are several; figures of one page need different ones.

    Returns:
        The figure, or None without samples. Of many samples it shows ``MAX_POINTS``.
    """
    if not len(targets):
        return None
    rows = _shown(targets)
    ends = _widened(np.concatenate([targets, predictions]))

    def paint(figure: Figure) -> None:
        axes = add_axes(figure, 58, 34, 12, 42)
        axes.plot(ends, ends, color=INK, linewidth=1, linestyle=(0, (2, 2)), label="equal")
        _points(axes, targets[rows], predictions[rows], len(targets))
        axes.set(xlim=ends, ylim=ends, xlabel="target", ylabel="prediction")
        legend_above(axes, 2)

    error = float(np.abs(predictions - targets).mean())
    spoken = (
        f"Predictions over targets of {len(targets)} samples. Targets from {targets.min():.4g} to "
        f"{targets.max():.4g}, predictions from {predictions.min():.4g} to "
        f"{predictions.max():.4g}, mean absolute error {error:.4g}."
    )
    title = _title("Predictions and targets", output)
    return draw(_name("scatter", output), title, spoken, (WIDTH, 370), paint)


def residual_plot(
    targets: NDArray[np.float64], predictions: NDArray[np.float64], output: str = ""
) -> Plot | None:
    """Residuals (prediction minus target) over predictions, and how often each size occurs.

    Args:
        targets: (N,) float, in the target's unit.
        predictions: (N,) float, in the same unit.
        output: See :func:`prediction_scatter`.
    """
    if not len(targets):
        return None
    residuals = predictions - targets
    rows = _shown(targets)
    ends = _widened(np.append(residuals, 0.0))

    def paint(figure: Figure) -> None:
        axes = add_axes(figure, 58, 34, 92, 42)
        beside = add_axes(figure, WIDTH - 84, 34, 12, 42)
        _points(axes, predictions[rows], residuals[rows], len(targets))
        counts, edges = np.histogram(residuals, bins=25, range=ends)
        beside.barh(
            (edges[:-1] + edges[1:]) / 2,
            counts,
            height=0.9 * (edges[1] - edges[0]),
            color=SERIES[0],
        )
        for panel in (axes, beside):
            panel.axhline(0, color=INK, linewidth=1, linestyle=(0, (2, 2)))
            panel.set_ylim(ends)
        axes.set(
            xlim=_widened(predictions), xlabel="prediction", ylabel="residual: prediction − target"
        )
        beside.set_yticklabels([])
        beside.set_xticks([])
        beside.set_xlabel("samples")
        beside.grid(visible=False)
        legend_above(axes, 1)

    low, high = np.percentile(residuals, [5, 95])
    spoken = (
        f"Residuals, prediction minus target, of {len(targets)} samples: mean "
        f"{residuals.mean():.4g}, nine in ten between {low:.4g} and {high:.4g}."
    )
    title = _title("Residuals", output)
    return draw(_name("residuals", output), title, spoken, (WIDTH, 320), paint)


def _points(axes: Axes, x: NDArray[np.float64], y: NDArray[np.float64], total: int) -> None:
    """The cloud, with a label that says how many of all samples it shows."""
    label = f"{total} samples" if len(x) == total else f"{len(x)} of {total} samples"
    axes.plot(x, y, ".", color=SERIES[0], markersize=6, markeredgewidth=0, alpha=0.5, label=label)


def _shown(targets: NDArray[np.float64]) -> NDArray[np.int64]:
    """Indices of the samples that are drawn: spread evenly over the order of the targets, ends included."""
    order = np.argsort(targets, kind="stable")
    if len(order) <= MAX_POINTS:
        return order
    return order[np.linspace(0, len(order) - 1, MAX_POINTS).round().astype(np.int64)]


def _widened(values: NDArray[np.float64]) -> tuple[float, float]:
    """Ends of an axis that shows all values, also where they are equal."""
    low, high = float(values.min()), float(values.max())
    margin = 0.04 * (high - low) or 0.04 * abs(high) or 1.0
    return low - margin, high + margin


def _title(title: str, output: str) -> str:
    return f"{title}: {shortened(output)}" if output else title


def _name(figure: str, output: str) -> str:
    """A name of letters and dashes, different for different outputs."""
    letters = "".join(chr(ord("a") + int(digit, 16)) for digit in output.encode().hex())
    return f"regression-{figure}" + (f"-{letters}" if letters else "")

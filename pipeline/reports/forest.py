"""Dots with their 95 % intervals below each other, on one axis: which differ, and which may not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.metrics.record import Interval
from pipeline.reports.content import ReportData
from pipeline.reports.section import Measure, in_sentence
from pipeline.reports.svg import (
    INK,
    MUTED,
    SERIES,
    WIDTH,
    Plot,
    add_axes,
    draw,
    percent_axis,
    shortened,
    text_width,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROW_PX = 24
LABEL_COLUMNS = 26


@dataclass(frozen=True)
class Dot:
    """A row of the plot.

    Attributes:
        label: Before it.
        value: Where the dot is.
        interval: Its line; None draws the dot alone.
        is_muted: Whether it is there to be compared with.
    """

    label: str
    value: float
    interval: Interval | None = None
    is_muted: bool = False


@dataclass(frozen=True)
class SliceRow:
    """One slice; its value where it has none is None."""

    value: str
    score: float | None
    interval: Interval | None
    num_samples: int | None


@dataclass(frozen=True)
class SliceView:
    """The slices of one place."""

    place: str
    rows: Sequence[SliceRow]
    plot: Plot
    measure: Measure


def forest(
    name: str,
    title: str,
    dots: Sequence[Dot],
    axis: str,
    *,
    percent: bool,
    reference: float | None = None,
) -> Plot:
    """Draws dots and intervals, the first at the top.

    Args:
        name: Unique in the page.
        title: Caption.
        dots: At least one.
        axis: What the values are.
        percent: Whether they are shares.
        reference: Where a line stands, such as what all of them together reach.
    """
    labels = [shortened(dot.label, LABEL_COLUMNS) for dot in dots]

    def paint(figure: Figure) -> None:
        axes = add_axes(figure, text_width(labels) + 8, 8, 16, 42)
        if reference is not None:
            axes.axvline(reference, color=MUTED, linewidth=1, linestyle=(0, (2, 2)), zorder=1)
        for y, dot in enumerate(dots):
            color = MUTED if dot.is_muted else SERIES[0]
            if dot.interval is not None:
                axes.plot(dot.interval, [y, y], color=color, linewidth=2, solid_capstyle="round")
            axes.plot(
                [dot.value], [y], marker="s" if dot.is_muted else "o", markersize=6, color=color
            )
        axes.set(yticks=range(len(dots)), ylim=(len(dots) - 0.4, -0.6))
        axes.set_yticklabels(labels, color=INK)
        axes.set_xlim(*_limits(dots, reference, percent=percent))
        if percent:
            percent_axis(axes.xaxis, 4)
        axes.set_xlabel(axis)
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)

    spoken = "; ".join(_spoken(dot, percent=percent) for dot in dots)
    size = (WIDTH + 24, 52 + ROW_PX * len(dots))
    return draw(name, title, f"{title}: {spoken}.", size, paint)


def slice_views(data: ReportData) -> list[SliceView]:
    """A plot and a table a place that samples are told apart by; none where there is none."""
    if data.section is None or data.evaluation is None:
        return []
    measure, evaluation = data.section.measure, data.evaluation
    table = evaluation.slices or ()
    views = []
    for index, place in enumerate(dict.fromkeys(row.place for row in table)):
        rows = [
            SliceRow(
                row.value,
                row.metrics.get(measure.name),
                row.interval_of(measure.name),
                row.num_samples,
            )
            for row in table
            if row.place == place
        ]
        dots = [
            Dot(f"{row.value} (n = {row.num_samples})", row.score, row.interval)
            for row in rows
            if row.score is not None
        ]
        if dots:
            axis = in_sentence(measure.title) + " (dotted: of all samples)"
            plot = forest(
                f"slices-{index}",
                f"{measure.title} by {place}",
                dots,
                axis,
                percent=measure.percent,
                reference=evaluation.overall.metrics.get(measure.name),
            )
            views.append(SliceView(place, rows, plot, measure))
    return views


def _limits(dots: Sequence[Dot], reference: float | None, *, percent: bool) -> tuple[float, float]:
    """Where the axis begins and ends: around all that is drawn, and a share not beyond 0 and 1."""
    ends = [end for dot in dots for end in (dot.value, *(dot.interval or ()))]
    ends += [] if reference is None else [reference]
    low, high = min(ends), max(ends)
    margin = 0.06 * (high - low) or 0.05 * max(abs(high), 0.1)
    if percent:
        return max(0.0 - margin / 4, low - margin), min(1.0 + margin / 4, high + margin)
    return low - margin, high + margin


def _spoken(dot: Dot, *, percent: bool) -> str:
    def words(value: float) -> str:
        return f"{100 * value:.1f} %" if percent else f"{value:.3g}"

    ends = f", 95 % {words(dot.interval[0])} to {words(dot.interval[1])}" if dot.interval else ""
    return f"{dot.label} {words(dot.value)}{ends}"

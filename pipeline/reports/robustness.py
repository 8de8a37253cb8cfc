"""How a metric falls while one modality gets worse: a plot a modality, and the table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.metrics.record import CorruptedScores, Interval
from pipeline.reports.content import ReportData
from pipeline.reports.curves import DASHES
from pipeline.reports.plots import written
from pipeline.reports.section import Measure, in_sentence
from pipeline.reports.svg import (
    INK,
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

MARKERS = "os^Dv"
CLEAN = "as it is"
LEGEND_COLUMNS = 4


@dataclass(frozen=True)
class RobustnessRow:
    """One case, in words; a case of uncorrupted samples has no severity."""

    modality: str
    corruption: str
    severity: str
    value: float | None
    interval: Interval | None
    num_samples: int | None


@dataclass(frozen=True)
class RobustnessView:
    """A plot a modality, and all rows behind them."""

    plots: Sequence[Plot]
    rows: Sequence[RobustnessRow]
    measure: Measure


def robustness_view(data: ReportData) -> RobustnessView | None:
    """What is shown of an evaluation's corrupted samples; None where there are none."""
    table = data.evaluation.robustness if data.evaluation is not None else None
    if data.section is None or not table:
        return None
    measure = data.section.measure
    modalities = dict.fromkeys(row.modality for row in table)
    plots = [
        _plot(name, [row for row in table if row.modality == name], measure) for name in modalities
    ]
    rows = [
        RobustnessRow(
            row.modality,
            row.corruption,
            CLEAN if row.severity is None else f"{row.severity:g} ({row.unit})",
            row.metrics.get(measure.name),
            row.interval_of(measure.name),
            row.num_samples,
        )
        for row in table
    ]
    return RobustnessView(plots, rows, measure)


def _plot(modality: str, table: Sequence[CorruptedScores], measure: Measure) -> Plot:
    """A line for each way in which a modality gets worse, over the steps of its severity."""
    lines = {
        way: [row for row in table if row.corruption == way and measure.name in row.metrics]
        for way in dict.fromkeys(row.corruption for row in table)
    }
    steps = max(map(len, lines.values()))

    def paint(figure: Figure) -> None:
        axes = add_axes(figure, 52, 18 + 18 * -(-len(lines) // LEGEND_COLUMNS), 12, 42)
        for index, (way, rows) in enumerate(lines.items()):
            points = [(x, row.metrics[measure.name], row) for x, row in enumerate(rows)]
            drawn = [(x, value, row) for x, value, row in points if value is not None]
            color = SERIES[index % len(SERIES)]
            axes.plot(
                [x for x, _, _ in drawn],
                [value for _, value, _ in drawn],
                marker=MARKERS[index % len(MARKERS)],
                markersize=5,
                color=color,
                linestyle=DASHES[index % len(DASHES)],
                label=shortened(way),
            )
            for x, _, row in drawn:
                ends = row.interval_of(measure.name)
                if ends is not None and x:
                    side = x + 0.05 * (index - (len(lines) - 1) / 2)
                    axes.plot([side, side], ends, color=color, linewidth=1)
        axes.set_xticks(range(steps))
        axes.set_xticklabels([CLEAN, *map(str, range(1, steps))], color=INK)
        axes.set_xlim(-0.5, steps - 0.75)
        axes.set_xlabel("severity, from the mildest to the worst")
        axes.set_ylabel(in_sentence(measure.title), labelpad=2)
        if measure.percent:
            axes.set_ylim(0, 1.02)
            percent_axis(axes.yaxis)
        legend_above(axes, LEGEND_COLUMNS)

    spoken = "; ".join(
        f"{way} ({rows[0].unit}): {_spoken(rows, measure)}" for way, rows in lines.items()
    )
    title = f"{measure.title} while {modality} gets worse"
    return draw(
        f"robustness-{modality.replace('_', '-')}",
        title,
        f"{title}. {spoken}.",
        (WIDTH - 10, 270),
        paint,
    )


def _spoken(rows: Sequence[CorruptedScores], measure: Measure) -> str:
    words = []
    for row in rows:
        value = row.metrics.get(measure.name)
        at = CLEAN if row.severity is None else f"at {row.severity:g}"
        words.append(f"{at} {'undefined' if value is None else written(value, measure)}")
    return ", ".join(words)

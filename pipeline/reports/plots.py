"""The figures of the report, from plain data.

All are designed for a width of about 380 CSS pixels, so that text is readable on a phone; a wide
window shows several beside each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pipeline.reports.comparison import ALONE, ComparisonRow
from pipeline.reports.content import SplitCounts
from pipeline.reports.section import Measure, in_sentence
from pipeline.reports.svg import (
    INK,
    SERIES,
    SURFACE,
    WIDTH,
    Plot,
    add_axes,
    draw,
    legend_above,
    percent_axis,
    percent_tick,
    shortened,
    text_columns,
    text_width,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_LABELS = 20


def by_modality(
    rows: Sequence[ComparisonRow],
    measure: Measure,
    reference: tuple[float, str] | None = None,
) -> Plot | None:
    """Horizontal bars with 95 % intervals, one group a subset of modalities.

    Args:
        rows: Of :func:`pipeline.reports.comparison.comparison_rows`.
        measure: What they are compared by.
        reference: What a model that learned nothing reaches, which is drawn, and its name.
    """
    if not rows:
        return None
    names = [shortened(_compact(row.name), 24) for row in rows]
    # A model trained alone stands close to its masked twin, groups stand apart.
    tops, y = [], 0.0
    for i, row in enumerate(rows):
        y += 0.0 if i == 0 else 0.85 if row.kind == ALONE else 1.25
        tops.append(y)
    ends = [row.high if row.high is not None else row.value for row in rows]
    limit = (
        1.0 if measure.percent else 1.05 * max([*ends, reference[0] if reference else 0.0, 1e-9])
    )

    def paint(figure: Figure) -> None:
        axes = add_axes(figure, text_width(names) + 6, 34, 52, 38)
        for label, kind in (("this model", "joint"), ("trained on these alone", ALONE)):
            chosen = [(y, row) for y, row in zip(tops, rows, strict=True) if row.kind == kind]
            if chosen:
                axes.barh(
                    [y for y, _ in chosen],
                    [row.value for _, row in chosen],
                    height=0.7,
                    color=SERIES[kind == ALONE],
                    label=label,
                )
        for y, row in zip(tops, rows, strict=True):
            _interval(axes, y, row)
            end = written(row.value, measure)
            axes.text(1.02 * limit, y, end, va="center", ha="left", color=INK)
        if reference is not None:
            axes.axvline(reference[0], color=INK, linewidth=1, linestyle=(0, (2, 2)))
        axes.set(yticks=tops, ylim=(tops[-1] + 0.7, -0.7), xlim=(0, limit))
        axes.set_yticklabels(names, color=INK)
        if measure.percent:
            axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
            axes.xaxis.set_major_formatter(percent_tick)
        axes.set_xlabel(
            in_sentence(measure.title) + (f" (dotted: {reference[1]})" if reference else "")
        )
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
        legend_above(axes, 2)

    words = "; ".join(f"{row.name} ({row.kind}) {written(row.value, measure)}" for row in rows)
    title = f"{measure.title} by modality"
    size = (WIDTH + 24, 72 + 22 * (tops[-1] + 1.4))
    return draw("modality", title, f"{title}: {words}.", size, paint)


def written(value: float, measure: Measure) -> str:
    """A value of a metric in a figure."""
    return f"{100 * value:.1f} %" if measure.percent else f"{value:.3g}"


def label_balance(splits: Mapping[str, SplitCounts]) -> Plot | None:
    """Share of each label within each split; the most frequent labels where there are many.

    Args:
        splits: Split -> its labels, and its samples; without that number each sample has one label.
    """
    totals: dict[str, int] = {}
    for split in splits.values():
        for label, count in split.labels.items():
            totals[label] = totals.get(label, 0) + count
    if not totals:
        return None
    labels = list(totals)
    if len(labels) > MAX_LABELS:
        labels = sorted(labels, key=lambda label: -totals[label])[:MAX_LABELS]
    names = [shortened(label) for label in labels]
    drawn = [name for name, split in splits.items() if split.labels][: len(SERIES)]
    bar = 0.8 / len(drawn)

    def paint(figure: Figure) -> None:
        axes = add_axes(figure, text_width(names) + 8, 34, 12, 38)
        for i, split in enumerate(drawn):
            counts = splits[split].labels
            total = splits[split].num_samples or sum(counts.values()) or 1
            axes.barh(
                [k + (i + 0.5) * bar - 0.4 for k in range(len(labels))],
                [counts.get(label, 0) / total for label in labels],
                height=0.86 * bar,
                color=SERIES[i],
                label=shortened(split),
            )
        axes.set(yticks=range(len(labels)), ylim=(len(labels) - 0.45, -0.55))
        axes.set_yticklabels(names, color=INK)
        percent_axis(axes.xaxis)
        axes.set_xlabel("share of the split's samples")
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
        legend_above(axes, 4)

    title = "Label balance"
    if len(totals) > len(labels):
        title += f" (the {len(labels)} most frequent of {len(totals)} labels)"
    spoken = "; ".join(f"{label} {totals[label]}" for label in labels)
    size = (WIDTH, 72 + len(labels) * (10 + 7 * len(drawn)))
    return draw("balance", title, f"Samples of each label, all splits: {spoken}.", size, paint)


def _interval(axes: Axes, y: float, row: ComparisonRow) -> None:
    """The interval's line, with a halo so that it shows on the bar and beside it."""
    if row.low is None or row.high is None:
        return
    for color, width in ((SURFACE, 4.0), (INK, 1.5)):
        axes.plot([row.low, row.high], [y, y], color=color, lw=width, solid_capstyle="round")


def _compact(name: str) -> str:
    """Names of many modalities without spaces."""
    return name if text_columns(name) <= 22 else name.replace(" + ", "+")

"""A comparison as a page of HTML, which needs nothing beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.evaluation.comparison import Comparison, Number, Pair, Row
from pipeline.evaluation.presence import Portion
from pipeline.evaluation.significance import LEVEL
from pipeline.reports.forest import Dot, forest
from pipeline.reports.page import render_template
from pipeline.reports.section import Measure
from pipeline.reports.svg import Plot

MAX_PAIRS = 20  # in the table; comparison.json has all
MAX_DOTS = 40  # of a plot


@dataclass(frozen=True)
class Cell:
    """A number of a table; empty where there is none.

    Attributes:
        value: With its deviation over seeds, where there is one.
        ends: Its interval.
    """

    value: str = ""
    ends: str = ""


@dataclass(frozen=True)
class TableRow:
    """A row of any of the tables."""

    name: str
    cells: Sequence[Cell]
    baseline: bool = False
    is_clear: bool = False


@dataclass(frozen=True)
class Table:
    """A table below a heading of its own.

    Attributes:
        title: The heading.
        header: Of its columns, that of the names first.
        rows: The models, or pairs.
        plots: Beside it.
        note: What is to be said before it.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[TableRow]
    plots: Sequence[Plot] = ()
    note: str = ""


def to_html(comparison: Comparison, measure: Measure) -> str:
    """The page.

    Args:
        comparison: What was found.
        measure: What its models are compared by.
    """
    return render_template(
        "evaluation/comparison.html",
        comparison=comparison,
        models=_models(comparison, measure),
        pairs=_pairs(comparison, measure) if comparison.pairs else None,
        tests=sorted({pair.test for pair in comparison.pairs if pair.test}),
        level=LEVEL,
        num_left=max(0, len(comparison.pairs) - MAX_PAIRS),
        has_seeds=any(len(row.runs) > 1 for row in comparison.rows),
        portions=_portions(comparison, measure),
        runs={row.name: row.runs for row in comparison.rows if not row.baseline},
    )


def _models(comparison: Comparison, measure: Measure) -> Table:
    names = list(dict.fromkeys(name for row in comparison.rows for name in row.metrics))
    names = list(dict.fromkeys([comparison.metric, *names]))
    validated = any(row.validation.value is not None for row in comparison.rows)
    header = [
        "Model",
        comparison.title(comparison.metric),
        *([f"Validation {comparison.words(comparison.validation)}"] if validated else []),
        "Parameters",
        "Training, s",
        "Samples/s",
        *map(comparison.title, names[1:]),
    ]
    rows = [
        TableRow(row.name, _cells(row, names, validated=validated), row.baseline)
        for row in comparison.rows
    ]
    plots = [_plot_of(comparison, name, measure) for name in names]
    return Table("Models", header, rows, [plot for plot in plots if plot is not None])


def _cells(row: Row, names: Sequence[str], *, validated: bool) -> list[Cell]:
    metrics = [_cell(row.metrics.get(name, Number(None))) for name in names]
    parameters = "" if row.parameters is None else f"{row.parameters:,.0f}"
    return [
        metrics[0],
        *([_cell(row.validation)] if validated else []),
        Cell(parameters.replace(",", "\u202f")),
        Cell("" if row.training_seconds is None else f"{row.training_seconds:.1f}"),
        Cell("" if row.samples_per_second is None else f"{row.samples_per_second:.0f}"),
        *metrics[1:],
    ]


def _plot_of(comparison: Comparison, metric: str, measure: Measure) -> Plot | None:
    """The dots of a metric that has intervals; None of others."""
    numbers = [(row, row.metrics.get(metric)) for row in comparison.rows[:MAX_DOTS]]
    dots = [
        Dot(row.name, number.value, number.interval, is_muted=row.baseline)
        for row, number in numbers
        if number is not None and number.value is not None
    ]
    is_measure = metric == measure.name
    if not dots or not (is_measure or any(dot.interval for dot in dots)):
        return None
    title, words = comparison.title(metric), comparison.words(metric)
    percent = is_measure and measure.percent
    return forest(f"metric-{metric.replace('_', '-')}", title, dots, words, percent=percent)


def _pairs(comparison: Comparison, measure: Measure) -> Table:
    best = comparison.rows[0].name
    rows = [
        TableRow(
            f"{pair.first} − {pair.second}",
            [
                _cell(Number(pair.difference, pair.interval), signed=True),
                Cell(_p(pair.p)),
                Cell(_p(pair.p_corrected)),
                Cell("yes" if _is_clear(pair) else "no"),
            ],
            is_clear=_is_clear(pair),
        )
        for pair in comparison.pairs[:MAX_PAIRS]
    ]
    dots = [
        Dot(pair.second, pair.difference, pair.interval, is_muted=not _is_clear(pair))
        for pair in comparison.pairs
        if pair.first == best and pair.difference is not None
    ][:MAX_DOTS]
    score = comparison.words(comparison.score)
    plots = []
    if dots:
        title = f"{best} minus each of the others"
        axis = f"difference in {score}"
        plots = [forest("differences", title, dots, axis, percent=False, reference=0.0)]
    header = ["First − second", f"Difference in {score}", "p", "p, corrected", "Clear"]
    return Table("Differences on the same samples", header, rows, plots)


def _portions(comparison: Comparison, measure: Measure) -> list[Table]:
    """Scores by what samples have, by each place of their metadata, and by what was made worse."""
    score = comparison.title(comparison.score)
    tables = []
    if comparison.presence:
        by_modalities = {each.modalities: each for each in comparison.presence}
        tables.append(_portion(f"{score} by what a sample has", by_modalities, comparison))
    for place in dict.fromkeys(each.place for each in comparison.slices):
        by_value = {each.value: each for each in comparison.slices if each.place == place}
        tables.append(_portion(f"{score} by {place}", by_value, comparison))
    if comparison.robustness:
        by_way = {
            f"{each.modality}, {each.corruption}: {each.severity}": each
            for each in comparison.robustness
        }
        title = f"{measure.title} while a modality gets worse, as it is and at the worst"
        tables.append(_portion(title, by_way, comparison))
    if comparison.worsened:
        tables.append(_worsened(comparison))
    return tables


def _worsened(comparison: Comparison) -> Table:
    """The best network minus each other one, a row for each severity; of many, the first few."""
    seconds = list(dict.fromkeys(pair.second for pair in comparison.worsened))[:MAX_DOTS]
    cells: dict[str, dict[str, Cell]] = {}
    for pair in comparison.worsened:
        name = f"{pair.modality}, {pair.corruption}: {pair.severity} (n = {pair.num_samples})"
        number = Number(pair.difference, pair.interval)
        cells.setdefault(name, {})[pair.second] = _cell(number, signed=True)
    first = comparison.worsened[0].first
    return Table(
        "Differences while a modality gets worse",
        ["Samples", *(f"{first} − {second}" for second in seconds)],
        [
            TableRow(name, [row.get(second, Cell()) for second in seconds])
            for name, row in cells.items()
        ],
        note=f"Differences in {comparison.words(comparison.score)}, sample by sample, with 95 % intervals of the "
        "pairs; they are not corrected for how many they are.",
    )


def _portion(title: str, portions: Mapping[str, Portion], comparison: Comparison) -> Table:
    rows = [
        TableRow(
            row.name,
            [
                _cell(Number(each.scores.get(row.name), each.intervals.get(row.name)))
                for each in portions.values()
            ],
            row.baseline,
        )
        for row in comparison.rows
        if any(row.name in each.scores for each in portions.values())
    ]
    header = ["Model", *(f"{name} (n = {each.num_samples})" for name, each in portions.items())]
    return Table(title, header, rows)


def _is_clear(pair: Pair) -> bool:
    return pair.p_corrected is not None and pair.p_corrected < LEVEL


def _cell(number: Number, *, signed: bool = False) -> Cell:
    if number.value is None:
        return Cell("–")
    sign = "+" if signed else ""
    text = f"{number.value:{sign}.3f}"
    if number.deviation is not None:
        text += f" ± {number.deviation:.3f}"
    ends = ""
    if number.interval is not None:
        ends = "{:{sign}.3f} to {:{sign}.3f}".format(*number.interval, sign=sign)
    return Cell(text.replace("-", "−"), ends.replace("-", "−"))


def _p(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" if value >= 0.0001 else "< 0.0001"

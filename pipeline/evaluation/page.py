"""A comparison as a page of Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pipeline.evaluation.comparison import Comparison, Number, Pair, Row
from pipeline.evaluation.significance import LEVEL

MAX_PAIRS = 20  # on the page; comparison.json has all


def to_markdown(comparison: Comparison) -> str:
    """The page: the models, what is sure of their differences, and how to read it."""
    return "\n".join(_lines(comparison)) + "\n"


def _lines(comparison: Comparison) -> Iterator[str]:
    yield f"# {len(comparison.rows)} models on {comparison.num_samples} samples of {comparison.split}"
    yield ""
    for words in filter(None, (comparison.choice, comparison.verdict)):
        yield f"**{words}**"
        yield ""
    yield from _table(_header(comparison), [_cells(row, comparison) for row in comparison.rows])
    yield ""
    words = "Intervals in brackets are of 95 %, from resampled samples"
    if any(len(row.runs) > 1 for row in comparison.rows):
        words += "; behind ±, the standard deviation over seeds"
    yield f"{words}. Samples a second are those of the evaluation, which predicts every subset of the modalities."
    if comparison.pairs:
        yield ""
        yield from _pairs(comparison)
    if comparison.presence:
        yield ""
        yield from _by_presence(comparison)
    for note in comparison.notes:
        yield ""
        yield note


def _header(comparison: Comparison) -> list[str]:
    names = map(comparison.words, _metrics(comparison))
    validation = [f"val {comparison.words(comparison.validation)}"] * _has_validation(comparison)
    return ["model", *validation, *names, "parameters", "training s", "samples/s"]


def _metrics(comparison: Comparison) -> list[str]:
    """Of all rows, the one that they are ordered by first."""
    names = dict.fromkeys(name for row in comparison.rows for name in row.metrics)
    return list({comparison.metric: None, **names})


def _has_validation(comparison: Comparison) -> bool:
    return any(row.validation.value is not None for row in comparison.rows)


def _cells(row: Row, comparison: Comparison) -> list[str]:
    empty = Number(None)
    validation = [_number(row.validation)] * _has_validation(comparison)
    return [
        f"{row.name} (baseline)" if row.baseline else row.name,
        *validation,
        *(_number(row.metrics.get(name, empty)) for name in _metrics(comparison)),
        "" if row.parameters is None else f"{row.parameters:,.0f}",
        "" if row.training_seconds is None else f"{row.training_seconds:.1f}",
        "" if row.samples_per_second is None else f"{row.samples_per_second:.0f}",
    ]


def _by_presence(comparison: Comparison) -> Iterator[str]:
    yield f"## {comparison.title(comparison.score)} by what a sample has"
    yield ""
    names = [row.name for row in comparison.rows if row.name in comparison.presence[0].scores]
    header = [
        "model",
        *(f"{each.modalities} (n = {each.num_samples})" for each in comparison.presence),
    ]
    rows = [
        [
            name,
            *(
                _number(Number(each.scores[name], each.intervals.get(name)))
                for each in comparison.presence
            ),
        ]
        for name in names
    ]
    yield from _table(header, rows)


def _pairs(comparison: Comparison) -> Iterator[str]:
    best = comparison.rows[0].name
    shown = comparison.pairs
    if len(shown) > MAX_PAIRS:
        shown = tuple(pair for pair in shown if best in (pair.first, pair.second))[:MAX_PAIRS]
    yield f"## Differences in {comparison.words(comparison.score)}"
    yield ""
    header = ["first", "second", "first - second", "p", "p, corrected", "clear"]
    yield from _table(header, [_pair(pair) for pair in shown])
    yield ""
    tests = sorted({pair.test for pair in comparison.pairs if pair.test})
    yield (
        f"On the same samples. Tests: {', '.join(tests) or 'none'}; p corrected for all {len(comparison.pairs)} pairs "
        f"(Holm); clear below {LEVEL}."
    )
    if len(shown) < len(comparison.pairs):
        yield f"The other {len(comparison.pairs) - len(shown)} pairs are in comparison.json."


def _pair(pair: Pair) -> list[str]:
    sure = pair.p_corrected is not None and pair.p_corrected < LEVEL
    return [
        pair.first,
        pair.second,
        _number(Number(pair.difference, pair.interval), signed=True),
        "" if pair.p is None else f"{pair.p:.4f}",
        "" if pair.p_corrected is None else f"{pair.p_corrected:.4f}",
        "yes" if sure else "no",
    ]


def _number(number: Number, *, signed: bool = False) -> str:
    if number.value is None:
        return ""
    sign = "+" if signed else ""
    text = f"{number.value:{sign}.3f}"
    if number.deviation is not None:
        text += f" ± {number.deviation:.3f}"
    if number.interval is not None:
        text += " [{:{sign}.3f}, {:{sign}.3f}]".format(*number.interval, sign=sign)
    return text


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Padded, so that it reads as well on a terminal."""
    cells = [[cell.replace("|", "\\|") for cell in row] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in cells
    ]
    yield lines[0]
    yield "| " + " | ".join("-" * width for width in widths) + " |"
    yield from lines[1:]

"""What lint found, as text for a terminal: the most important first, at most 100 columns wide."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from pipeline.inspection.report import (
    Contents,
    Estimate,
    Level,
    LintReport,
    Problem,
    Quantity,
)
from pipeline.metrics.distribution import Spread
from pipeline.safe_text.printable import printable

WIDTH = 100
LABELS_WIDTH = 62  # of a split's labels, in columns
MAX_ROWS = 12  # of a table; lint.json has all
EXAMPLES: Mapping[Level, int] = {"error": 2, "warning": 1, "note": 0}  # of a problem
MARKS: Mapping[Level, str] = {"error": "!!", "warning": "!", "note": "-"}


def render(report: LintReport) -> str:
    """The report as text, in which no key, label or name is a command to the terminal."""
    report = LintReport.from_json(_printable(report.to_json()))
    sections = [
        _head(report.total),
        _problems(report.problems),
        _splits(report),
        _modalities(report),
        _fields(report.total),
        _media(report.total.media),
        _labels(report),
        _estimate(report.estimate),
    ]
    return "\n\n".join(
        "\n".join(_cut(line) for line in lines) for lines in map(list, sections) if lines
    )


def _printable(value: object) -> object:
    """A tree whose texts and names are fit for a line of a terminal."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Mapping):
        return {_printable(name): _printable(item) for name, item in value.items()}
    return [_printable(item) for item in value] if isinstance(value, list) else value


def _head(total: Contents) -> Iterator[str]:
    yield (
        f"lint: {_many(total.samples, 'sample')} in {_many(total.shards, 'shard')}, "
        f"{_bytes(total.bytes)}; {total.samples_bad or 'none'} bad, "
        f"{total.shards_damaged or 'no'} shard{'s' * (total.shards_damaged > 1)} damaged"
    )
    if written := total.indexes.get("written"):
        yield f"an index was written beside {_many(written, 'shard')}"


def _problems(problems: Sequence[Problem]) -> Iterator[str]:
    if not problems:
        yield "No problems found."
        return
    yield "PROBLEMS"
    width = max(len(_count(problem.count)) for problem in problems[:MAX_ROWS])
    for problem in problems[:MAX_ROWS]:
        yield f"{MARKS[problem.level]:>3} {_count(problem.count):>{width}} {problem.what}"
        for example in problem.examples[: EXAMPLES[problem.level]]:
            yield f"    {'':>{width}} {example}"
    if len(problems) > MAX_ROWS:
        yield f"    and {len(problems) - MAX_ROWS} more in lint.json"


def _splits(report: LintReport) -> Iterator[str]:
    rows = [
        ["SPLIT", "samples", "bad", "shards", "damaged", "size", "samples/shard", "median sample"]
    ]
    for name, contents in report.splits.items():
        rows.append(
            [
                name,
                _count(contents.samples),
                _count(contents.samples_bad),
                _count(contents.shards),
                _count(contents.shards_damaged),
                _bytes(contents.bytes),
                _span(contents.shard_samples, _count),
                _bytes(contents.sample_bytes.median or 0),
            ]
        )
    yield from _table(rows)


def _modalities(report: LintReport) -> Iterator[str]:
    splits = report.splits
    rows = [["MODALITIES", *splits, "share"]]
    total = sum(report.total.modalities.values()) or 1
    for name, number in list(report.total.modalities.items())[:MAX_ROWS]:
        counts = [_count(split.modalities.get(name, 0)) for split in splits.values()]
        rows.append([name, *counts, f"{number / total:.1%}"])
    for name, number in report.total.lacking.items():
        if number:
            counts = [_count(split.lacking[name]) for split in splits.values()]
            rows.append([f"without {name}", *counts, f"{number / total:.1%}"])
    yield from _table(rows)


def _fields(total: Contents) -> Iterator[str]:
    rows = [["FIELD", "used as", "members", "min", "median", "p95", "max", "total"]]
    for name, field in list(total.fields.items())[:MAX_ROWS]:
        sizes = field.bytes
        spread = [_bytes(size) for size in (*_quantiles(sizes), sizes.total)]
        rows.append([name or "(none)", field.use or "unused", _count(sizes.count), *spread])
    yield from _table(rows, left=2)
    if len(total.fields) > MAX_ROWS:
        yield f"and {len(total.fields) - MAX_ROWS} more in lint.json"


def _media(media: Mapping[str, Mapping[str, Quantity]]) -> Iterator[str]:
    rows = [["MEDIA", "", "min", "median", "p95", "max", "members"]]
    for modality, quantities in media.items():
        values = {name: v for name, v in quantities.items() if isinstance(v, Mapping)}
        formats = values["formats"]
        kinds = [_counts(formats, str)] if list(formats) != ["text"] else []
        kinds += [_counts(values[name], show) for name, show in _VALUES.items() if name in values]
        ranges = [(name, v) for name, v in quantities.items() if isinstance(v, Spread)]
        for index in range(max(len(kinds), len(ranges))):
            cells = [modality if not index else "", "", "", "", "", ""]
            if index < len(ranges):
                quantity, sizes = ranges[index]
                cells[1:] = [quantity, *map(_number, _quantiles(sizes))]
            rows.append([*cells, kinds[index] if index < len(kinds) else ""])
    if len(rows) > 1:
        yield from _table(rows, left=2, last_left=True)


def _channels(number: str) -> str:
    return f"with {number} channel{'s' * (number != '1')}"


_VALUES: Mapping[str, Callable[[str], str]] = {
    "sample_rate_hz": lambda rate: f"at {rate} Hz",
    "channels": _channels,
}


def _labels(report: LintReport) -> Iterator[str]:
    rows = [["LABELS", "classes", "largest/smallest", "samples"]]
    for name, contents in report.splits.items():
        labels = list(contents.labels.items())
        if labels:
            largest, smallest = labels[0][1], labels[-1][1]
            text = _fitted(labels) if largest != smallest else f"{_count(largest)} of each"
            rows.append([name, _count(len(labels)), f"{largest / smallest:.1f}", text])
    if len(rows) > 1:
        yield from _table(rows, last_left=True)


def _fitted(labels: Sequence[tuple[str, int]]) -> str:
    """As many labels as a line takes: the most frequent ones, and the rarest."""
    texts = [f"{label[:20]}: {_count(number)}" for label, number in labels]
    count = len(texts)
    while True:
        head, tail = texts[: (count + 1) // 2], texts[len(texts) - count // 2 :]
        text = "  ".join([*head, *([] if count == len(texts) else ["..."]), *tail])
        if len(text) <= LABELS_WIDTH or count <= 2:
            return text
        count -= 1


def _estimate(estimate: Estimate | None) -> Iterator[str]:
    if estimate is None:
        return
    yield (
        f"PREPROCESS of {' and '.join(estimate.of)}, estimated from {_count(estimate.drawn)} of "
        f"{_count(estimate.samples)} samples"
    )
    yield (
        f"  CPU     {_seconds(estimate.decode_cpu_seconds)} decoding "
        f"(+-{estimate.error_fraction:.0%}), {_seconds(estimate.write_cpu_seconds)} writing; "
        f"at best {_seconds(estimate.wall_seconds)} on {_many(estimate.cores, 'core')}, "
        "plus the start"
    )
    yield (
        f"  memory  {_bytes(estimate.peak_memory_bytes)} in the workers; all decoded rows together "
        f"{_bytes(estimate.decoded_bytes)}"
    )
    yield f"  disk    {_bytes(estimate.output_bytes)} of Parquet"


def _table(
    rows: Sequence[Sequence[str]], *, left: int = 1, last_left: bool = False
) -> Iterator[str]:
    """Aligns columns: the first ``left`` to the left, numbers to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    last = len(widths) - 1
    for row in rows:
        cells = [
            cell.ljust(width)
            if column < left or (last_left and column == last)
            else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


def _counts(counts: Mapping[str, int], show: Callable[[str], str]) -> str:
    shown = [f"{_count(n)} {show(name)}" for name, n in list(counts.items())[:4]]
    return ", ".join(shown + ["..."] * (len(counts) > 4))


def _many(number: int, noun: str) -> str:
    return f"{_count(number)} {noun}{'s' * (number != 1)}"


def _span(sizes: Spread, show: Callable[[float], str]) -> str:
    if sizes.min is None or sizes.max is None:
        return "-"
    low, high = show(sizes.min), show(sizes.max)
    return low if low == high else f"{low} to {high}"


def _quantiles(sizes: Spread) -> list[float]:
    """From the smallest to the largest; there is at least one value."""
    return [value or 0 for value in (sizes.min, sizes.median, sizes.p95, sizes.max)]


def _count(number: float) -> str:
    return f"{number:,.0f}"


def _number(number: float) -> str:
    return f"{number:,.0f}" if number == int(number) or number >= 1000 else f"{number:.3g}"


def _bytes(number: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1000:
            return f"{number:.0f} B" if unit == "B" else f"{number:.3g} {unit}"
        number /= 1024
    return f"{number:,.3g} TiB"


def _seconds(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.2g} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:,.1f} h"


def _cut(line: str) -> str:
    return line if len(line) <= WIDTH else line[: WIDTH - 3] + "..."

"""The neighbours of a query: a table for a terminal, and a self-contained page with what they look and sound like."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pipeline.reports import views
from pipeline.reports.content import Example
from pipeline.reports.media import clipped
from pipeline.reports.page import render_template
from pipeline.reports.svg import shortened, text_columns

CELL_COLUMNS = 40  # of a terminal, that a value takes at most
METADATA_COLUMNS, TEXT_COLUMNS = 60, 60
MAX_PAGE_BYTES = 32 << 20  # of images and sounds; the neighbours behind are shown without


@dataclass(frozen=True, slots=True)
class Neighbour:
    """One neighbour on the page.

    Attributes:
        rank: From 1.
        score: Cosine similarity, -1..1.
        example: The sample, with what could be read of it.
        metadata: Column -> value of its row.
        notes: Why something of it is not shown.
    """

    rank: int
    score: float
    example: Example
    metadata: Mapping[str, object] = field(default_factory=dict)
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class SearchPage:
    """Everything on the page.

    Attributes:
        title: What was asked, in a few words.
        generated: When the page was made, as it shall be shown.
        query: The query.
        query_notes: Why something of it is not shown.
        facts: What was searched, as (name, value).
        neighbours: The nearest first.
    """

    title: str
    generated: str
    query: Example
    query_notes: Sequence[str] = ()
    facts: Sequence[tuple[str, str]] = ()
    neighbours: Sequence[Neighbour] = ()


@dataclass(frozen=True)
class SampleCard(views.Card):
    """The query or a neighbour with its media as data URIs.

    Attributes:
        notes: Why something of it is not shown.
        of: The neighbour; None of the query.
        metadata: Column -> value of its row, as it is shown.
        share: Of the bar of its score, 0..1.
    """

    notes: Sequence[str] = ()
    of: Neighbour | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    share: float = 0.0


def render(data: SearchPage) -> str:
    """Renders the page; what is said of :func:`pipeline.reports.page.render` holds for it too."""
    cards = []
    budget = MAX_PAGE_BYTES
    for neighbour in data.neighbours:
        card = views.card(neighbour.example)
        heavy = [media for media in (*card.pictures, *card.others) if media.source]
        budget -= sum(len(media.source or "") for media in heavy)
        notes = list(neighbour.notes)
        if budget < 0 and heavy:
            light = [media for media in card.others if media not in heavy]
            card = replace(card, pictures=(), others=light)
            notes.append("not shown: this page would become too large")
        metadata = {name: clipped(value) for name, value in neighbour.metadata.items()}
        share = min(1.0, max(0.0, neighbour.score))
        cards.append(
            SampleCard(**vars(card), notes=notes, of=neighbour, metadata=metadata, share=share)
        )
    query = SampleCard(**vars(views.card(data.query)), notes=data.query_notes)
    title = clipped(data.title, 120)
    return render_template("search.html", data=data, title=title, query=query, cards=cards)


def render_table(report: Mapping[str, Any], outputs: Mapping[str, str]) -> str:
    """The answer for a terminal.

    Args:
        report: As :func:`pipeline.engine.search.plan.report` makes it.
        outputs: What was written.
    """
    rows = [["rank", "score", "shard", "key"]]
    neighbours = report["neighbours"]
    predicted = any(neighbour.get("prediction") is not None for neighbour in neighbours)
    readable = any(neighbour.get("text") for neighbour in neighbours)
    rows[0] += (
        ["text"] * readable
        + ["prediction"] * predicted
        + ["metadata"] * any(neighbour["metadata"] for neighbour in neighbours)
    )
    for neighbour in neighbours:
        cells = [str(neighbour["rank"]), f"{neighbour['score']:.4f}"]
        cells += [shortened(str(neighbour[name]), CELL_COLUMNS) for name in ("shard", "key")]
        if readable:
            cells.append(shortened(" ".join((neighbour.get("text") or "").split()), TEXT_COLUMNS))
        if predicted:
            cells.append(shortened(str(neighbour["prediction"]), CELL_COLUMNS))
        if neighbour["metadata"]:
            values = {
                name: value for name, value in neighbour["metadata"].items() if value is not None
            }
            text = " ".join(f"{name}={value}" for name, value in values.items())
            cells.append(shortened(text, METADATA_COLUMNS))
        rows.append(cells)
    lines = list(_aligned(rows))
    compared, top = report["rows_compared"], report["top"]
    how = "all" if report["index"] == "exact" else f"an index of {report['index']} over"
    lines.append(f"of {how} {compared:,} rows, by the column {report['column']}")
    if len(neighbours) < min(top, compared):
        lines.append(f"only {len(neighbours)} of {top} were found")
    lines += [f"{name}: {value}" for name, value in outputs.items()]
    return "\n".join(lines)


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Columns under each other, numbers to the right."""
    count = len(rows[0])
    cells = [[*row, *[""] * (count - len(row))] for row in rows]
    widths = [max(text_columns(row[column]) for row in cells) for column in range(count)]
    for row in cells:
        padded = []
        for column, (cell, width) in enumerate(zip(row, widths, strict=True)):
            space = " " * (width - text_columns(cell))
            padded.append(space + cell if column < 2 else cell + space)
        yield "  ".join(padded).rstrip()

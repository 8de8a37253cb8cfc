"""The neighbours of a query on a self-contained page, with what they look and sound like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from pipeline.reports import views
from pipeline.reports.content import Example
from pipeline.reports.media import clipped
from pipeline.reports.page import render_template

MAX_PAGE_BYTES = 32 << 20  # of images and sounds; the neighbours behind are shown without


@dataclass(frozen=True, slots=True)
class ShownNeighbour:
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
    neighbours: Sequence[ShownNeighbour] = ()


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
    of: ShownNeighbour | None = None
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

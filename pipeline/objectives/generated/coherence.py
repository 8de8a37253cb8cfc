"""What a record says of made values: the numbers of a judge, and examples as a page shows them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue

from pipeline.modalities.shown import Shown
from pipeline.objectives.made import NOTHING, TARGET
from pipeline.reports.media import Media, shown_media

MADE = "made"  # among the details of a record


def coherences(made: JsonValue) -> dict[str, float]:
    """The flat numbers of ``summary.json``: ``coherence_image_to_audio``, ``joint_coherence_image+text``.

    Args:
        made: Of :meth:`pipeline.objectives.evaluation.MadeValues.to_json`; anything else has none.
    """
    coherence = _coherence(made)
    numbers = {
        f"coherence_{subset.removeprefix('+')}_to_{name}": score["value"]
        for subset, scores in coherence.get("conditional", {}).items()
        for name, score in scores.items()
    }
    numbers |= {
        f"joint_coherence_{name}": score["value"]
        for name, score in coherence.get("joint", {}).items()
    }
    return {name: float(value) for name, value in numbers.items()}


def made_view(made: JsonValue) -> dict[str, Any]:
    """What ``objectives/generated/made.html`` shows."""
    return {
        "coherence": coherence_view(made),
        "examples": list(example_views(made)),
        "between": between_view(made),
    }


def coherence_view(made: JsonValue) -> dict[str, Any] | None:
    """The tables of a page; None where nobody judged."""
    coherence = _coherence(made)
    if not coherence:
        return None
    conditional = coherence["conditional"]
    names = list(dict.fromkeys(name for scores in conditional.values() for name in scores))
    return {
        "judge": coherence["judge"],
        "metric": coherence["metric"],
        "names": names,
        "rows": [
            (_given(subset), [scores.get(name) for name in names])
            for subset, scores in conditional.items()
        ],
        "real": [coherence["real"].get(name) for name in names],
        "joint": list(coherence["joint"].items()),
    }


@dataclass(frozen=True)
class ExampleView:
    """A sample on the page.

    Attributes:
        key: Of the sample.
        shard: Of the sample.
        names: What was made, the columns.
        rows: (What it was made of, media of each name).
    """

    key: str
    shard: str
    names: list[str]
    rows: list[tuple[str, list[Media | None]]]


def example_views(made: JsonValue) -> Iterator[ExampleView]:
    """The examples of a record: what each sample is, and what was made of every subset of it."""
    for example in _members(made, "examples"):
        tables = {"as it is": example["real"]}
        for subset, cells in example["made"].items():
            tables[f"of {_given(subset)}"] = cells
        names = list(dict.fromkeys(name for cells in tables.values() for name in cells))
        rows = [(title, _media(cells, names)) for title, cells in tables.items()]
        yield ExampleView(example["key"], example["shard"], names, rows)


def between_view(made: JsonValue) -> list[tuple[str, list[Media | None]]]:
    """(What was made, its steps from one sample to another); empty where there is nothing between."""
    steps = list(_members(made, "between"))
    names = list(dict.fromkeys(name for cells in steps for name in cells))
    media = [_media(cells, names) for cells in steps]
    return [(name, [row[place] for row in media]) for place, name in enumerate(names)]


def _given(subset: str) -> str:
    """A subset in words."""
    names = {NOTHING: "nothing", TARGET: "the label alone"}
    return names.get(subset, subset.replace("+", ", "))


def _media(cells: Mapping[str, Any], names: list[str]) -> list[Media | None]:
    shown = {name: Shown.from_json(cells[name]) for name in names if name in cells}
    by_name = {media.name: media for media in shown_media(shown)}
    return [by_name.get(name) for name in names]


def _coherence(made: JsonValue) -> dict[str, Any]:
    coherence = made.get("coherence") if isinstance(made, dict) else None
    return coherence if isinstance(coherence, dict) else {}


def _members(made: JsonValue, name: str) -> Iterator[Mapping[str, Any]]:
    rows = made.get(name) if isinstance(made, dict) else None
    for row in rows if isinstance(rows, list) else []:
        if isinstance(row, dict):
            yield row

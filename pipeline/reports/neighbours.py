"""The answer of a search: its records, and a table for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from pydantic import JsonValue, TypeAdapter

from pipeline.reports.svg import shortened, text_columns

CELL_COLUMNS = 40  # of a terminal, that a value takes at most
METADATA_COLUMNS, TEXT_COLUMNS = 60, 60


@dataclass(frozen=True)
class RowPrediction:
    """What the model says of a row.

    Attributes:
        prediction: A name, a number, or several of them; None where it says nothing.
        score: How sure it is, 0..1; None where it does not say.
    """

    prediction: JsonValue
    score: float | None = None


@dataclass(frozen=True)
class Neighbour:
    """A row near a query.

    Attributes:
        rank: From 1.
        score: Cosine similarity, -1..1.
        shard: Of its sample.
        key: Of its sample.
        modalities: Those that the sample has; None where the rows do not say.
        predicted: What the model says of it; None where the rows have no predictions.
        metadata: Column -> value.
        text: What can be read of it; None where nothing can.
    """

    rank: int
    score: float
    shard: str
    key: str
    modalities: tuple[str, ...] | None = None
    predicted: RowPrediction | None = None
    metadata: Mapping[str, JsonValue] = field(default_factory=dict)
    text: str | None = None

    def to_json(self) -> dict[str, JsonValue]:
        """One object; what the rows do not have is left out."""
        values: dict[str, JsonValue] = {
            "rank": self.rank, "score": self.score, "shard": self.shard, "key": self.key,
        }  # fmt: skip
        if self.modalities is not None:
            values["modalities"] = [*self.modalities]
        if self.predicted is not None:
            values |= {
                "prediction": self.predicted.prediction,
                "prediction_score": self.predicted.score,
            }
        return {**values, "metadata": dict(self.metadata), "text": self.text}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Neighbour:
        """The other way round."""
        prediction = None
        if "prediction" in values:
            prediction = RowPrediction(values["prediction"], values.get("prediction_score"))
        return TypeAdapter(cls).validate_python({**values, "predicted": prediction})


@dataclass(frozen=True)
class SearchAnswer:
    """The answer of a search.

    Attributes:
        query: What was asked, and what the model says of it.
        output: The folder that was searched.
        column: The column of embeddings.
        index: ``exact``, or the kind of the index.
        top: Neighbours that were asked for.
        rows_compared: Rows that there were to choose from.
        neighbours: The nearest first.
    """

    query: Mapping[str, JsonValue]
    output: str
    column: str
    index: str
    top: int
    rows_compared: int
    neighbours: tuple[Neighbour, ...]

    def to_json(self) -> dict[str, JsonValue]:
        """One object."""
        rows: list[JsonValue] = [neighbour.to_json() for neighbour in self.neighbours]
        return {**asdict(self), "neighbours": rows}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> SearchAnswer:
        """The other way round."""
        rows = tuple(map(Neighbour.from_json, values["neighbours"]))
        return TypeAdapter(cls).validate_python({**values, "neighbours": rows})


def render_table(answer: SearchAnswer, outputs: Mapping[str, str]) -> str:
    """The answer for a terminal.

    Args:
        answer: What was found.
        outputs: What was written.
    """
    neighbours = answer.neighbours
    predicted = any(
        neighbour.predicted and neighbour.predicted.prediction is not None
        for neighbour in neighbours
    )
    readable = any(neighbour.text for neighbour in neighbours)
    described = any(neighbour.metadata for neighbour in neighbours)
    rows = [["rank", "score", "shard", "key"]]
    rows[0] += ["text"] * readable + ["prediction"] * predicted + ["metadata"] * described
    for neighbour in neighbours:
        cells = [str(neighbour.rank), f"{neighbour.score:.4f}"]
        cells += [shortened(name, CELL_COLUMNS) for name in (neighbour.shard, neighbour.key)]
        if readable:
            cells.append(shortened(" ".join((neighbour.text or "").split()), TEXT_COLUMNS))
        if predicted:
            prediction = neighbour.predicted.prediction if neighbour.predicted else None
            cells.append(shortened(str(prediction), CELL_COLUMNS))
        if neighbour.metadata:
            values = {
                name: value for name, value in neighbour.metadata.items() if value is not None
            }
            text = " ".join(f"{name}={value}" for name, value in values.items())
            cells.append(shortened(text, METADATA_COLUMNS))
        rows.append(cells)
    lines = list(_aligned(rows))
    compared, top = answer.rows_compared, answer.top
    how = "all" if answer.index == "exact" else f"an index of {answer.index} over"
    lines.append(f"of {how} {compared:,} rows, by the column {answer.column}")
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

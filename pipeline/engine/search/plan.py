"""Nearest neighbours of a query among the rows that batch inference wrote."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from pydantic import JsonValue

from pipeline import storage
from pipeline.config import Config
from pipeline.engine.search.query import Query, Question, given_query, row_query, searched_column
from pipeline.errors import ConfigError, InputError
from pipeline.nightly import DATE
from pipeline.reports.neighbours import Neighbour, RowPrediction, SearchAnswer
from pipeline.sample import KEY, MODALITIES, SHARD
from pipeline.search.approximate import Approximate
from pipeline.search.exact import Found, nearest
from pipeline.search.written import Written
from pipeline.sinks.folder import MANIFEST

TOP = 10
FOLDER = "search"  # of the run, where an index is kept
PREDICTION, SCORE = "prediction", "score"


@dataclass(frozen=True)
class Answer:
    """What was found.

    Attributes:
        column: The column that was searched.
        query: What was asked.
        neighbours: The nearest first.
        compared: Rows that there were to choose from.
    """

    column: str
    query: Query
    neighbours: list[Neighbour]
    compared: int


def search(config: Config, question: Question) -> Answer:
    """Finds the nearest neighbours; begins again where a night has published another snapshot meanwhile.

    Raises:
        ConfigError: There is nothing to search, the question does not fit it, or fewer rows than are asked for.
        ModelError: No model to embed the query with.
        InputError: A file cannot be read.
    """
    names, content = listing(config)
    while True:
        try:
            return _answer(config, question, snapshot(config, names), content)
        except (InputError, FileNotFoundError):
            before = content
            names, content = listing(config)
            if content == before:
                raise


def _answer(
    config: Config, question: Question, written: Written, content: Mapping[str, object]
) -> Answer:
    column = searched_column(written, question)
    if question.key is not None:
        query = row_query(written, question, column)
    else:
        query = given_query(config, written, question, column)
    _check(query, written.width(column), written.output, column)
    without = None if query.row is None else query.row.row
    hits = _nearest(config, written, content, column, query.vector, question.top or TOP, without)
    top = question.top
    if top is not None and top > hits.compared:
        raise ConfigError(
            f"{top} neighbours are wanted, and there are {hits.compared} rows to choose from",
            where=f"--top {top}",
            fix="ask for fewer",
        )
    if not hits.hits:
        raise ConfigError(
            f"no row has a value in the column {column}",
            where=written.output,
            fix="choose another with --in or --column",
        )
    return Answer(column, query, _described(written, hits), hits.compared)


def report(
    config: Config, question: Question, answer: Answer, texts: Mapping[tuple[str, str], str]
) -> SearchAnswer:
    """The answer as it is shown.

    Args:
        config: The whole configuration.
        question: What was asked.
        answer: What was found.
        texts: Shard and key -> what can be read of a neighbour.
    """
    row = answer.query.row
    query: dict[str, JsonValue] = dict(question.told)
    if row is not None:
        query |= {KEY: row.key, SHARD: row.shard}
    if answer.query.prediction is not None:
        query[PREDICTION] = answer.query.prediction
    return SearchAnswer(
        query=query,
        output=config.folder("embeddings", config.infer.output),
        column=answer.column,
        index=config.search.index,
        top=question.top or TOP,
        rows_compared=answer.compared,
        neighbours=tuple(
            replace(neighbour, text=texts.get((neighbour.shard, neighbour.key)))
            for neighbour in answer.neighbours
        ),
    )


def listing(config: Config) -> tuple[list[str], dict[str, object]]:
    """Names of the files of a configuration's output, and what their content is known by.

    A manifest says which they are; in a plain folder they are the Parquet files.

    Raises:
        ConfigError: There are none.
        InputError: The manifest is damaged.
    """
    output = config.folder("embeddings", config.infer.output)
    content: dict[str, object]
    try:
        manifest = json.loads(storage.read_bytes(storage.join(output, MANIFEST)))
        names = [file["name"] for file in manifest["files"]]
        content = {"manifest": manifest}
    except FileNotFoundError:
        infos = storage.list_files(output) if storage.can_list(output) else []
        infos = [info for info in infos if info.url.endswith(".parquet")]
        names = [info.url.rpartition("/")[2] for info in infos]
        content = {
            "files": [[name, i.size, i.version] for name, i in zip(names, infos, strict=True)]
        }
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"the manifest cannot be read: {type(error).__name__}",
            where=storage.join(output, MANIFEST),
            fix="run jobs.infer again",
        ) from None
    if names:
        return names, content
    dated = DATE in output
    raise ConfigError(
        "there are no embeddings to search",
        where=output,
        fix="set infer.output to the folder of one date" if dated else "run jobs.infer first",
    )


def snapshot(config: Config, names: Sequence[str]) -> Written:
    """The written files that :func:`listing` found.

    Raises:
        ConfigError: They hold no rows.
        InputError: One cannot be read.
    """
    output = config.folder("embeddings", config.infer.output)
    written = Written(output, tuple(storage.join(output, name) for name in names))
    if not written.starts[-1]:
        raise ConfigError("the output holds no rows", where=output, fix="run jobs.infer first")
    return written


def _check(query: Query, width: int, output: str, column: str) -> None:
    """A query must be comparable with the rows.

    Raises:
        ConfigError: It is not.
    """
    if len(query.vector) != width:
        raise ConfigError(
            f"the query's embedding has {len(query.vector)} numbers, and {column} has {width}",
            where=output,
            fix="search a column of the same model",
        )
    if not np.isfinite(query.vector).all() or not query.vector.any():
        raise ConfigError(
            "the query's embedding has no direction: its numbers are all zero, or not finite",
            where=output,
            fix="choose another query",
        )


def _nearest(
    config: Config,
    written: Written,
    content: Mapping[str, object],
    column: str,
    vector: np.ndarray,
    top: int,
    without: int | None,
) -> Found:
    if config.search.index == "usearch":
        folder = storage.join(config.run, FOLDER)
        return Approximate(written, column, content, folder).nearest(vector, top, without)
    return nearest(vector, written.scan(column), top, without)


def _described(written: Written, found: Found) -> list[Neighbour]:
    """The neighbours with what their rows say."""
    columns = [name for name in (MODALITIES, PREDICTION, SCORE) if name in written.schema.names]
    metadata = [
        field.name
        for field in written.schema
        if field.name not in (KEY, SHARD, *columns) and _is_single(field.type)
    ]
    rows = written.fetch([hit.row for hit in found.hits], [KEY, SHARD, *columns, *metadata])
    described = []
    for rank, (hit, row) in enumerate(zip(found.hits, rows, strict=True), 1):
        prediction = None
        if PREDICTION in columns:
            prediction = RowPrediction(row[PREDICTION], _finite(row.get(SCORE)))
        described.append(
            Neighbour(
                rank,
                hit.score,
                row[SHARD],
                row[KEY],
                tuple(row[MODALITIES] or ()) if MODALITIES in columns else None,
                prediction,
                {name: _plain(row[name]) for name in metadata},
            )
        )
    return described


def _is_single(kind: pa.DataType) -> bool:
    """Whether values are shown in a table: no lists, and no bytes."""
    tests = (pa.types.is_nested, pa.types.is_binary, pa.types.is_large_binary)
    return not any(test(kind) for test in tests)


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _plain(value: object) -> JsonValue:
    """A value that JSON has."""
    if isinstance(value, float):
        return _finite(value)
    return value if value is None or isinstance(value, bool | int | str) else str(value)

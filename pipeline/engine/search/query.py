"""A query: a text, an image or a sound as the model that wrote the rows embeds it, or a row that is there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from pipeline.config import Config
from pipeline.engine.decoding.isolated import end_child, show
from pipeline.engine.given.decoded import decode_given, read_given, single_spec
from pipeline.errors import ConfigError, SampleError
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.modalities.shown import Shown
from pipeline.prediction.spec import open_model
from pipeline.search.written import EMBEDDING, Place, Written

NAMED_SHARDS = 8  # in an error


@dataclass(frozen=True)
class Question:
    """What is asked for; either a row's key, or one thing of one or more modalities.

    Attributes:
        given: Modality -> what is given of it: a text, or the location of a file.
        key: Key of a row.
        shard: Its shard, where several have one of that key.
        column: The column that is searched.
        among: The modality whose ``<modality>_embedding`` is searched, in a shared space.
        by: The modality whose ``<modality>_embedding`` of the row with ``key`` is the query.
        top: How many neighbours are wanted, and must be there; None for up to ten.
    """

    given: Mapping[str, str] = field(default_factory=dict)
    key: str | None = None
    shard: str | None = None
    column: str | None = None
    among: str | None = None
    by: str | None = None
    top: int | None = None

    @property
    def told(self) -> Mapping[str, str]:
        """As ``given``, ready to be written."""
        return {name: _text(value) for name, value in self.given.items()}


@dataclass(frozen=True)
class Query:
    """A query, embedded.

    Attributes:
        vector: (D,) float.
        row: Where it is in the snapshot, for a row that is there.
        prediction: What the model says of it; None where it says nothing.
        shown: Modality -> what a person sees, hears or reads of it.
    """

    vector: np.ndarray
    row: Place | None = None
    prediction: str | None = None
    shown: Mapping[str, Shown] | None = None


def searched_column(written: Written, question: Question) -> str:
    """The column that is searched: the one named, that of a modality, or ``embedding``.

    Raises:
        ConfigError: There is no such column, or no telling which of several.
    """
    if question.column is not None:
        column = question.column
    elif question.among is not None:
        column = f"{question.among}_{EMBEDDING}"
        if column not in written.embeddings:
            raise ConfigError(
                f"there is no column {column}: the model has no space that it shares with {question.among}",
                where=written.output,
                fix=f"leave --in out, or choose --column: {', '.join(written.embeddings)}",
            )
    else:
        embeddings = list(written.embeddings)
        if EMBEDDING not in embeddings and len(embeddings) > 1:
            raise ConfigError(
                f"there are several columns of embeddings: {', '.join(embeddings)}",
                where=written.output,
                fix="say which to search: --in MODALITY, or --column NAME",
            )
        column = embeddings[0] if EMBEDDING not in embeddings and embeddings else EMBEDDING
    written.width(column)
    return column


def row_query(written: Written, question: Question, column: str) -> Query:
    """The embedding of a row that is there; no model is asked.

    Raises:
        ConfigError: No row has that key, several have, or it has no such embedding.
    """
    assert question.key is not None
    # What is no text (bytes of the command line) becomes one that no row has.
    key, shard = _text(question.key), None if question.shard is None else _text(question.shard)
    places = written.find(key, shard)
    where = f"--key {key}" + (f" --shard {shard}" if shard else "")
    if not places:
        raise ConfigError(
            "no row has this key", where=f"{where}, {written.output}", fix="check its spelling"
        )
    if len(places) > 1:
        shards = [place.shard for place in places]
        more = f" and {len(shards) - NAMED_SHARDS} more" if len(shards) > NAMED_SHARDS else ""
        raise ConfigError(
            f"{len(places)} rows have this key, in {', '.join(shards[:NAMED_SHARDS])}{more}",
            where=where,
            fix="say which with --shard",
        )
    [place] = places
    candidates = [f"{question.by}_{EMBEDDING}"] if question.by else [column, *written.embeddings]
    width = written.width(column)
    for name in candidates:
        vector = written.vector(place.row, name)
        if vector is not None and len(vector) == width:
            return Query(vector, place)
    raise ConfigError(
        f"the row has no {candidates[0]}",
        where=where,
        fix="choose --from a modality that it has" if question.by else "choose another row",
    )


def given_query(config: Config, written: Written, question: Question, column: str) -> Query:
    """What is given, decoded as samples are and embedded by the model of the configuration.

    Raises:
        ConfigError: It is bad, or of a modality that the model does not take, or the model makes no such column.
        ModelError: No model, one that does not fit the configuration, or another one than wrote the rows.
    """
    spec = single_spec(config)
    model = open_model(spec)
    if model.fingerprint != written.model:
        raise ConfigError(
            f"the rows were written by the model {written.model or '(which the files do not say)'}, "
            f"and infer.model is {model.fingerprint}",
            where=written.output,
            fix="set infer.model to the one that wrote them, or run jobs.infer with this one",
        )
    decoder = model.decoder(**config.handling())
    model_column = _own_column(question, column, [field.name for field in model.fields])
    data = read_given(question.given, decoder, config)
    try:
        table = decode_given(question.given, data, decoder, config.modalities.is_value)
        shown = {name: _show(decoder, name, content) for name, content in data.items()}
    finally:
        end_child()
    from pipeline.prediction.predictor import load_predictor

    row = load_predictor(replace(spec, description=model.description))(table).to_pylist()[0]
    return Query(np.asarray(row[model_column], np.float64), None, row.get("prediction"), shown)


def _text(value: str) -> str:
    """A value from the command line without bytes that are no text."""
    return value.encode("utf-8", "replace").decode("utf-8")


def _own_column(question: Question, column: str, made: list[str]) -> str:
    """The column of the query's own row that is compared with ``column`` of the others."""
    modalities_given = list(question.given)
    model_column = column
    if column != EMBEDDING and column.endswith(f"_{EMBEDDING}"):
        # Of several things at once, the space's own way to join them.
        model_column = (
            f"{modalities_given[0]}_{EMBEDDING}" if len(modalities_given) == 1 else EMBEDDING
        )
    if model_column not in made:
        raise ConfigError(
            f"the model makes no column {model_column} of {' and '.join(modalities_given)}",
            where=f"column {column}",
            fix=f"it makes {', '.join(made)}; choose another --column, or --key",
        )
    return model_column


def _show(decoder: Decoder, name: str, data: bytes) -> Shown:
    try:
        return show(decoder, name, memoryview(data), decoder.fields[name][0])
    except SampleError as error:  # it was decoded a moment ago
        raise ConfigError(error.what, where=f"--{name}") from None

"""One thing at a time: what a model makes of what is given on the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from pipeline import storage
from pipeline.config import Config
from pipeline.engine.decoding.isolated import end_child
from pipeline.engine.given.decoded import decode_given, read_given, single_spec
from pipeline.errors import ConfigError
from pipeline.prediction.spec import open_model


@dataclass(frozen=True)
class Generated:
    """What a model made of one sample.

    Attributes:
        values: Column -> a text or a number; nulls are left out, and so are embeddings.
        contents: Column -> bytes, such as a PNG or a WAV.
    """

    values: Mapping[str, Any]
    contents: Mapping[str, bytes]


def generate(config: Config, given: Mapping[str, str]) -> Generated:
    """Asks the model of the configuration about one sample.

    Args:
        config: The whole configuration; ``infer`` names the model, and the seed of what it draws.
        given: Modality -> a text, or the location of a file.

    Raises:
        ConfigError: What is given is bad, or of a modality that the model does not take.
        ModelError: There is no model, or it does not fit the configuration.
    """
    spec = single_spec(config)
    model = open_model(spec)
    decoder = model.decoder(**config.handling())
    data = read_given(given, decoder, config)
    try:
        table = decode_given(given, data, decoder, config.modalities.is_value)
    finally:
        end_child()
    from pipeline.prediction.predictor import load_predictor

    rows = load_predictor(replace(spec, description=model.description))(table)
    columns = {field.name: field.type for field in model.fields}
    made = {name: rows[name][0].as_py() for name in columns}
    made = {name: value for name, value in made.items() if value is not None}
    contents = {name: value for name, value in made.items() if isinstance(value, bytes)}
    values = {
        name: value
        for name, value in made.items()
        if name not in contents and not _is_vector(columns[name])
    }
    return Generated(values, contents)


def check_place(place: str) -> None:
    """Refuses a file that is there already.

    Raises:
        ConfigError: There is one.
    """
    if storage.file_info(place) is not None:
        raise ConfigError(
            "there is such a file already",
            where=f"--out {place}",
            fix="choose another name, or remove it",
        )


def content_to_write(generated: Generated, column: str | None, place: str | None) -> bytes | None:
    """What is written to a file; None where nothing is.

    Args:
        generated: What was made.
        column: The column that is asked for; None for the only one.
        place: Where it is written; None where nothing is to be.

    Raises:
        ConfigError: There is no such column, or no telling which of several, or bytes have no place.
    """
    names = list(generated.contents or generated.values)
    if column is not None and column not in {*generated.contents, *generated.values}:
        raise ConfigError(
            f"the model made no {column} of what is given",
            where="--column",
            fix=f"it made {', '.join([*generated.contents, *generated.values]) or 'nothing'}",
        )
    if place is None:
        if generated.contents:
            raise ConfigError(
                f"the model made {' and '.join(generated.contents)}, which no terminal shows",
                where="command line",
                fix="say where it is written with --out FILE",
            )
        return None
    if column is None and len(names) != 1:
        raise ConfigError(
            f"the model made {', '.join(names) or 'nothing'}",
            where=f"--out {place}",
            fix="say which is written with --column NAME" if names else "give it something else",
        )
    name = column or names[0]
    if name in generated.contents:
        return generated.contents[name]
    return f"{generated.values[name]}\n".encode()


def _is_vector(kind: pa.DataType) -> bool:
    return bool(pa.types.is_fixed_size_list(kind))

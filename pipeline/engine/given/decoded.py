"""What is given on the command line, read and decoded as a sample is."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pyarrow as pa

from pipeline import storage
from pipeline.config import Config
from pipeline.engine.decoding.isolated import decode_alone
from pipeline.engine.infer.predictors import model_spec
from pipeline.errors import ConfigError
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.modalities.known_kinds import meanings
from pipeline.prediction.spec import ModelSpec
from pipeline.sample import ERROR


def single_spec(config: Config) -> ModelSpec:
    """The model of the configuration, for one sample that is not filtered, on all cores of this process."""
    return replace(
        model_spec(config),
        modalities=config.modalities.unfiltered(),
        batch_size=1,
        num_threads=config.cluster.num_cpus or os.cpu_count() or 1,
        precision=config.infer.precision,
        float16=False,
        compile=False,
    )


def read_given(given: Mapping[str, str], decoder: Decoder, config: Config) -> dict[str, bytes]:
    """The bytes of what is given.

    Args:
        given: Modality -> a text, or the location of a file.
        decoder: How the model has samples decoded.
        config: The whole configuration.

    Raises:
        ConfigError: The model does not take a modality, or there is no such file, or it is too large.
    """
    return {name: _read(name, value, decoder, config) for name, value in given.items()}


def _read(name: str, value: str, decoder: Decoder, config: Config) -> bytes:
    """The bytes of what is given of a modality.

    Raises:
        ConfigError: The model does not take it, or there is no such file, or it is too large.
    """
    is_value = config.modalities.is_value(name)
    where = f"--{name}" if is_value else f"--{name} {value}"
    if name not in decoder.codecs:
        raise ConfigError(
            f"the model takes no {name}", where=where, fix=f"it takes {', '.join(decoder.codecs)}"
        )
    if is_value:
        encoding = config.modalities.by_name()[name].text_encoding()
        # What came from the command line as bytes that are no text is refused as such.
        errors = "surrogateescape" if encoding == "utf-8" else "strict"
        try:
            return value.encode(encoding, errors)
        except UnicodeEncodeError as error:
            raise ConfigError(
                f"the text cannot be written in {encoding}: {error.reason}", where=where
            ) from None
    info = storage.file_info(value)
    if info is None:
        raise ConfigError("there is no such file", where=where, fix="check the path")
    if info.size > config.limits.member_bytes:
        raise ConfigError(
            f"the file has {info.size} bytes, over the limit of {config.limits.member_bytes}",
            where=where,
            fix="give a smaller one, or raise limits.member_bytes",
        )
    try:
        return storage.read_bytes(value)
    except OSError as error:
        raise ConfigError(
            f"the file cannot be read: {error.strerror or error}",
            where=where,
            fix="check that you may read it",
        ) from None


def decode_given(
    given: Mapping[str, str],
    data: Mapping[str, bytes],
    decoder: Decoder,
    is_value: Callable[[str], bool],
) -> pa.Table:
    """One good row, decoded as samples are.

    Args:
        given: Modality -> what is given of it, for errors.
        data: Of :func:`read_given`.
        decoder: How the model has samples decoded.
        is_value: Whether what is given of a modality is its content, and no file.

    Raises:
        ConfigError: What is given is bad.
    """
    table = decode_alone(
        decoder, {decoder.fields[name][0]: content for name, content in data.items()}
    )
    error: dict[str, Any] | None = table[ERROR][0].as_py()
    for problem in [error] if error else table["dropped"][0].as_py():
        bad = next((n for n in data if decoder.fields[n][0] == problem["field"]), next(iter(data)))
        path = "" if is_value(bad) else f" {given[bad]}"
        raise ConfigError(
            problem["detail"],
            where=f"--{bad}{path}",
            fix=f"as a sample it would be quarantined ({problem['reason']}: {meanings().get(problem['reason'], '')})",
        )
    return table

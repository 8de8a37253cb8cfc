"""A model in this process: what infer would write of samples, without a job."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.api.output import Column, dense
from pipeline.api.samples import BadSample, Samples, bad_samples
from pipeline.config import validate
from pipeline.engine.decoding.decoded_folder import is_decoded
from pipeline.engine.decoding.isolated import decode_alone, end_child
from pipeline.errors import ConfigError
from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.decoding.decoder import METADATA_PREFIX
from pipeline.models.bundle import Bundle
from pipeline.plugins import Pluggable, class_names, imported
from pipeline.prediction.predictor import Predictor, load_predictor
from pipeline.prediction.spec import Model as Described
from pipeline.prediction.spec import ModelSpec, Precision, kind_of, open_model
from pipeline.sample import BASE_SCHEMA, ERROR, KEY, MODALITIES, SHARD

WHERE, WHERE_LOADED = "predict", "pipeline.load_model"
Fields = Mapping[str, bytes]
Inputs = Samples | Sequence[Fields] | Sequence[str | os.PathLike[str]]


def load_model(
    model: str | os.PathLike[str],
    *,
    modalities: Mapping[str, Mapping[str, object]] | None = None,
    weights: str | None = None,
    settings: Mapping[str, object] | None = None,
    trusted: Collection[str | type[Pluggable]] = (),
    batch_size: int = 64,
    float16: bool = False,
    precision: Precision = "auto",
    device: str | None = None,
    threads: int | None = 1,
) -> Model:
    """Loads a model that training left, or a pretrained encoder; nothing is ever downloaded.

    Args:
        model: Folder of a bundle, such as RUN/model; an encoder as in ``infer.model``: ``timm:NAME``, ``hf:FOLDER``; a
            generator of texts, ``hf:FOLDER``; or a predictor of your own, ``python:package.module:Class``.
        modalities: Name -> settings of what an encoder reads, by default one of each kind that it takes. A bundle has
            its own.
        weights: File or folder of the weights of an encoder, or of a predictor of your own.
        settings: Of a generator, or of a predictor of your own.
        trusted: Classes of your own that a bundle may ask for, or their names, ``package.module:Class``; it is refused
            where it asks for another, before that is imported.
        batch_size: Samples of a micro-batch.
        float16: Gives embeddings in half precision.
        precision: Of matrix products; ``auto`` is bfloat16 on a GPU and float32 elsewhere.
        device: ``cpu`` or ``cuda``; a GPU where there is one, where None.
        threads: CPU threads of the network. The last digits may depend on them; infer has one, too. None leaves them
            as they are.

    Raises:
        ConfigError: The name says no encoder that is known, a package is not installed, or a class cannot be imported.
        ModelError: The model is missing, damaged, does not fit the modalities, or asks for a class that is not named.
    """
    name, bundle = os.fspath(model), None
    if kind_of(name) == "bundle":
        bundle = Bundle.load(name, {*_names(trusted), *class_names(modalities)})
    if modalities is not None:
        tree = {"run": ".", "modalities": modalities}
        configured = validate(tree, where=WHERE_LOADED).modalities
    else:
        configured = bundle.modalities if bundle else ModalitiesConfig.of_every_kind()
    spec = ModelSpec(
        model=name,
        modalities=configured,
        objective=bundle.objective if bundle else None,  # whose class is trusted by now
        weights=weights,
        settings=dict(settings or {}),
        batch_size=batch_size,
        num_threads=threads,
        float16=float16,
        precision=precision,
        device=device,
    )
    return Model(spec)


class Predictions:
    """What a model says of the good samples.

    Attributes:
        table: One row a sample: ``key``, ``shard``, ``modalities``, the model's columns, and the metadata.
        quarantine: The bad ones, with why.
    """

    def __init__(self, table: pa.Table, quarantine: Sequence[BadSample]) -> None:
        self.table, self.quarantine = table, list(quarantine)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __iter__(self) -> Iterator[dict[str, object]]:
        for batch in self.table.to_batches():
            yield from batch.to_pylist()

    def arrays(self, column: str) -> Column:
        """A column of numbers as an array (N, ...), and which rows have a value.

        Raises:
            ConfigError: There is no such column.
        """
        if column not in self.table.column_names:
            raise ConfigError(
                f"the model makes no column {column}",
                where=WHERE,
                fix=f"the columns are {', '.join(self.table.column_names)}",
            )
        kind = self.table.schema.field(column).type
        shape = (kind.list_size,) if pa.types.is_fixed_size_list(kind) else ()
        if not len(self):
            dtype = (kind.value_type if shape else kind).to_pandas_dtype()
            return Column(np.zeros((0, *shape), dtype), np.zeros(0, bool))
        return dense(self.table[column], shape)


class Model:
    """A model that was loaded; made by :func:`pipeline.load_model`.

    Attributes:
        columns: The columns that it makes.
        fingerprint: Digest of all that its predictions depend on, as in the footers of what infer writes.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self._described: Described = open_model(spec)
        self._spec = replace(spec, description=self._described.description)
        # Its own: how many threads a product is shared among is kept for each thread that asks.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._predictor: Predictor = self._thread.submit(load_predictor, self._spec).result()
        self.columns = [field.name for field in self._described.fields]
        self.fingerprint = self._described.fingerprint

    def predict(self, inputs: Inputs) -> Predictions:
        """Predicts samples, decoded as the model wants them: the same values as infer writes.

        Args:
            inputs: What :func:`pipeline.read` gave, of shards; or samples as field -> bytes, ``{"png": ...}``; or
                paths of files, each a sample whose field is the file's extension. The keys of these are their numbers,
                from 0 on.

        Raises:
            ConfigError: The samples are rows that preprocess wrote.
            InputError: A shard cannot be reached.
        """
        if isinstance(inputs, Samples):
            return self._of_samples(inputs)
        try:
            tables = [self._decoded(number, _fields(item)) for number, item in enumerate(inputs)]
        finally:
            end_child()
        if not tables:
            return self._predictions([], [])
        table = pa.concat_tables(tables)
        return self._predictions([self._ask(table)], bad_samples(table))

    def _of_samples(self, samples: Samples) -> Predictions:
        if any(is_decoded(part) for part in samples.parts):
            raise ConfigError(
                "the samples are rows that preprocess wrote, and the model decodes in its own way",
                where=WHERE,
                fix="read the shards instead",
            )
        decoder = self._described.decoder(**samples.handling)
        decoded = samples.decoded_by(decoder)
        with closing(decoded.tables(decoded.parts)) as tables:
            predicted = [self._ask(table) for table in tables]
        return self._predictions(predicted, decoded.quarantine, decoder.metadata)

    def _decoded(self, number: int, fields: Fields) -> pa.Table:
        table = decode_alone(self._described.decoder(), fields)
        place = table.column_names.index(KEY)
        return table.set_column(place, table.field(KEY), pa.array([str(number)], pa.string()))

    def _ask(self, table: pa.Table) -> pa.Table:
        return self._thread.submit(self._predictor, table).result()

    def _predictions(
        self, tables: Sequence[pa.Table], bad: Sequence[BadSample], metadata: Sequence[str] = ()
    ) -> Predictions:
        base = [BASE_SCHEMA.field(name) for name in (KEY, SHARD, MODALITIES)]
        schema = pa.schema(
            [*base, *self._described.fields, *(pa.field(name, pa.string()) for name in metadata)]
        )
        sources = [*(field.name for field in base), *self.columns]
        sources += [METADATA_PREFIX + name for name in metadata]
        rows = [
            table.filter(table[ERROR].is_null()).select(sources).rename_columns(schema.names)
            for table in tables
        ]
        return Predictions(pa.concat_tables([schema.empty_table(), *rows]), bad)


def _names(trusted: Iterable[str | type[Pluggable]]) -> Iterator[str]:
    """Names of a person's own classes, each of which can be imported: who names one trusts it."""
    for chosen in trusted:
        name = (
            chosen.class_name()
            if isinstance(chosen, type) and issubclass(chosen, Pluggable)
            else str(chosen)
        )
        if name is not None:  # not one of this project's
            try:
                imported(name, Pluggable, "an objective or a modality")
            except ValueError as error:
                raise ConfigError(f"trusted: {error}", where=WHERE_LOADED) from None
            yield name


def _fields(item: Fields | str | os.PathLike[str]) -> Fields:
    if isinstance(item, Mapping):
        return item
    path = Path(item)
    try:
        return {path.suffix.lstrip(".").lower(): path.read_bytes()}
    except OSError as error:
        raise ConfigError(
            f"the file cannot be read: {error.strerror}", where=str(path), fix="check the path"
        ) from None

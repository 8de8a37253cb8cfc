"""What a job knows of a person's own predictor before it is loaded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipeline.errors import ConfigError, in_words
from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.base import Codec, ModalityConfig, Verify
from pipeline.modalities.decoding.rows import METADATA_PREFIX
from pipeline.modalities.inputs import Input
from pipeline.modalities.pretrained.base import EMBEDDING, digest_of, local_file
from pipeline.plugins import source_digest
from pipeline.prediction.own import WHERE, made, own_code
from pipeline.prediction.own.columns import in_half, is_embedding
from pipeline.sample import BASE_SCHEMA

if TYPE_CHECKING:
    from pipeline.prediction.spec import ModelSpec


@dataclass(frozen=True)
class OwnDescription:
    """A person's own predictor, as a job knows it before it is loaded; picklable.

    Attributes:
        model: ``python:package.module:Class``.
        settings: Those it is made with.
        weights: ``infer.weights``.
        inputs: Modality -> how it is decoded.
        fields: The columns that it writes, ``embedding`` first.
        source: Digest of its code.
        digest: Digest of the weights' files, empty without any.
        num_bytes: Their size.
    """

    model: str
    settings: Mapping[str, Any]
    weights: str | None
    inputs: Mapping[str, Input | None]
    fields: tuple[pa.Field, ...]
    source: str
    digest: str
    num_bytes: int

    @classmethod
    def of(
        cls,
        model: str,
        settings: Mapping[str, Any],
        weights: str | None,
        modalities: ModalitiesConfig,
        *,
        float16: bool = False,
    ) -> OwnDescription:
        """Asks a predictor what it takes and gives, without loading it.

        Raises:
            ConfigError: It does not take these settings or modalities, or its columns cannot be written.
            ModelError: There are no such weights.
        """
        predictor = made(model, settings)
        with own_code(model, "inputs", error=ConfigError):
            inputs = dict(predictor.inputs())
        with own_code(model, "columns", error=ConfigError):
            columns = dict(predictor.columns())
        _check_inputs(model, inputs, modalities)
        digest, size = ("", 0)
        if weights is not None:
            digest, size = files_digest(local_file(weights, "infer.weights="))
        return cls(
            model=model,
            settings=settings,
            weights=weights,
            inputs=inputs,
            fields=_fields(model, columns, float16=float16),
            source=source_digest(type(predictor)),
            digest=digest,
            num_bytes=size,
        )

    @property
    def fingerprint(self) -> str:
        """Digest of everything that predictions depend on: code, settings, weights, and how samples are decoded."""
        identity = {
            "model": self.model,
            "settings": self.settings,
            "inputs": {name: way and asdict(way) for name, way in self.inputs.items()},
            "columns": [f"{field.name}: {field.type}" for field in self.fields],
            "source": self.source,
            "files": self.digest,
        }
        text = json.dumps(identity, sort_keys=True, default=str)
        return blake2b(text.encode(), digest_size=16).hexdigest()

    def codecs(self, modalities: ModalitiesConfig, verify: Verify = "full") -> dict[str, Codec]:
        """Modality -> what decodes it."""
        configs = modalities.by_name()
        return {name: _codec(way, configs[name], verify) for name, way in self.inputs.items()}


def own_of(spec: ModelSpec) -> OwnDescription:
    """The person's own predictor that is asked for.

    Raises:
        ConfigError: As :func:`open_model`, as ModelError.
    """
    if spec.compile:
        raise ConfigError(
            "a predictor of your own is not compiled from outside",
            where="infer.compile=true",
            fix="leave it out, and call torch.compile in its load()",
        )
    if isinstance(spec.description, OwnDescription):
        return spec.description
    return OwnDescription.of(
        spec.model, spec.settings, spec.weights, spec.modalities, float16=spec.float16
    )


def files_digest(path: Path) -> tuple[str, int]:
    """Digest of a file or of all files of a folder, which may be of any kind here, and their size in bytes."""
    return digest_of(path, picked=None)


def _check_inputs(
    model: str, inputs: Mapping[str, Input | None], modalities: ModalitiesConfig
) -> None:
    configured = modalities.by_name()
    unknown = [name for name in inputs if name not in configured]
    if unknown or not inputs:
        raise ConfigError(
            f"{model} takes {' and '.join(unknown) or 'nothing'}, and the configuration has "
            f"{' and '.join(configured)}",
            where=WHERE,
            fix="name modalities of the configuration in inputs()",
        )
    for name, way in inputs.items():
        try:
            _codec(way, configured[name], "full")
        except (ConfigError, AttributeError, TypeError, ValueError) as error:
            raise ConfigError(
                f"inputs() of {model} does not fit modalities.{name}: {in_words(error)}",
                where=WHERE,
                fix="give what pipeline.modalities.inputs has for its kind: tokens need TextInput",
            ) from None


def _codec(way: Input | None, config: ModalityConfig, verify: Verify) -> Codec:
    return config.codec(None, verify=verify) if way is None else way.codec(config, verify=verify)


def _fields(
    model: str, columns: Mapping[str, pa.DataType], *, float16: bool
) -> tuple[pa.Field, ...]:
    """The columns, ``embedding`` first, embeddings in the precision that was asked for.

    Raises:
        ConfigError: One cannot be written.
    """
    wrong = None if columns else "names no column"
    for name, kind in columns.items():
        if not isinstance(kind, pa.DataType):
            wrong = f"gives no Arrow type for {name}, such as pa.string()"
        elif name in BASE_SCHEMA.names or name.startswith(METADATA_PREFIX):
            wrong = f"names {name}, which every row has already"
        elif name == EMBEDDING and not is_embedding(kind):
            wrong = f"has a column {EMBEDDING} that is no pa.list_(pa.float32(), D)"
    if wrong:
        raise ConfigError(f"columns() of {model} {wrong}", where=WHERE, fix="mend the class")
    fields = [
        pa.field(name, in_half(kind) if float16 and name.endswith(EMBEDDING) else kind)
        for name, kind in columns.items()
    ]
    return tuple(sorted(fields, key=lambda field: field.name != EMBEDDING))

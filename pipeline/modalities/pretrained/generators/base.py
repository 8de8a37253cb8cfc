"""What is known of a pretrained generator before its network is built, and what its settings are; torch-free."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import pyarrow as pa
from pydantic import Field, ValidationError

from pipeline.errors import ConfigError
from pipeline.modalities.inputs import Input
from pipeline.modalities.section import Section
from pipeline.settings import explain

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.modalities import ModalitiesConfig
    from pipeline.modalities.base import Codec, Verify
    from pipeline.modalities.pretrained.generators.writing import Generator

WHERE = "infer.settings"
NUM_TOKENS = "generated_tokens"
Settings = TypeVar("Settings", bound=Section)


class SearchSettings(Section):
    """How a text is found that a network finds likely; always the same of the same sample."""

    max_new_tokens: int | None = Field(
        default=None, ge=1, description="that a text may have; one that would be longer is cut"
    )
    num_beams: int | None = Field(
        default=None, ge=1, le=64, description="beginnings that are followed at once; 1 is greedy"
    )


@dataclass(frozen=True)
class Taken:
    """What a generator takes and gives, before its files are read through.

    Attributes:
        kind: Of the modality that it takes.
        inputs: How that is decoded.
        settings: All of them, with the defaults filled in; ready for JSON.
        fields: The columns that it writes, the text first.
    """

    kind: str
    inputs: Input
    settings: Mapping[str, Any]
    fields: tuple[pa.Field, ...]


@dataclass(frozen=True)
class GeneratorDescription:
    """A pretrained generator; picklable.

    Attributes:
        model: ``hf:FOLDER``.
        architecture: Its class in transformers.
        kind: Of the modality that it takes.
        inputs: That modality, by its kind until a job has given its own name -> how it is decoded.
        settings: All of them, with the defaults filled in.
        fields: The columns that it writes, the text first.
        digest: Of the weights and whatever lies beside them.
        num_bytes: Size of the files.
    """

    model: str
    architecture: str
    kind: str
    inputs: Mapping[str, Input]
    settings: Mapping[str, Any]
    fields: tuple[pa.Field, ...]
    digest: str
    num_bytes: int

    @property
    def fingerprint(self) -> str:
        """Digest of everything that texts depend on; the same files elsewhere are the same model."""
        identity = {
            "architecture": self.architecture,
            "inputs": [asdict(way) for way in self.inputs.values()],
            "settings": self.settings,
            "columns": [f"{field.name}: {field.type}" for field in self.fields],
            "files": self.digest,
        }
        text = json.dumps(identity, sort_keys=True)
        return blake2b(text.encode(), digest_size=16).hexdigest()

    @property
    def text(self) -> str:
        """The column of the texts."""
        name: str = self.fields[0].name
        return name

    def for_job(self, configured: Mapping[str, str]) -> GeneratorDescription:
        """The generator for the one modality of its kind that a job has.

        Args:
            configured: Name -> kind.

        Raises:
            ConfigError: There is none, or more than one.
        """
        names = [name for name, kind in configured.items() if kind == self.kind]
        if not names:
            raise ConfigError(
                f"{self.model} takes {self.kind}, and the configuration has {' and '.join(configured)}",
                where="infer.model",
                fix=f"add modalities.{self.kind}: {{}}",
            )
        if len(names) > 1:
            raise ConfigError(
                f"{self.model} writes about one modality, and {' and '.join(names)} are {self.kind}",
                where="infer.model",
                fix="leave one of them in modalities",
            )
        return replace(self, inputs=dict.fromkeys(names, next(iter(self.inputs.values()))))

    def codecs(self, modalities: ModalitiesConfig, verify: Verify = "full") -> dict[str, Codec]:
        """Modality -> what decodes it."""
        configs = modalities.by_name()
        return {name: way.codec(configs[name], verify=verify) for name, way in self.inputs.items()}


class Family(Protocol):
    """Generators that are run alike; a module."""

    def describe(self, folder: Path, architecture: str, settings: Mapping[str, Any], /) -> Taken:
        """What one takes and gives.

        Raises:
            ConfigError: It has no such settings.
            ModelError: Files are missing or damaged.
        """

    def load(self, folder: Path, description: GeneratorDescription, /) -> Generator:
        """Builds the network with its weights, on the CPU."""


def settled(section: type[Settings], settings: Mapping[str, Any], architecture: str) -> Settings:
    """Settings of a generator.

    Raises:
        ConfigError: It has no such setting, or no such value of one.
    """
    try:
        return section.model_validate(dict(settings))
    except ValidationError as error:
        raise explain(section, error, f"{WHERE} of {architecture}", (), settings) from None


def bounded(given: int | None, default: int, limit: int) -> int:
    """How many tokens a text may have.

    Args:
        given: By the settings.
        default: Where they say nothing.
        limit: Of the network.

    Raises:
        ConfigError: More were asked for than the network can write.
    """
    if given is not None and given > limit:
        raise ConfigError(
            f"the network writes at most {limit} tokens",
            where=f"{WHERE}.max_new_tokens={given}",
            fix=f"set it to {limit} or less",
        )
    return min(default if given is None else given, limit)

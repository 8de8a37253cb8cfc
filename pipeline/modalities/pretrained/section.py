"""A pretrained network as an encoder that is trained on, or kept as it is: its section of the configuration."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, field_validator

from pipeline import storage
from pipeline.errors import ConfigError
from pipeline.locations import Location, ModelName
from pipeline.modalities.base import EncoderConfig, ModalityConfig
from pipeline.modalities.inputs import TowerInput
from pipeline.modalities.pretrained import build_tower, describe_tower, is_encoder
from pipeline.modalities.pretrained.base import TowerDescription

if TYPE_CHECKING:
    from torch import nn

FOLDER_KIND = "hf:"
DESCRIPTIONS_REMEMBERED = 16
# Number of last blocks, or all of the network.
Blocks = int | Literal["all"]


class PretrainedConfig(EncoderConfig):
    """A network from elsewhere with its weights, and a linear layer to the width that is asked for.

    It decides how its modality is made ready for it. Norms over a batch keep their statistics, whatever is trained.

    Attributes:
        MODALITY: The kind of modality that it encodes.
    """

    MODALITY: ClassVar[str]
    OF_EPOCHS: ClassVar[Mapping[str, bool]] = {"cache_features": True}

    kind: Literal["pretrained"] = "pretrained"
    name: ModelName = Field(
        description="of a pretrained network: torchvision:NAME, timm:NAME, open_clip:NAME, hf:FOLDER"
    )
    weights: Location | None = Field(
        default=None,
        description="file or folder of its weights; hf: has them in the folder it names",
    )
    trainable_blocks: Blocks = Field(
        default=0,
        description="how many of its last blocks are trained; 0 leaves it as it is, all trains the whole network",
    )
    learning_rate_factor: float = Field(
        default=0.1,
        gt=0,
        le=1,
        description="of train.learning_rate, for the blocks that are trained",
    )
    cache_features: bool = Field(
        default=True,
        description="where none of it is trained: runs it once over samples as they are, and keeps its embeddings; "
        "false augments samples, and runs it in every epoch",
    )
    description: TowerDescription | None = Field(
        default=None, description="what a bundle says of the network; leave it out"
    )

    @field_validator("name")
    @classmethod
    def _of_a_library(cls, name: str) -> str:
        try:
            is_known = is_encoder(name)
        except ConfigError as error:
            raise ValueError(f"{error.what}; {error.fix}") from None
        if not is_known:
            raise ValueError(
                "name a network as torchvision:NAME, timm:NAME, open_clip:NAME or hf:FOLDER"
            )
        return name

    @field_validator("trainable_blocks", mode="before")
    @classmethod
    def _number_or_all(cls, blocks: object) -> object:
        is_number = isinstance(blocks, int) and not isinstance(blocks, bool) and blocks >= 0
        if not is_number and blocks != "all":
            raise ValueError("give a number of blocks, or all")
        return blocks

    @property
    def inputs(self) -> TowerInput:
        return self.described().inputs

    @property
    def has_own_inputs(self) -> bool:
        return True

    def decoding(self) -> dict[str, Any]:
        return {"inputs": json.loads(json.dumps(asdict(self.inputs)))}  # lists, as JSON has them

    def identity(self) -> dict[str, Any]:
        return {"kind": self.kind, "name": self._name_anywhere()}

    def sealed(self) -> PretrainedConfig:
        """Without the place of its files, and with all that building it again takes."""
        update = {
            "name": self._name_anywhere(),
            "weights": None,
            "description": self.described(),
        }
        return self.model_copy(update=update)

    @property
    def keeps_features(self) -> bool:
        """See :class:`pipeline.modalities.facets.KeepsFeatures`."""
        return self.trainable_blocks == 0 and self.cache_features

    def described(self) -> TowerDescription:
        """What the network takes and gives, as its bundle says, or else its files.

        Raises:
            ConfigError: There is no such network for this modality, or its package is not installed.
            ModelError: The weights are missing or damaged.
        """
        if self.description is not None:
            return self.description
        version = _version(self.weights or self.name.removeprefix(FOLDER_KIND))
        return _described(self.name, self.weights, self.MODALITY, version)

    def build(self, modality: ModalityConfig, width: int) -> nn.Module:
        """Builds the network: with its weights where its files are named, without them from a bundle.

        Raises:
            ConfigError: As :meth:`described`, or it has fewer blocks than are to be trained.
            ModelError: As :meth:`described`.
        """
        from pipeline.modalities.pretrained.network import PretrainedEncoder

        described = self.described()
        files = self.weights or self.name.removeprefix(FOLDER_KIND)
        return PretrainedEncoder(
            build_tower(
                self.name, self.MODALITY, described, files if self.description is None else None
            ),
            described.width,
            width,
            self.trainable_blocks,
            self.learning_rate_factor,
        )

    def _name_anywhere(self) -> str:
        """The name, and of a folder its own name alone: the same files elsewhere are the same network."""
        if not self.name.startswith(FOLDER_KIND):
            return self.name
        return FOLDER_KIND + Path(self.name.removeprefix(FOLDER_KIND)).name


@lru_cache(DESCRIPTIONS_REMEMBERED)
def _described(
    name: str, weights: str | None, modality: str, version: tuple[int, int]
) -> TowerDescription:
    """Described once a process: all of the weights are read for their digest."""
    return describe_tower(name, weights, modality)


def _version(location: str) -> tuple[int, int]:
    """What changes with a file: when it was written, and its size; zeros where it cannot be seen."""
    try:
        status = storage.local_path(location).stat()
    except (OSError, ValueError):
        return 0, 0
    return status.st_mtime_ns, status.st_size

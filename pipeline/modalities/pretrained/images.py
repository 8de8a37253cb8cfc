"""What libraries have in common that build one network of images."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pipeline.errors import ConfigError
from pipeline.modalities.inputs import ImageInput
from pipeline.modalities.pretrained.base import EncoderDescription, TowerDescription

if TYPE_CHECKING:
    from pipeline.modalities.pretrained.towers import ImageTower, Tower

Describe = Callable[[str, str], EncoderDescription]
Build = Callable[[str, ImageInput, "str | None"], "ImageTower"]


class ImageLibrary:
    """A library of image networks.

    Args:
        describe: Name and weights -> what the network takes and gives.
        build: Name, how images are made ready, and weights -> the network; without weights where these are None.
    """

    def __init__(self, describe: Describe, build: Build) -> None:
        self.describe = describe
        self._build = build

    def load(self, name: str, encoder: EncoderDescription) -> dict[str, Tower]:
        """The network, by its modality."""
        return {"image": self._build(name, _of_images(encoder.inputs["image"]), encoder.weights)}

    def describe_tower(
        self, name: str, encoder: EncoderDescription, modality: str
    ) -> TowerDescription | None:
        """What a model must know of the network; None where it is of another modality."""
        if modality not in encoder.inputs:
            return None
        return TowerDescription(_of_images(encoder.inputs[modality]), encoder.width, encoder.digest)

    def build_tower(
        self, name: str, modality: str, described: TowerDescription, weights: str | None
    ) -> Tower:
        """The network, without weights where none are named."""
        return self._build(name, _of_images(described.inputs), weights)

    def tokenizer_of(self, name: str, weights: str | None) -> str:
        """There is none.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError(
            "a network of images has no tokenizer",
            where="infer.model",
            fix="choose an encoder of texts: hf: or open_clip:",
        )


def _of_images(inputs: object) -> ImageInput:
    assert isinstance(inputs, ImageInput)
    return inputs

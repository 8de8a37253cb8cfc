"""Networks that write a text about an image: BLIP, and an encoder of images with a decoder of texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from pydantic import Field
from torch import Tensor, nn

from pipeline.errors import ConfigError
from pipeline.modalities.codecs import dense_column
from pipeline.modalities.image.resize import CHANNELS
from pipeline.modalities.inputs import ImageInput
from pipeline.modalities.pretrained.generators.base import (
    NUM_TOKENS,
    WHERE,
    GeneratorDescription,
    SearchSettings,
    Taken,
    bounded,
    settled,
)
from pipeline.modalities.pretrained.generators.writing import (
    Generator,
    Piece,
    Written,
    num_beams,
    of_transformers,
    plain_texts,
    search_by,
)
from pipeline.modalities.pretrained.hf.folder import (
    image_input,
    read_config,
    read_model,
    read_tokenizer,
)

TEXT = "caption"
DEFAULT_TOKENS = 64
BLIP = "BlipForConditionalGeneration"
POSITIONS = ("max_position_embeddings", "n_positions", "max_target_positions")


class CaptionSettings(SearchSettings):
    """How images are written about."""

    prompt: str | None = Field(
        default=None, description="that a caption begins with, of a network that takes one"
    )


def describe(folder: Path, architecture: str, settings: Mapping[str, Any]) -> Taken:
    """What a network takes and gives."""
    chosen = settled(CaptionSettings, settings, architecture)
    if chosen.prompt is not None and architecture != BLIP:
        raise ConfigError(
            f"{architecture} takes no prompt",
            where=f"{WHERE}.prompt",
            fix=f"leave it out, or choose a {BLIP}",
        )
    config, tokenizer = read_config(folder), read_tokenizer(folder)
    decoder = config.text_config if architecture == BLIP else config.decoder
    taken = 1 if chosen.prompt is None else len(tokenizer(chosen.prompt)["input_ids"])
    positions = next((getattr(decoder, name) for name in POSITIONS if hasattr(decoder, name)), None)
    limit = max(1, (positions or DEFAULT_TOKENS + taken) - taken)
    resolved = {
        "max_new_tokens": bounded(chosen.max_new_tokens, DEFAULT_TOKENS, limit),
        "num_beams": num_beams(folder, chosen.num_beams),
        "prompt": chosen.prompt,
    }
    fields = (pa.field(TEXT, pa.string()), pa.field(NUM_TOKENS, pa.int32()))
    return Taken("image", image_input(folder), resolved, fields)


def load(folder: Path, description: GeneratorDescription) -> Captions:
    """Builds the network."""
    [inputs] = description.inputs.values()
    assert isinstance(inputs, ImageInput)
    model = read_model(folder, of_transformers(description.architecture))
    kind = BlipCaptions if description.architecture == BLIP else Captions
    return kind(model, read_tokenizer(folder), inputs, description.settings)


class CaptionNetwork(nn.Module):
    """The model, and what scales pixels for it.

    Args:
        model: The model.
        inputs: How images were decoded, and how they are scaled.
    """

    def __init__(self, model: Any, inputs: ImageInput) -> None:
        super().__init__()
        self.model = model
        self.scale: Tensor
        self.shift: Tensor
        mean, std = torch.tensor(inputs.mean), torch.tensor(inputs.std)
        # (x / 255 - mean) / std in one pass.
        self.register_buffer("scale", (1 / (255 * std)).reshape(-1, 1, 1), persistent=False)
        self.register_buffer("shift", (-mean / std).reshape(-1, 1, 1), persistent=False)

    def scaled(self, pixels: Tensor) -> Tensor:
        """(B, H, W, 3) uint8 -> (B, 3, H, W) float32."""
        return pixels.permute(0, 3, 1, 2).float() * self.scale + self.shift


class Captions(Generator):
    """Writes about images, with an encoder of images and a decoder of texts.

    Args:
        model: Both.
        tokenizer: Of the texts.
        inputs: How images were decoded.
        settings: Those of its description.
    """

    def __init__(
        self, model: Any, tokenizer: Any, inputs: ImageInput, settings: Mapping[str, Any]
    ) -> None:
        self.network = CaptionNetwork(model, inputs)
        self.tokenizer = tokenizer
        self.settings = settings
        self.shape = (inputs.size, inputs.size, CHANNELS)
        self.num_prompt_tokens = 1
        self.ending = search_by(model, settings)

    def passes(self, column: pa.Array) -> Iterator[list[Piece]]:
        """Images, each whole."""
        values = dense_column(column, self.shape).values
        yield [Piece(row, 0, self.shape[0], image) for row, image in enumerate(values)]

    def prepare(self, pieces: Sequence[Piece]) -> tuple[Tensor, ...]:
        """(B, H, W, 3) uint8."""
        return (torch.from_numpy(np.stack([piece.content for piece in pieces])),)

    def generate(self, *inputs: Tensor) -> Tensor:
        """Tokens behind one that captions start with."""
        [pixels] = inputs
        tokens: Tensor = self.network.model.generate(pixel_values=self.network.scaled(pixels))
        return tokens

    def read(self, tokens: list[int], piece: Piece) -> Written:
        """What was written."""
        start = self.num_prompt_tokens
        return self.ending.written(tokens[start:], tokens[:start])

    def columns(self, samples: Sequence[Sequence[tuple[Piece, Written]]]) -> dict[str, list[Any]]:
        """Captions, and how many tokens they have."""
        return plain_texts(samples, self.tokenizer, TEXT)


class BlipCaptions(Captions):
    """Writes about images with a BLIP, which may be told how a caption begins."""

    def __init__(
        self, model: Any, tokenizer: Any, inputs: ImageInput, settings: Mapping[str, Any]
    ) -> None:
        super().__init__(model, tokenizer, inputs, settings)
        self.ending = search_by(
            model.text_decoder, settings, [model.config.text_config.sep_token_id]
        )
        self.prompt: Tensor | None = None
        if settings["prompt"] is not None:
            self.prompt = torch.tensor([tokenizer(settings["prompt"])["input_ids"]])
            self.num_prompt_tokens = self.prompt.shape[1] - 1  # the model takes the last away

    def generate(self, *inputs: Tensor) -> Tensor:
        """Tokens behind those of the prompt."""
        [pixels] = inputs
        given: dict[str, Tensor] = {}
        if self.prompt is not None:
            ids = self.prompt.to(pixels.device).repeat(len(pixels), 1)
            given = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        tokens: Tensor = self.network.model.generate(self.network.scaled(pixels), **given)
        return tokens

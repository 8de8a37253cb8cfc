"""Networks that answer a prompt about an image: decoders of texts that read its tokens first (LLaVA, PaliGemma)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import Field
from torch import Tensor

from pipeline.errors import ConfigError, ModelError
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
from pipeline.modalities.pretrained.generators.images import DEFAULT_TOKENS, TEXT, Captions
from pipeline.modalities.pretrained.generators.writing import (
    Piece,
    Written,
    num_beams,
    of_transformers,
)
from pipeline.modalities.pretrained.hf.folder import (
    WHOLE,
    image_input,
    read_config,
    read_model,
    read_processor,
)

PIXELS = "pixel_values"
GIVEN = (
    "input_ids",
    "attention_mask",
    "token_type_ids",
)  # what a network may be given beside pixels


class PromptSettings(SearchSettings):
    """What images are asked, and how the answer is found."""

    prompt: str | None = Field(
        default=None, min_length=1, description="what is asked about each image, in words"
    )


def describe(folder: Path, architecture: str, settings: Mapping[str, Any]) -> Taken:
    """What a network takes and gives.

    Raises:
        ConfigError: There is no prompt, or it leaves no room for an answer.
    """
    chosen = settled(PromptSettings, settings, architecture)
    if chosen.prompt is None:
        raise ConfigError(
            f"{architecture} answers a prompt, and there is none",
            where=f"{WHERE}.prompt",
            fix="set it, for example to: Describe the image in one sentence.",
        )
    inputs = image_input(folder)
    taken = asked(folder, read_processor(folder), inputs, chosen.prompt)["input_ids"].shape[1]
    positions = read_config(folder).get_text_config().max_position_embeddings
    if taken >= positions:
        raise ConfigError(
            f"image and prompt take {taken} tokens, and the network has {positions}",
            where=f"{WHERE}.prompt",
            fix="ask in fewer words",
        )
    resolved = {
        "max_new_tokens": bounded(chosen.max_new_tokens, DEFAULT_TOKENS, positions - taken),
        "num_beams": num_beams(folder, chosen.num_beams),
        "prompt": chosen.prompt,
    }
    fields = (pa.field(TEXT, pa.string()), pa.field(NUM_TOKENS, pa.int32()))
    return Taken("image", inputs, resolved, fields)


def load(folder: Path, description: GeneratorDescription) -> Answers:
    """Builds the network."""
    [inputs] = description.inputs.values()
    assert isinstance(inputs, ImageInput)
    model = read_model(folder, of_transformers(description.architecture))
    processor = read_processor(folder)
    prompt = asked(folder, processor, inputs, description.settings["prompt"])
    return Answers(model, processor.tokenizer, inputs, description.settings, prompt)


def asked(folder: Path, processor: Any, inputs: ImageInput, prompt: str) -> dict[str, Tensor]:
    """What a network is given beside an image's pixels, the same for every image: tensors (1, L).

    Args:
        folder: Of the network.
        processor: Puts image and prompt together, by its template where it has one.
        inputs: How images are decoded.
        prompt: In words.

    Raises:
        ModelError: An image becomes several, or other than a square.
    """
    from PIL import Image

    image = Image.fromarray(np.zeros((inputs.size, inputs.size, CHANNELS), dtype=np.uint8))
    text = f"{getattr(processor, 'image_token', '')}{prompt}"
    if getattr(processor, "chat_template", None):
        content = [{"type": "image"}, {"type": "text", "text": prompt}]
        message = {"role": "user", "content": content}
        text = processor.apply_chat_template([message], add_generation_prompt=True)
    made = processor(images=image, text=text, return_tensors="pt")
    if made[PIXELS].shape != (1, CHANNELS, inputs.size, inputs.size):
        raise ModelError(
            f"an image becomes pixels of the shape {tuple(made[PIXELS].shape)}, which is not known here",
            where=str(folder),
            fix="choose a model that resizes each image to one square; " + WHOLE,
        )
    return {name: made[name] for name in GIVEN if name in made}


class Answers(Captions):
    """Answers a prompt about each image.

    Args:
        model: The network.
        tokenizer: Of the texts.
        inputs: How images were decoded.
        settings: Those of its description.
        prompt: Of :func:`asked`.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        inputs: ImageInput,
        settings: Mapping[str, Any],
        prompt: Mapping[str, Tensor],
    ) -> None:
        super().__init__(model, tokenizer, inputs, settings)
        self.prompt = prompt
        self.num_prompt_tokens = prompt["input_ids"].shape[1]

    def generate(self, *inputs: Tensor) -> Tensor:
        """Tokens behind those of image and prompt."""
        [pixels] = inputs
        given = {
            name: values.to(pixels.device).repeat(len(pixels), 1)
            for name, values in self.prompt.items()
        }
        tokens: Tensor = self.network.model.generate(
            pixel_values=self.network.scaled(pixels), **given
        )
        return tokens

    def read(self, tokens: list[int], piece: Piece) -> Written:
        """What was answered, without the prompt."""
        answer: Sequence[int] = tokens[self.num_prompt_tokens :]
        return self.ending.written(answer, ())

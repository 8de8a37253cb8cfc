"""Networks that write a text about a text: T5, BART, Marian."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from pydantic import Field
from torch import Tensor

from pipeline.modalities.inputs import TextInput
from pipeline.modalities.pretrained.generators.base import (
    NUM_TOKENS,
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
from pipeline.modalities.pretrained.hf.folder import read_config, read_model, read_tokenizer
from pipeline.modalities.pretrained.towers import padded_length

TEXT = "generated_text"
DEFAULT_TOKENS = 256
LONGEST = 512  # tokens of a text, where neither tokenizer nor network has a limit
NO_LIMIT = 1_000_000  # tokenizers without one say more than this


class TextSettings(SearchSettings):
    """How texts are written about."""

    prompt: str = Field(default="", description="put before each text, as 'summarize: '")
    max_input_tokens: int | None = Field(
        default=None,
        ge=1,
        description="of a text, the prompt included; by default, as many as the model takes",
    )


def describe(folder: Path, architecture: str, settings: Mapping[str, Any]) -> Taken:
    """What a network takes and gives."""
    chosen = settled(TextSettings, settings, architecture)
    config, tokenizer = read_config(folder), read_tokenizer(folder)
    positions: int | None = getattr(config, "max_position_embeddings", None)
    told = tokenizer.model_max_length
    limits = [positions, told if told < NO_LIMIT else None]
    longest = min((limit for limit in limits if limit), default=chosen.max_input_tokens or LONGEST)
    kept = min(longest, chosen.max_input_tokens or longest)
    resolved = {
        "max_new_tokens": bounded(
            chosen.max_new_tokens, DEFAULT_TOKENS, (positions or NO_LIMIT) - 1
        ),
        "num_beams": num_beams(folder, chosen.num_beams),
        "prompt": chosen.prompt,
        "max_input_tokens": kept,
    }
    fields = (pa.field(TEXT, pa.string()), pa.field(NUM_TOKENS, pa.int32()))
    return Taken("text", TextInput(kept), resolved, fields)


def load(folder: Path, description: GeneratorDescription) -> Texts:
    """Builds the network."""
    model = read_model(folder, of_transformers(description.architecture))
    return Texts(model, read_tokenizer(folder), description.settings)


class Texts(Generator):
    """Writes about texts, padded to a power of two of tokens.

    Args:
        network: An encoder and a decoder of texts.
        tokenizer: Its tokenizer.
        settings: Those of its description.
    """

    def __init__(self, network: Any, tokenizer: Any, settings: Mapping[str, Any]) -> None:
        self.network = network
        self.tokenizer = tokenizer
        self.prompt, self.longest = settings["prompt"], settings["max_input_tokens"]
        self.ending = search_by(network, settings)

    def passes(self, column: pa.Array) -> Iterator[list[Piece]]:
        """Texts, each whole, up to the tokens that the network takes."""
        texts = [self.prompt + text for text in column.to_pylist()]
        encoded = self.tokenizer(texts, truncation=True, max_length=self.longest)["input_ids"]
        yield [
            Piece(row, 0, padded_length(len(ids), self.longest), ids)
            for row, ids in enumerate(encoded)
        ]

    def prepare(self, pieces: Sequence[Piece]) -> tuple[Tensor, ...]:
        """Ids and their mask, (B, L) int64 each."""
        pad = self.tokenizer.pad_token_id or 0
        size = pieces[0].size
        ids = torch.full((len(pieces), size), pad)
        mask = torch.zeros((len(pieces), size), dtype=torch.int64)
        for row, piece in enumerate(pieces):
            ids[row, : len(piece.content)] = torch.tensor(piece.content)
            mask[row, : len(piece.content)] = 1
        return ids, mask

    def generate(self, *inputs: Tensor) -> Tensor:
        """Tokens behind one that texts start with."""
        ids, mask = inputs
        tokens: Tensor = self.network.generate(input_ids=ids, attention_mask=mask)
        return tokens

    def read(self, tokens: list[int], piece: Piece) -> Written:
        """What was written."""
        return self.ending.written(tokens[1:], tokens[:1])

    def columns(self, samples: Sequence[Sequence[tuple[Piece, Written]]]) -> dict[str, list[Any]]:
        """Texts, and how many tokens they have."""
        return plain_texts(samples, self.tokenizer, TEXT)

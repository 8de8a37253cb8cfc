"""What the networks of generators have in common: pieces of samples in, what was written about each of them out."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import transformers
from torch import Tensor

from pipeline.modalities.pretrained.generators.base import NUM_TOKENS
from pipeline.modalities.pretrained.hf.folder import read_generation

# Loggers of transformers that tell, for each micro-batch, of settings that lead where they are meant to.
TALKATIVE = ("transformers.generation", "transformers.models.whisper.generation_whisper")
# What a folder may ask for besides greedy and beam search: chance, and searches that transformers no longer carries.
OFF: Mapping[str, Any] = {
    "do_sample": False,
    "num_return_sequences": 1,
    "max_length": None,
    "max_time": None,
    "stop_strings": None,
    "return_dict_in_generate": False,
    "output_scores": False,
    **dict.fromkeys(
        (
            "temperature", "top_k", "top_p", "min_p", "top_h", "typical_p", "epsilon_cutoff", "eta_cutoff",
            "penalty_alpha", "num_beam_groups", "diversity_penalty", "force_words_ids", "constraints", "dola_layers",
            "prompt_lookup_num_tokens", "assistant_early_exit", "is_assistant", "watermarking_config",
        )
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Piece:
    """What a network is given of a sample: all of it, or a window of it.

    Attributes:
        row: Of the sample, among those that have the modality.
        number: Of the window, in the sample.
        size: What it is padded to, which depends on nothing but itself; a micro-batch has pieces of one size.
        content: Its values.
        start: Where the window begins in the sample, in values.
    """

    row: int
    number: int
    size: int
    content: Any
    start: int = 0


@dataclass(frozen=True)
class Written:
    """What a network wrote about a piece.

    Attributes:
        tokens: Of the text, without a prompt and what ends it.
        is_cut: Whether it would have been longer.
        prompt: Tokens that it was begun with.
    """

    tokens: Sequence[int]
    is_cut: bool = False
    prompt: Sequence[int] = ()


class Generator(ABC):
    """A network that writes texts about values of one modality.

    Attributes:
        network: A module, all that lies on the device.
    """

    network: Any

    @abstractmethod
    def passes(self, column: pa.Array) -> Iterator[list[Piece]]:
        """The pieces of a part, all at once, or such as need what was written about others behind those.

        Args:
            column: Decoded values, none null.
        """

    @abstractmethod
    def prepare(self, pieces: Sequence[Piece]) -> tuple[Tensor, ...]:
        """Pieces of one size -> tensors (B, ...) on the CPU."""

    @abstractmethod
    def generate(self, *inputs: Tensor) -> Tensor:
        """What :meth:`prepare` made, on the device -> tokens (B, L) int64."""

    @abstractmethod
    def read(self, tokens: list[int], piece: Piece) -> Written:
        """What was written about a piece; remembers what the pieces of a later pass need."""

    @abstractmethod
    def columns(self, samples: Sequence[Sequence[tuple[Piece, Written]]]) -> dict[str, list[Any]]:
        """The columns of samples whose pieces were written about, in the order of the windows."""


@dataclass(frozen=True)
class Ending:
    """How a search ends texts.

    Attributes:
        ids: Tokens that end one.
        most: Tokens that one may have, with that which ends it.
        is_forced: Whether the search ends those that would be longer with such a token.
    """

    ids: frozenset[int]
    most: int
    is_forced: bool = False

    def written(self, tokens: Sequence[int], prompt: Sequence[int]) -> Written:
        """What was written, of tokens behind a prompt."""
        end = next((place for place, token in enumerate(tokens) if token in self.ids), None)
        count = len(tokens) if end is None else end
        is_cut = count >= self.most or (self.is_forced and count == self.most - 1)
        return Written(tokens[:count], is_cut, prompt)


def search_by(model: Any, settings: Mapping[str, Any], ends: Iterable[int] = ()) -> Ending:
    """Has a model search as the settings say, and never by chance.

    Args:
        model: Its ``generation_config`` is what its ``generate`` goes by.
        settings: With ``max_new_tokens`` and ``num_beams``.
        ends: Tokens that end a text, where its configuration does not say so.
    """
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.ERROR)
    config = model.generation_config
    config.update(**OFF, max_new_tokens=settings["max_new_tokens"], num_beams=settings["num_beams"])
    end = config.eos_token_id
    named = [] if end is None else [end] if isinstance(end, int) else end
    return Ending(
        frozenset(ends or named),
        settings["max_new_tokens"],
        is_forced=config.forced_eos_token_id is not None,
    )


def num_beams(folder: Path, given: int | None) -> int:
    """The width of the search: as the settings say, or else as the folder does."""
    return given or read_generation(folder).num_beams or 1


def plain_texts(
    samples: Sequence[Sequence[tuple[Piece, Written]]], tokenizer: Any, name: str
) -> dict[str, list[Any]]:
    """The text of samples of one piece each, with the prompt, and how many tokens were written."""
    written = [sample[0][1] for sample in samples]
    sequences = [[*each.prompt, *each.tokens] for each in written]
    return {
        name: [tokenizer.decode(ids, skip_special_tokens=True).strip() for ids in sequences],
        NUM_TOKENS: [len(each.tokens) for each in written],
    }


def of_transformers(architecture: str) -> Any:
    """What reads the weights of a class of transformers."""
    return getattr(transformers, architecture).from_pretrained

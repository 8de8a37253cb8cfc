"""The symbols that a network writes texts with."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, JsonValue

from pipeline.modalities.section import Section
from pipeline.modalities.text.codec import PAD, train_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer

START, END = 1, 2  # where the tokenizer's training has them; PAD is 0
UNKNOWN = 3  # of characters alone: bytes write everything
FIRST_CHARACTER = 4
UNKNOWN_SHOWN = "\ufffd"


class Vocabulary(ABC):
    """Symbols of texts, from 0 on; the first three are PAD, START and END, which no text holds."""

    @property
    @abstractmethod
    def size(self) -> int:
        """Symbols, PAD, START and END among them."""

    @abstractmethod
    def encode(self, text: str) -> list[int]:
        """The symbols of a text, without START and END."""

    @abstractmethod
    def decode(self, symbols: Sequence[int]) -> str:
        """The text of symbols; PAD, START and END say nothing."""

    @abstractmethod
    def has(self, character: str) -> bool:
        """Whether texts with the character are written as they are."""

    @abstractmethod
    def to_json(self) -> dict[str, JsonValue]:
        """What :meth:`from_json` makes it of."""

    @staticmethod
    def from_json(values: Any) -> Vocabulary:
        """The vocabulary that was learned."""
        if values["kind"] == CharactersConfig.model_fields["kind"].default:
            return Characters(values["characters"])
        return Pieces(values["tokenizer"])


class Characters(Vocabulary):
    """Each character is a symbol; those that training texts lack are one, UNKNOWN.

    Args:
        characters: Those that there are, in the order of their symbols.
    """

    def __init__(self, characters: str) -> None:
        self.characters = characters
        self._symbols = {character: FIRST_CHARACTER + i for i, character in enumerate(characters)}

    @property
    def size(self) -> int:
        return FIRST_CHARACTER + len(self.characters)

    def encode(self, text: str) -> list[int]:
        return [self._symbols.get(character, UNKNOWN) for character in text]

    def decode(self, symbols: Sequence[int]) -> str:
        shown = (
            self.characters[symbol - FIRST_CHARACTER] if symbol > UNKNOWN else UNKNOWN_SHOWN
            for symbol in symbols
            if symbol > END
        )
        return "".join(shown)

    def has(self, character: str) -> bool:
        return character in self._symbols

    def to_json(self) -> dict[str, JsonValue]:
        return {"kind": "characters", "characters": self.characters}


class Pieces(Vocabulary):
    """Pieces of words, down to single bytes, so that every text can be written.

    Args:
        tokenizer: JSON of a ``tokenizers.Tokenizer``; see :func:`pipeline.modalities.text.codec.train_tokenizer`.
    """

    def __init__(self, tokenizer: str) -> None:
        self.tokenizer = tokenizer

    @property
    def size(self) -> int:
        size: int = self._engine.get_vocab_size()
        return size

    def encode(self, text: str) -> list[int]:
        symbols: list[int] = self._engine.encode(text, add_special_tokens=False).ids
        return symbols

    def decode(self, symbols: Sequence[int]) -> str:
        text: str = self._engine.decode([symbol for symbol in symbols if symbol > END])
        return text

    def has(self, character: str) -> bool:
        return True

    def to_json(self) -> dict[str, JsonValue]:
        return {"kind": "bpe", "tokenizer": self.tokenizer}

    @cached_property
    def _engine(self) -> Tokenizer:
        # Threads of the tokenizer's own would take the time of the network.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        from tokenizers import Tokenizer

        return Tokenizer.from_str(self.tokenizer)

    def __getstate__(self) -> dict[str, Any]:
        return {"tokenizer": self.tokenizer}


class CharactersConfig(Section):
    """Single characters: few symbols, long sequences; for short texts, and for speech."""

    kind: Literal["characters"] = "characters"
    most: Annotated[
        int, Field(ge=1, description="characters; rarer ones are written as one that is unknown")
    ] = 4096

    def learn(self, characters: Counter[str], texts: Iterable[str]) -> Vocabulary:
        """The vocabulary of training texts, of which these are the characters."""
        frequent = sorted(characters, key=lambda character: (-characters[character], character))
        return Characters("".join(sorted(frequent[: self.most])))


class PiecesConfig(Section):
    """Pieces of words by byte-pair encoding: more symbols, shorter sequences; for sentences."""

    kind: Literal["bpe"] = "bpe"
    size: Annotated[int, Field(ge=260, le=200_000, description="symbols that are learned")] = 1024

    def learn(self, characters: Counter[str], texts: Iterable[str]) -> Vocabulary:
        """The vocabulary of training texts, of which these are the characters."""
        return Pieces(train_tokenizer(texts, self.size))


VocabularyConfig = Annotated[CharactersConfig | PiecesConfig, Field(discriminator="kind")]

__all__ = [
    "END",
    "PAD",
    "START",
    "UNKNOWN",
    "Characters",
    "CharactersConfig",
    "Pieces",
    "PiecesConfig",
    "Vocabulary",
    "VocabularyConfig",
]

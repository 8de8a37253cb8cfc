"""Text bytes -> token ids of a pretrained network's own tokenizer."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.modalities.text.codec import PAD, UTF_8, TextCodec

if TYPE_CHECKING:
    from pipeline.modalities.text import TextFilterConfig

FIRST_ID = PAD + 1  # what the network's id 0 becomes


class IdCodec(TextCodec):
    """Decodes a text to (L,) int32: the network's ids, each one higher, since 0 stands for no token here.

    The text is read and cleaned as :class:`TextCodec` does. The tokens that the network wants at its beginning and
    its end are among the ids.

    Args:
        tokenizer: JSON of a ``tokenizers.Tokenizer``.
        max_tokens: Ids kept.
        max_bytes: Longer texts are refused.
        encoding: Of the texts, by Python's name.
        limits: Which good texts are left out; None leaves out none.
        prompt: What is put before each text.
        lower: Puts texts in lower case.
    """

    def __init__(
        self,
        tokenizer: str,
        max_tokens: int,
        max_bytes: int,
        encoding: str = UTF_8,
        limits: TextFilterConfig | None = None,
        *,
        prompt: str = "",
        lower: bool = False,
    ) -> None:
        super().__init__(tokenizer, max_tokens, max_bytes, encoding, limits)
        self.prompt = prompt
        self.lower = lower

    def tokenize(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Cleaned texts -> (L,) int32 ids of each, from 1 on."""
        prompted = [self.prompt + text for text in texts]
        if self.lower:
            prompted = [text.lower() for text in prompted]
        encodings = self._tokenizer().encode_batch_fast(prompted, add_special_tokens=True)
        return [np.array(encoding.ids, dtype=np.int32) + FIRST_ID for encoding in encodings]

    def text(self, ids: np.ndarray) -> str:
        real = (ids[ids != PAD] - FIRST_ID).tolist()
        text: str = self._tokenizer().decode(real, skip_special_tokens=True)
        prompt = self.prompt.lower() if self.lower else self.prompt
        return text.removeprefix(prompt.strip()).strip() if prompt else text

    def marked(self, ids: np.ndarray, left: np.ndarray) -> list[tuple[str, bool]]:
        engine = self._tokenizer()
        places = np.flatnonzero(ids != PAD)
        pieces = [engine.id_to_token(int(ids[place]) - FIRST_ID) or "" for place in places]
        return [
            (f"{piece} ", bool(left[place] == ids[place]))
            for piece, place in zip(pieces, places, strict=True)
        ]

    def _tokenizer(self) -> Any:
        if self._engine is None:
            # One decode task has one CPU; threads of the tokenizer's own would take the neighbours'.
            os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
            from tokenizers import Tokenizer

            self._engine = Tokenizer.from_str(self.tokenizer)
            self._engine.enable_truncation(self.max_tokens)
            self._engine.no_padding()
        return self._engine

"""Texts -> the tensors of their tokens, by a model's own tokenizer."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from pipeline.modalities.pretrained.hf.sentences import Recipe
from pipeline.modalities.pretrained.towers import padded_length


class Tokens:
    """Tokenizes texts with a tokenizer of transformers.

    Args:
        tokenizer: The model's own.
        max_tokens: Tokens kept.
        recipe: What is put before a text, and whether it is put in lower case.
        whole: Pads all texts to ``max_tokens``; otherwise to a power of two that holds the longest of them.
    """

    def __init__(self, tokenizer: Any, max_tokens: int, recipe: Recipe, *, whole: bool) -> None:
        self.tokenizer = tokenizer
        self.max_tokens = max_tokens
        self.recipe = recipe
        self.whole = whole
        tokenizer.padding_side = "right"

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the tensors, in their order."""
        return tuple(self.tokenizer.model_input_names)

    def __call__(self, texts: list[str]) -> tuple[Tensor, ...]:
        """Texts -> (B, L) int64 each."""
        texts = [self.recipe.prompt + text for text in texts]
        if self.recipe.lower:
            texts = [text.lower() for text in texts]
        encoded = self.tokenizer(texts, truncation=True, max_length=self.max_tokens)
        longest = max(len(ids) for ids in encoded["input_ids"])
        length = self.max_tokens if self.whole else padded_length(longest, self.max_tokens)
        padded = self.tokenizer.pad(
            encoded, padding="max_length", max_length=length, return_tensors="pt"
        )
        return tuple(padded[name] for name in self.names)

"""Texts of which tokens were dropped, as a person reads them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence


def marked_text(ids: Sequence[int], kept: Sequence[int], tokenizer: str) -> list[tuple[str, bool]]:
    """A text in pieces, each with whether its tokens are still there.

    Args:
        ids: Token ids of the whole text, 0 where there is none.
        kept: The same, 0 where a token was dropped.
        tokenizer: The tokenizer's JSON.

    Returns:
        (piece, still there); a letter of several tokens is there only if all of them are.
    """
    from tokenizers import Tokenizer

    engine = Tokenizer.from_str(tokenizer)
    unchanged = [new == old for old, new in zip(ids, kept, strict=True) if old]
    shown_ids = [old for old in ids if old]
    text = engine.decode(shown_ids)
    again = engine.encode(text, add_special_tokens=False)
    if again.ids != shown_ids:  # cut inside a letter; then each token is a piece
        return _joined(
            zip(map(engine.decode, ([token] for token in shown_ids)), unchanged, strict=True)
        )
    letters = [True] * len(text)
    for (start, end), one in zip(again.offsets, unchanged, strict=True):
        for place in range(start, end):
            letters[place] = letters[place] and one
    return _joined(zip(text, letters, strict=True))


def _joined(pieces: Iterator[tuple[str, bool]]) -> list[tuple[str, bool]]:
    groups = itertools.groupby(pieces, key=lambda piece: piece[1])
    return [("".join(text for text, _ in group), unchanged) for unchanged, group in groups]

"""How texts get worse, to see how much of it a model stands."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from pipeline.modalities.chance import Chance
from pipeline.modalities.facets import Corruption
from pipeline.modalities.text.codec import TextCodec

SHARES = (0.05, 0.1, 0.25, 0.5)
# (text, share, chance of the one sample) -> text
Change = Callable[[str, float, Chance], str]


def corruptions(codec: TextCodec) -> Mapping[str, Corruption]:
    """Dropped characters, and a lost end, of int64 (B, L) ids.

    Args:
        codec: Makes texts of ids, and ids of texts.
    """

    def of(change: Change) -> Callable[[Tensor, float, Chance], Tensor]:
        return lambda values, share, chance: _changed(codec, values, share, chance, change)

    return {
        "drop": Corruption("share of the characters", SHARES, of(_drop)),
        "cut": Corruption("share of the end", (0.1, 0.25, 0.5, 0.75), of(_cut)),
    }


def _changed(
    codec: TextCodec, values: Tensor, share: float, chance: Chance, change: Change
) -> Tensor:
    """The ids of changed texts; what has no character stays as it is."""
    changed = torch.zeros_like(values)
    for row, ids in enumerate(values):
        text = codec.text(ids.numpy())
        if not text:
            changed[row] = ids
            continue
        [tokens] = codec.tokenize([change(text, share, Chance(chance.seeds[row : row + 1]))])
        tokens = tokens[: values.shape[1]]
        changed[row, : len(tokens)] = torch.from_numpy(tokens.astype("int64"))
    return changed


def _drop(text: str, share: float, chance: Chance) -> str:
    """A text without some of its characters; the last to go stays."""
    draws = chance.uniform(len(text))[0]
    draws[draws.argmax()] = 1.0
    return "".join(
        character for character, draw in zip(text, draws.tolist(), strict=True) if draw >= share
    )


def _cut(text: str, share: float, chance: Chance) -> str:
    return text[: max(1, round(len(text) * (1.0 - share)))]

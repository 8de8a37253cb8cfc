"""Small random changes to a batch, drawn from each sample's own chance."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from pipeline.modalities.chance import CHANCE, Chance

Augment = Callable[[Tensor, Chance], Tensor]


def augmented(batch: Mapping[str, Tensor], changes: Mapping[str, Augment]) -> dict[str, Tensor]:
    """A batch with some of its columns changed by chance.

    Args:
        batch: With a column ``chance``; its own tensors stay as they are.
        changes: Column -> what changes it.
    """
    chance = Chance(batch[CHANCE])
    changed = {name: change(batch[name], chance.stream(name)) for name, change in changes.items()}
    return {**batch, **changed}

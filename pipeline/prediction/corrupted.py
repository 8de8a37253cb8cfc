"""Batches in which one modality is made worse, in a way that it knows itself, or is taken away from some samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.errors import ConfigError
from pipeline.metrics.record import Corrupted
from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.base import Codec
from pipeline.modalities.chance import Chance
from pipeline.modalities.facets import Corruption

MISSING = "missing"  # what every modality may be
MISSING_SHARES = (0.25, 0.5, 0.75, 1.0)
MISSING_UNIT = "share of the samples without it"
BLOCK_VALUES = 1 << 21  # changed at a time: what is drawn for them takes some tens of MB


@dataclass(frozen=True)
class Case:
    """One modality, made worse in one way to one degree.

    Attributes:
        corrupted: Which, how, and how much.
        corruption: How; None takes the modality away.
    """

    corrupted: Corrupted
    corruption: Corruption | None

    @property
    def severity(self) -> float:
        """How much."""
        assert self.corrupted.severity is not None
        return self.corrupted.severity

    @property
    def name(self) -> str:
        """Of its column."""
        return f"{self.corrupted.modality}/{self.corrupted.corruption}/{self.severity:g}"

    def tells(self, present: Mapping[str, NDArray[np.bool_]]) -> NDArray[np.bool_]:
        """Which samples are touched by it, and are left with a modality, (N,) bool.

        Args:
            present: Modality -> (N,) bool.
        """
        has = present[self.corrupted.modality]
        if self.corruption is not None:
            return has
        others = [rows for name, rows in present.items() if name != self.corrupted.modality]
        left: NDArray[np.bool_] = has & np.any(others, axis=0)
        return left

    def __call__(self, batch: Mapping[str, Tensor], seeds: Tensor) -> dict[str, Tensor]:
        """A batch that got worse; its own tensors stay as they are.

        Args:
            batch: Of :func:`pipeline.models.batch.to_tensors`.
            seeds: int64 (B,), what the chance of each sample is drawn from: the same at every severity.
        """
        name = self.corrupted.modality
        chance = Chance(seeds).stream(name).stream(self.corrupted.corruption)
        if self.corruption is None:
            stays = chance.uniform() >= self.severity
            return {**batch, f"{name}_present": batch[f"{name}_present"] & stays}
        values = batch[name]
        rows = max(1, BLOCK_VALUES // max(1, values[0].numel())) if len(values) else 1
        changed = [
            self.corruption.change(
                values[start : start + rows],
                self.severity,
                Chance(chance.seeds[start : start + rows]),
            )
            for start in range(0, len(values), rows)
        ]
        return {**batch, name: torch.cat(changed) if changed else values}


def cases(
    modalities: ModalitiesConfig, codecs: Mapping[str, Codec], chosen: Sequence[str] | None
) -> list[Case]:
    """All cases of a model, a modality and a way after the other, each from the mildest to the worst.

    Args:
        modalities: The model's.
        codecs: Modality -> codec.
        chosen: Names of corruptions; all that the modalities know where None.

    Raises:
        ConfigError: No modality knows one that is chosen.
    """
    ways: dict[tuple[str, str], Corruption | None] = {}
    for name, config in modalities.by_name().items():
        ways |= {(name, way): each for way, each in config.corruptions(codecs[name]).items()}
        if len(codecs) > 1:
            ways[name, MISSING] = None
    known = list(dict.fromkeys(way for _, way in ways))
    for way in chosen or ():
        if way not in known:
            raise ConfigError(
                f"no modality of the model knows the corruption {way}",
                where="evaluate.robustness.corruptions",
                fix=f"choose of {', '.join(known)}, or all",
            )
    return [
        Case(
            Corrupted(
                modality=name,
                corruption=way,
                unit=corruption.unit if corruption else MISSING_UNIT,
                severity=severity,
            ),
            corruption,
        )
        for (name, way), corruption in ways.items()
        if chosen is None or way in chosen
        for severity in (corruption.severities if corruption else MISSING_SHARES)
    ]

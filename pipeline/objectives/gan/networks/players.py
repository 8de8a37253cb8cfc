"""The two players: the generator makes values of conditions, the discriminator tells made from real ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy

import torch
from torch import Tensor, nn

from pipeline.modalities.chance import Chance
from pipeline.modalities.layers import Features
from pipeline.models.fusion import FusionConfig
from pipeline.objectives.gan.networks.maps import MapCritic, MapGenerator
from pipeline.objectives.gan.networks.readers import NoiseReader, Read
from pipeline.objectives.gan.networks.spectral import spectral_norm
from pipeline.objectives.gan.networks.vectors import VectorCritic, VectorGenerator
from pipeline.objectives.gan.networks.warped import WarpedGenerator
from pipeline.objectives.gan.rows import CONDITION, MAP_DIMENSIONS
from pipeline.objectives.network import Batch


class Condition(nn.Module):
    """What a value is asked to be, as a vector: of the modalities that it is made from, and of the label.

    Args:
        encoders: Modality -> its encoder; this player's own copy is made.
        fusion: Joins them.
        width: D.
        num_values: V, of the label; 0 where there is none.
    """

    def __init__(
        self,
        encoders: Mapping[str, nn.Module],
        fusion: FusionConfig,
        width: int,
        num_values: int,
    ) -> None:
        super().__init__()
        self.width = width
        self.encoders = nn.ModuleDict(
            {name: deepcopy(encoder) for name, encoder in encoders.items()}
        )
        self.fusion = fusion.build(width, tuple(encoders)) if encoders else None
        self.label = nn.Linear(num_values, width, bias=False) if num_values else None
        if self.label is not None:
            # Of any of them, which a sample has one or few of, numbers as large as those of normalised features.
            nn.init.normal_(self.label.weight)

    def forward(self, batch: Batch) -> Tensor:
        """float32 (B, D)."""
        parts = []
        if self.fusion is not None:
            features: dict[str, Features] = {}
            for name, encoder in self.encoders.items():
                encoded: Features = encoder(batch[name])
                features[name] = encoded.where(batch[f"{name}_present"])
            parts.append(nn.functional.layer_norm(self.fusion(features), (self.width,)))
        if self.label is not None:
            parts.append(self.label(batch[CONDITION]))
        return torch.stack(parts).sum(dim=0)


class Generator(nn.Module):
    """Conditions and chance -> values.

    Args:
        condition: This player's own.
        shape: Of a value; (C, H, W) of a map.
        noise: Numbers of noise a sample.
        channels: See :class:`.maps.MapGenerator`.
        patch: The same.
        bounded: Whether values lie in 0..1.
        reads: Whether it learns to make real values again.
        warped: Whether maps are made by :class:`.warped.WarpedGenerator`.

    Attributes:
        reader: Tells of what noise; None where it does not.
    """

    def __init__(
        self,
        condition: Condition,
        shape: Sequence[int],
        noise: int,
        channels: int,
        patch: int,
        bounded: bool,
        reads: bool = False,
        warped: bool = False,
    ) -> None:
        super().__init__()
        self.condition, self.noise, self.bounded = condition, noise, bounded
        is_map = len(shape) == MAP_DIMENSIONS
        maker = WarpedGenerator if warped else MapGenerator
        sizes = (shape, noise, condition.width, channels, patch)
        self.network = maker(*sizes) if is_map else VectorGenerator(*sizes)
        by_places = is_map and not warped
        self.reader = NoiseReader(*sizes, by_places) if reads else None

    def forward(self, batch: Batch, chance: Chance) -> tuple[Tensor, Tensor]:
        """Makes a value for each sample.

        Returns:
            Values float32 (B, *shape), and the conditions that they were made of, float32 (B, D).
        """
        condition = self.condition(batch)
        noise = chance.stream("noise").normal(self.noise)
        return self._made(noise, condition, chance.stream("pixels")), condition

    def again(
        self, reader: NoiseReader, values: Tensor, condition: Tensor, chance: Chance
    ) -> tuple[Tensor, Read]:
        """Makes values again, of noise that is drawn as they tell.

        Args:
            reader: This player's own.
            values: float32 (B, *shape).
            condition: float32 (B, D), what they were asked to be.
            chance: Of the samples.

        Returns:
            float32 (B, *shape), and what was read.
        """
        read = reader(scaled(values, self.bounded), condition)
        drawn = chance.stream("read").normal(self.noise)
        noise = read.location + read.log_scale.exp() * drawn
        return self._made(noise, condition, chance.stream("pixels again")), read

    def _made(self, noise: Tensor, condition: Tensor, chance: Chance) -> Tensor:
        made: Tensor = self.network(noise, condition, chance)
        return torch.sigmoid(2.0 * made) if self.bounded else made


class Discriminator(nn.Module):
    """Values and conditions -> logits that the values are real, and go with the conditions.

    Args:
        condition: This player's own.
        shape: Of a value.
        channels: As of the generator.
        patch: The same.
        bounded: Whether values lie in 0..1; they are looked at from -1 to 1.

    Source:
        Miyato & Koyama 2018, "cGANs with projection discriminator", equation 3: y^T V phi(x) + psi(phi(x)).
    """

    def __init__(
        self, condition: Condition, shape: Sequence[int], channels: int, patch: int, bounded: bool
    ) -> None:
        super().__init__()
        self.condition, self.bounded = condition, bounded
        self.network = (MapCritic if len(shape) == MAP_DIMENSIONS else VectorCritic)(
            shape, channels, patch
        )
        self.realness = spectral_norm(nn.Linear(self.network.width, 1))
        self.projection = spectral_norm(nn.Linear(condition.width, self.network.width, bias=False))

    def scaled(self, values: Tensor) -> Tensor:
        """Values as they are looked at."""
        return scaled(values, self.bounded)

    def forward(self, values: Tensor, condition: Tensor) -> Tensor:
        """Looks at values.

        Args:
            values: float32 (B, *shape), of :meth:`scaled`.
            condition: float32 (B, D), of ``self.condition``.

        Returns:
            Logits, float32 (B,).
        """
        features = self.network(values)
        projected: Tensor = (self.projection(condition) * features).sum(dim=1)
        logits: Tensor = self.realness(features)[:, 0] + projected
        return logits


def scaled(values: Tensor, bounded: bool) -> Tensor:
    """Values as networks look at them: from -1 to 1 where they lie in 0..1."""
    return 2.0 * values - 1.0 if bounded else values


@contextmanager
def held(player: nn.Module) -> Iterator[None]:
    """Leaves a player as it is while the other learns: no gradients, and no step of its spectral norms."""
    was_training = player.training
    parameters = [parameter for parameter in player.parameters() if parameter.requires_grad]
    player.eval()
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        player.train(was_training)
        for parameter in parameters:
            parameter.requires_grad_(True)

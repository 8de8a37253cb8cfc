"""The network of a generative adversarial pair, in training and afterwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.modalities.chance import CHANCE, Chance
from pipeline.modalities.rendering.base import generated
from pipeline.models.batch import row_digests
from pipeline.objectives.base import EMBEDDING
from pipeline.objectives.gan.augment import diff_augment
from pipeline.objectives.gan.losses import (
    discriminator_losses,
    generator_losses,
    gradient_penalties,
    reconstruction_losses,
)
from pipeline.objectives.gan.networks.players import (
    Condition,
    Discriminator,
    Generator,
    held,
)
from pipeline.objectives.gan.networks.readers import NoiseReader
from pipeline.objectives.gan.rows import (
    CONDITION,
    FRECHET,
    MAP_DIMENSIONS,
    REALISM,
    YARDSTICK,
    YARDSTICK_REAL,
    presence,
)
from pipeline.objectives.gan.sums import mean, of_generator, summed
from pipeline.objectives.gan.yardstick import Yardstick, joint_distance
from pipeline.objectives.network import Batch, Objective, Turn

if TYPE_CHECKING:
    from pipeline.modalities.rendering.base import Rendering
    from pipeline.objectives.gan import GanConfig
    from pipeline.objectives.gan.conditions import Vocabulary

DISCRIMINATOR, GENERATOR = "discriminator", "generator"
BETAS = (0.0, 0.98)  # of both players' optimizers: what the other player did a step ago is history
REAL, MADE, ASKED, AGAIN = "real", "made", "asked", "reconstruction"


class AdversarialPair(Objective):
    """A generator and a discriminator, each with conditions of its own, that take turns.

    Args:
        config: The objective's section of the configuration.
        encoders: Modality -> encoder, of those that values are made from.
        name: The modality whose values are made.
        rendering: How they are made.
        vocabulary: Of the label; empty where there is none.
    """

    def __init__(
        self,
        config: GanConfig,
        encoders: Mapping[str, nn.Module],
        name: str,
        rendering: Rendering,
        vocabulary: Vocabulary,
    ) -> None:
        super().__init__()
        self.settings, self.name, self.vocabulary = config, name, vocabulary
        shape, bounded = rendering.shape, rendering.bounded
        self.renderer = cast(nn.Module, rendering.build(0))  # prepares and finishes values
        conditions = [
            Condition(encoders, config.fusion, config.width, vocabulary.size) for _ in range(2)
        ]
        sizes = (config.channels, config.patch, bounded)
        kinds = (config.reconstruction > 0, config.network == "warped")
        self.generator = Generator(conditions[0], shape, config.noise, *sizes, *kinds)
        self.discriminator = Discriminator(conditions[1], shape, *sizes)
        # See pipeline.training.optimization: of all weights below.
        self.discriminator.learning_rate_factor = config.discriminator_rate  # type: ignore[assignment]
        self.yardstick = Yardstick(shape)
        self.changes = config.augment if len(shape) == MAP_DIMENSIONS else ()

    @property
    def encoders(self) -> nn.ModuleDict:
        """The generator's own, modality -> encoder."""
        return self.generator.condition.encoders

    @property
    def turns(self) -> Sequence[Turn]:
        """The discriminator's, then the generator's; neither moves the other's weights."""
        return (
            Turn(DISCRIMINATOR, tuple(self.discriminator.parameters()), betas=BETAS),
            Turn(GENERATOR, tuple(self.generator.parameters()), betas=BETAS),
        )

    def fit(self, statistics: Mapping[str, Mapping[str, Any]]) -> None:
        if self.name in statistics:
            cast(Any, self.renderer).fit(statistics[self.name])

    def targets(self, texts: Sequence[str | None]) -> dict[str, Tensor]:
        """``condition``, float32 (B, V); nothing where there is no label."""
        if not self.vocabulary.size:
            return {}
        return {CONDITION: torch.from_numpy(self.vocabulary.table(texts))}

    def loss(self, batch: Batch, turn: str = DISCRIMINATOR) -> tuple[Tensor, dict[str, Tensor]]:
        """What a player is after; samples that lack the modality that is made teach nothing.

        Returns:
            The loss, the mean over the samples, and sums: ``samples`` that have the modality, and of these, in the
            discriminator's turn, ``discriminator_loss``, ``real_logit``, ``made_logit``, how often real and made values
            are told right (``right``), and ``penalty``; in the generator's ``generator_loss``, ``generated``, and where
            it makes real values again ``reconstruction``.
        """
        return self._generators(batch) if turn == GENERATOR else self._discriminators(batch)[:2]

    def _discriminators(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
        """The discriminator's loss, its sums, and the values (B, *shape): real and made ones, and their presence."""
        present, chance = batch[f"{self.name}_present"], self._chance(batch, DISCRIMINATOR)
        real, batch = self._real(batch), self._shown(batch, chance)
        with torch.no_grad():
            made, _ = self.generator(batch, chance)
        penalized = self.training and self.settings.r1 > 0
        looked_at = self.discriminator.scaled(real).requires_grad_(penalized)
        both = torch.cat([looked_at, self.discriminator.scaled(made)])
        condition = self.discriminator.condition(batch)
        changed = self._changed(both, Chance(torch.cat([chance.seeds, ~chance.seeds])))
        logits = self.discriminator(changed, torch.cat([condition, condition]))
        real_logits, made_logits = logits.chunk(2)
        losses = discriminator_losses(real_logits, made_logits, self.settings.loss)
        penalties = torch.zeros_like(losses)
        if penalized:
            penalties = gradient_penalties(real_logits, looked_at)
        total = losses + 0.5 * self.settings.r1 * penalties
        right = (real_logits > 0).float() + (made_logits < 0).float()
        sums = {
            "samples": present,
            "discriminator_loss": losses,
            "real_logit": real_logits,
            "made_logit": made_logits,
            "right": 0.5 * right,
            "penalty": penalties,
        }
        if not self.training:  # one look at a validation batch says what both lose
            sums |= of_generator(generator_losses(made_logits, self.settings.loss), present)
        values = {REAL: real, MADE: made, "present": present}
        return mean(total, present), summed(sums, present), values

    def _generators(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        present, chance = batch[f"{self.name}_present"], self._chance(batch, GENERATOR)
        real, batch = self._real(batch), self._shown(batch, chance)
        made, condition = self.generator(batch, chance)
        with held(self.discriminator):
            changed = self._changed(self.discriminator.scaled(made), chance)
            logits = self.discriminator(changed, self.discriminator.condition(batch))
        losses = generator_losses(logits, self.settings.loss)
        sums = of_generator(losses, present)
        if self.generator.reader is not None:
            again = self._again(real, condition, chance)
            losses, sums = losses + self.settings.reconstruction * again, {**sums, AGAIN: again}
        return mean(losses, present), summed(sums, present)

    def _again(self, real: Tensor, condition: Tensor, chance: Chance) -> Tensor:
        """Loss of making values (B, *shape) again, (B,)."""
        reader = cast(NoiseReader, self.generator.reader)
        again, read = self.generator.again(reader, real, condition, chance)
        scaled = self.discriminator.scaled
        scale = self.settings.reconstruction_scale
        return reconstruction_losses(
            scaled(real), scaled(again), read.location, read.log_scale, scale
        )

    def _shown(self, batch: Batch, chance: Chance) -> Batch:
        """In training, the batch with some of what values are made from hidden, never all of a sample.

        Source:
            Neverova et al. 2016, "ModDrop: adaptive multi-modal gesture recognition", section 4.2.
        """
        present = [batch[f"{name}_present"] for name in self.encoders]
        present += [batch[CONDITION].any(dim=1)] if CONDITION in batch else []
        if not self.training or not self.settings.modality_dropout or len(present) < 2:
            return batch
        there = torch.stack(present, dim=1)
        drawn = chance.stream("modalities").uniform(len(present))
        shown = there & (drawn >= self.settings.modality_dropout)
        shown = torch.where(shown.any(dim=1, keepdim=True), shown, there)
        hidden = {f"{name}_present": shown[:, at] for at, name in enumerate(self.encoders)}
        if CONDITION in batch:
            hidden[CONDITION] = batch[CONDITION] * shown[:, -1:]
        return {**batch, **hidden}

    def _changed(self, values: Tensor, chance: Chance) -> Tensor:
        """Values as the discriminator sees them; changed in training alone."""
        return diff_augment(values, self.changes, chance) if self.training else values

    def _real(self, batch: Batch) -> Tensor:
        """float32 (B, *shape); zeros where a sample lacks the modality."""
        values: Tensor = cast(Any, self.renderer).prepare(batch[self.name]).values.float()
        present = batch[f"{self.name}_present"].view(-1, *[1] * (values.dim() - 1))
        return torch.where(present, values, 0.0)

    def _chance(self, batch: Batch, player: str) -> Chance:
        """Of a player's turn; a validation batch, which has no chance of its own, has that of its values."""
        if CHANCE in batch:
            return Chance(batch[CHANCE]).stream(player)
        values = batch[self.name]
        digests = row_digests(values.cpu().numpy(), batch[f"{self.name}_present"].cpu().numpy())
        return Chance(torch.from_numpy(digests).to(values.device)).stream(player)

    def metrics(self, sums: Mapping[str, float]) -> dict[str, float]:
        """Means over the samples: both losses, the discriminator's logits, and how often it is right."""
        samples, made = max(1.0, sums["samples"]), max(1.0, sums.get("generated", 1.0))
        means = {
            name: sums[name] / samples
            for name in ("discriminator_loss", "real_logit", "made_logit", "right", "penalty")
        }
        counted = [name for name in ("generator_loss", AGAIN) if name in sums]
        return {
            "loss": means["discriminator_loss"],
            **means,
            "generator_loss": 0.0,
            **{name: sums[name] / made for name in counted},
        }

    def validated(self, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        _, sums, values = self._discriminators(batch)
        return sums, self._observed(batch, values)

    def observed(self, batch: Batch) -> dict[str, Tensor]:
        """Features of the real values and of those made of the same conditions, and the conditions."""
        return self._observed(batch, self._discriminators(batch)[2])

    def _observed(self, batch: Batch, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        present = values["present"]
        features = {name: self.yardstick(values[name])[present] for name in (REAL, MADE)}
        asked = (
            batch[CONDITION] if CONDITION in batch else features[REAL].new_zeros(len(present), 0)
        )
        return {**features, ASKED: asked[present]}

    def judged(self, observed: Mapping[str, NDArray[np.float32]]) -> dict[str, float]:
        """``frechet_distance``, see :func:`.yardstick.joint_distance`."""
        return {FRECHET: joint_distance(observed[REAL], observed[MADE], observed[ASKED])}

    @torch.no_grad()
    def predict(self, batch: Batch, seed: int = 0) -> dict[str, Tensor]:
        """Makes a value for each sample; its own is looked at only to be measured beside it.

        Returns:
            ``embedding`` float32 (B, D), the condition; ``generated_NAME``, as the renderer finishes it;
            ``realism`` (B,), the discriminator's logit; ``condition`` (B, V); and features of the made and the real
            value, with the latter's presence.
        """
        present = batch[f"{self.name}_present"]
        seeds = batch[CHANCE] if CHANCE in batch else torch.zeros(len(present), dtype=torch.int64)
        chance = Chance(seeds.to(present.device) ^ seed)
        given = {**batch, CONDITION: self._asked(batch, len(present))}
        made, embedding = self.generator(given, chance)
        logits = self.discriminator(
            self.discriminator.scaled(made), self.discriminator.condition(given)
        )
        finished = cast(Any, self.renderer).finish(made, chance.stream("finish"))
        arrays = {
            EMBEDDING: embedding,
            generated(self.name): finished,
            REALISM: logits,
            CONDITION: given[CONDITION],
            YARDSTICK: self.yardstick(made),
            YARDSTICK_REAL: self.yardstick(self._real(batch)),
            presence(YARDSTICK_REAL): present,
        }
        return {name: values.float() for name, values in arrays.items()}

    @torch.no_grad()
    def originals(self, batch: Batch) -> dict[str, Tensor]:
        finished = cast(Any, self.renderer).finish(
            self._real(batch), self._chance(batch, "").stream("finish")
        )
        return {generated(self.name): finished.float()}

    def _asked(self, batch: Batch, count: int) -> Tensor:
        """The conditions, float32 (B, V): what is asked of all samples in place of their own."""
        device = batch[f"{self.name}_present"].device
        own = batch.get(CONDITION)
        texts = [None] * count if own is None else self.vocabulary.texts(own.cpu().numpy())
        table = self.vocabulary.table(texts, self.settings.ask)
        return torch.from_numpy(table).to(device)

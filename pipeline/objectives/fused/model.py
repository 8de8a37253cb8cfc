"""The network that objectives share: encoders, a fusion, a head, and the training of single modalities."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from pipeline.modalities.chance import CHANCE, Chance
from pipeline.modalities.layers import Features
from pipeline.models.fusion.distributions import Distribution
from pipeline.objectives.fused import FusedSection
from pipeline.objectives.fused.balance import FUSED
from pipeline.objectives.fused.gradients import slow
from pipeline.objectives.network import Batch, Objective

CONFIDENCE = "confidence"


class Answer(NamedTuple):
    """What the network makes of B samples.

    Attributes:
        embedding: float (B, D), which the head maps linearly to the outputs, unless the fusion is of outputs.
        outputs: float (B, K).
    """

    embedding: Tensor
    outputs: Tensor


class FusedNetwork(Objective):
    """Encoders, a fusion and a head; any subset of the modalities may be given.

    Training hides modalities at random (modality dropout, Neverova et al. 2016, "ModDrop")
    and adds the loss of single modalities through the same fusion and head, so that no encoder
    stops learning once another explains the targets (Wang, Tran & Feiszli 2020, "What makes training
    multi-modal classification networks hard?", which weighs such losses).
    Every weight takes part in every step, whatever is missing.

    Attributes:
        distribution: What the outputs say, by which those of several modalities become one; None leaves fusions of
            outputs to other objectives.
        shares: float32 (1 + M,), weights of the fused loss and of each modality's alone, the latter before
            ``unimodal_weight``.

    Args:
        config: The objective's section of the configuration.
        encoders: Modality -> encoder, called with the batch's values, returning Features.
        outputs: Numbers that the head gives of a sample, K.
        targets: The batch's columns that the loss compares them with.
    """

    distribution: ClassVar[Distribution | None] = None
    shares: Tensor

    def __init__(
        self,
        config: FusedSection,
        encoders: Mapping[str, nn.Module],
        outputs: int,
        targets: Sequence[str],
    ) -> None:
        super().__init__()
        self.settings = config
        self.modalities = tuple(encoders)
        self.columns = (
            *self.modalities,
            *(f"{name}_present" for name in self.modalities),
            *targets,
        )
        self.encoders = nn.ModuleDict(dict(encoders))
        self.fusion = config.fusion.build(config.width, self.modalities)
        self.norm = nn.LayerNorm(config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.head = config.fusion.head(config.width, outputs, self.modalities, self.distribution)
        factors = [config.unimodal_weights.get(name, 1.0) for name in self.modalities]
        # Not among the weights: it follows from the settings and the log of the training.
        self.register_buffer("shares", torch.tensor([1.0, *factors]), persistent=False)

    @abstractmethod
    def losses(self, outputs: Tensor, batch: Batch) -> Tensor:
        """The loss of each sample, float32 (B,), for the head's outputs (B, K)."""

    def observed_of(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        """What is :meth:`observed`, for the head's outputs (B, K) for whole samples."""
        return {}

    @abstractmethod
    def counted(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        """What metrics are made of: name -> (V, B), for the head's outputs (V, B, K) under V views."""

    def loss(self, batch: Batch, turn: str = "model") -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of one batch; see :class:`Objective`.

        Returns:
            The mean loss, and the sums ``samples``, ``loss`` (of the fused output) and those of :meth:`counted`,
            and with ``_NAME`` behind them, ``samples_NAME`` and ``loss_NAME`` included, those of each modality alone.
        """
        loss, sums, _ = self._judged(batch)
        return loss, sums

    def validated(self, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        _, sums, outputs = self._judged(batch)
        return sums, self.observed_of(outputs, batch)

    def observed(self, batch: Batch) -> dict[str, Tensor]:
        with torch.no_grad():
            return self.observed_of(self.answer(batch).outputs, batch)

    def _judged(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """The loss, its sums, and the outputs (B, K) under the first view."""
        features = self._encode(batch)
        chance = Chance(batch[CHANCE]).stream("modalities") if CHANCE in batch else None
        views = self._views(self._present(features), chance)
        outputs = self._fuse(features, views.flatten(0, 1)).outputs
        outputs = outputs.reshape(*views.shape[:2], -1)  # (V, B, K)
        losses = torch.stack([self.losses(view, batch) for view in outputs])

        # (V - 1, B), zero where a sample lacks the modality
        alone = (views[1:] * self.shares[1:]).sum(dim=-1)
        unimodal = (losses[1:] * alone).sum() / losses.shape[1]
        total = self.shares[0] * losses[0].mean() + self.settings.unimodal_weight * unimodal
        outputs = outputs.detach()
        return total, self._sums(views, outputs, losses.detach(), batch), outputs[0]

    def _sums(
        self, views: Tensor, outputs: Tensor, losses: Tensor, batch: Batch
    ) -> dict[str, Tensor]:
        """Sums over the batch under V views, of outputs (V, B, K) and losses (V, B)."""
        with torch.no_grad():
            counted = {
                "loss": losses,
                "samples": torch.ones_like(losses),
                **self.counted(outputs, batch),
            }
            if self.modulates:
                counted[CONFIDENCE] = torch.stack([self.confidence(v, batch) for v in outputs])
            sums = {}
            for name, values in counted.items():
                sums[name] = values[0].sum()
                for i, modality in enumerate(self.modalities):
                    sums[f"{name}_{modality}"] = (views[1:, :, i] * values[1:]).sum()
        return {name: value.double() for name, value in sums.items()}

    def answer(self, batch: Batch) -> Answer:
        """What the network makes of samples with whatever modalities each has."""
        features = self._encode(batch)
        return self._fuse(features, self._present(features))

    def confidence(self, outputs: Tensor, batch: Batch) -> Tensor:
        """How likely what is right is by the outputs (B, K), float32 (B,): of losses that are its -log."""
        return self.losses(outputs, batch).neg().exp()

    @property
    def modulates(self) -> bool:
        return self.settings.balance.MODULATES

    def modulate(self, sums: Mapping[str, float], seed: int) -> None:
        """Slows the encoders of modalities that are ahead of the others."""
        balance = self.settings.balance
        confidences = {
            name: sums[f"{CONFIDENCE}_{name}"] / sums[f"samples_{name}"]
            for name in self.modalities
            if sums[f"samples_{name}"] > 0
        }
        generator = torch.Generator().manual_seed(seed) if balance.adds_noise else None
        for name, coefficient in balance.coefficients(confidences).items():
            slow(self.encoders[name].parameters(), coefficient, generator)

    def monitored(self, sums: Mapping[str, float]) -> dict[str, float]:
        """``loss_NAME`` of each modality alone, where the configured balance watches them."""
        if not self.settings.balance.WATCHES_LOSSES:
            return {}
        return {
            f"loss_{name}": sums[f"loss_{name}"] / sums[f"samples_{name}"]
            for name in self.modalities
            if sums[f"samples_{name}"] > 0
        }

    def loss_weights(self, history: Sequence[Mapping[str, float]]) -> dict[str, float]:
        return self.settings.balance.loss_weights(history, self.modalities)

    def weigh(self, weights: Mapping[str, float]) -> None:
        """Takes shares of the losses, whose sum stays what it is by the settings."""
        if not weights:
            return
        alone = self.settings.unimodal_weight
        # Where a sample shows one of its M modalities in a step, its loss stands for M.
        stands_for = 1 if self.settings.fusion.HAS_EXPERTS else len(self.modalities)
        factor = (1.0 + alone) * stands_for / alone
        factors = [factor * weights[name] for name in self.modalities]
        self.shares.copy_(torch.tensor([(1.0 + alone) * weights[FUSED], *factors]))

    def _encode(self, batch: Batch) -> dict[str, Features]:
        """Features of every modality, masked where a sample lacks it."""
        features = {}
        for name, encoder in self.encoders.items():
            encoded: Features = encoder(batch[name])
            features[name] = encoded.where(batch[f"{name}_present"])
        return features

    def _present(self, features: Mapping[str, Features]) -> Tensor:
        """bool (B, M): which modalities have a token."""
        return torch.stack([features[name].mask.any(dim=1) for name in self.modalities], dim=1)

    def _fuse(self, features: Mapping[str, Features], views: Tensor) -> Answer:
        """Answers to the batch under V views, bool (V * B, M)."""
        repeated = {}
        for i, name in enumerate(self.modalities):
            tokens, mask = features[name]
            repeats = views.shape[0] // tokens.shape[0]
            repeated[name] = Features(tokens.repeat(repeats, 1, 1), mask.repeat(repeats, 1)).where(
                views[:, i]
            )
        vectors, present = self.norm(self.fusion(repeated)), self._present(repeated)
        outputs = self.head(self.dropout(vectors), present)
        return Answer(self.head.embedding(vectors, present), outputs)

    def _views(self, present: Tensor, chance: Chance | None = None) -> Tensor:
        """Which modalities the fusion is shown, bool (V, B, M), for ``present``, bool (B, M).

        The first view is the whole sample, in training after modality dropout. The others show one
        modality alone: in training one view with a modality chosen at random for each sample, which
        costs the same however many there are; otherwise, and where modalities answer by themselves,
        M views, one for each. What is chosen is drawn from the samples' own chance where there is one.
        """
        if self.training and not self.settings.fusion.HAS_EXPERTS:
            drawn = _uniform(present, chance)
            chosen = drawn.masked_fill(~present, -1.0).argmax(dim=1, keepdim=True)
            alone = present & torch.zeros_like(present).scatter(1, chosen, True)
            return torch.stack([self._hide(present, chance), alone])
        whole = self._hide(present, chance) if self.training else present
        identity = torch.eye(present.shape[1], dtype=torch.bool, device=present.device)
        return torch.cat([whole[None], present & identity[:, None]])

    def _hide(self, present: Tensor, chance: Chance | None = None) -> Tensor:
        """Modality dropout: ``present``, bool (B, M), with some hidden, never all of a sample."""
        shown = present & (_uniform(present, chance) >= self.settings.modality_dropout)
        return torch.where(shown.any(dim=1, keepdim=True), shown, present)


def _uniform(like: Tensor, chance: Chance | None) -> Tensor:
    """Uniform in [0, 1), float32 (B, M) as ``like``: the samples' own, or torch's where they have none."""
    if chance is None:
        return torch.rand(like.shape, device=like.device)
    return chance.uniform(like.shape[1])

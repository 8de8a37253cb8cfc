"""The network that objectives share: encoders, a fusion, one linear head, and the training of single modalities."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from pipeline.modalities.chance import CHANCE, Chance
from pipeline.modalities.layers import Features
from pipeline.objectives.fused import FusedSection
from pipeline.objectives.network import Batch, Objective


class FusedNetwork(Objective):
    """Encoders, a fusion and one linear head; any subset of the modalities may be given.

    Training hides modalities at random (modality dropout, Neverova et al. 2016, "ModDrop", section
    3.4) and adds the loss of single modalities through the same fusion and head, so that no encoder
    stops learning once another explains the targets (Wang, Tran & Feiszli 2020, "What makes training
    multi-modal classification networks hard?", section 3.3, which weighs such losses).
    Every weight takes part in every step, whatever is missing.

    Args:
        config: The objective's section of the configuration.
        encoders: Modality -> encoder, called with the batch's values, returning Features.
        outputs: Numbers that the head gives of a sample, K.
        targets: The batch's columns that the loss compares them with.
    """

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
        self.head = nn.Linear(config.width, outputs)

    @abstractmethod
    def losses(self, outputs: Tensor, batch: Batch) -> Tensor:
        """The loss of each sample, float32 (B,), for the head's outputs (B, K)."""

    @abstractmethod
    def counted(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        """What metrics are made of: name -> (V, B), for the head's outputs (V, B, K) under V views."""

    def loss(self, batch: Batch, turn: str = "model") -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of one batch; see :class:`Objective`.

        Returns:
            The mean loss, and the sums ``samples``, ``loss`` (of the fused output) and those of :meth:`counted`,
            and with ``_NAME`` behind them, ``samples_NAME`` included, those of each modality alone.
        """
        features = self._encode(batch)
        chance = Chance(batch[CHANCE]).stream("modalities") if CHANCE in batch else None
        views = self._views(self._present(features), chance)
        outputs = self.outputs(self._fuse(features, views.flatten(0, 1)))
        outputs = outputs.reshape(*views.shape[:2], -1)  # (V, B, K)
        losses = torch.stack([self.losses(view, batch) for view in outputs])

        alone = views[1:].any(dim=-1)  # (V - 1, B), False where a sample lacks the modality
        unimodal = (losses[1:] * alone).sum() / losses.shape[1]
        total = losses[0].mean() + self.settings.unimodal_weight * unimodal
        with torch.no_grad():
            counted = {
                "samples": torch.ones_like(losses),
                **self.counted(outputs.detach(), batch),
            }
            sums = {"loss": losses[0].detach().sum()}
            for name, values in counted.items():
                sums[name] = values[0].sum()
                for i, modality in enumerate(self.modalities):
                    sums[f"{name}_{modality}"] = (views[1:, :, i] * values[1:]).sum()
        return total, {name: value.double() for name, value in sums.items()}

    def embed(self, batch: Batch) -> Tensor:
        """The embedding of each sample, (B, D), which the head maps linearly to its outputs."""
        features = self._encode(batch)
        return self._fuse(features, self._present(features))

    def outputs(self, embedding: Tensor) -> Tensor:
        """What the head makes of embeddings, (B, K) of (B, D)."""
        outputs: Tensor = self.head(self.dropout(embedding))
        return outputs

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

    def _fuse(self, features: Mapping[str, Features], views: Tensor) -> Tensor:
        """Embeddings float (V * B, D) of the batch under V views, bool (V * B, M)."""
        repeated = {}
        for i, name in enumerate(self.modalities):
            tokens, mask = features[name]
            repeats = views.shape[0] // tokens.shape[0]
            repeated[name] = Features(tokens.repeat(repeats, 1, 1), mask.repeat(repeats, 1)).where(
                views[:, i]
            )
        embedding: Tensor = self.norm(self.fusion(repeated))
        return embedding

    def _views(self, present: Tensor, chance: Chance | None = None) -> Tensor:
        """Which modalities the fusion is shown, bool (V, B, M), for ``present``, bool (B, M).

        The first view is the whole sample, in training after modality dropout. The others show one
        modality alone: in training one view with a modality chosen at random for each sample, which
        costs the same however many there are; otherwise M views, one for each. What is chosen is drawn
        from the samples' own chance where there is one.
        """
        if self.training:
            drawn = _uniform(present, chance)
            chosen = drawn.masked_fill(~present, -1.0).argmax(dim=1, keepdim=True)
            alone = present & torch.zeros_like(present).scatter(1, chosen, True)
            return torch.stack([self._hide(present, chance), alone])
        identity = torch.eye(present.shape[1], dtype=torch.bool, device=present.device)
        return torch.cat([present[None], present & identity[:, None]])

    def _hide(self, present: Tensor, chance: Chance | None = None) -> Tensor:
        """Modality dropout: ``present``, bool (B, M), with some hidden, never all of a sample."""
        shown = present & (_uniform(present, chance) >= self.settings.modality_dropout)
        return torch.where(shown.any(dim=1, keepdim=True), shown, present)


def _uniform(like: Tensor, chance: Chance | None) -> Tensor:
    """Uniform in [0, 1), float32 (B, M) as ``like``: the samples' own, or torch's where they have none."""
    if chance is None:
        return torch.rand(like.shape, device=like.device)
    return chance.uniform(like.shape[1])

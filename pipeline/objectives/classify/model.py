"""The network that classifies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa
import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.modalities.layers import Features
from pipeline.objectives.base import Batch
from pipeline.objectives.classify import ClassifyConfig


class Classifier(nn.Module):
    """Encoders, a fusion and one linear head; any subset of the modalities may be given.

    Training hides modalities at random (modality dropout, Neverova et al. 2016, "ModDrop", section
    3.4) and adds the loss of single modalities through the same fusion and head, so that no encoder
    stops learning once another explains the labels (Wang, Tran & Feiszli 2020, "What makes training
    multi-modal classification networks hard?", section 3.3, which weighs such losses).
    Every weight takes part in every step, whatever is missing.

    Args:
        config: The objective's section of the configuration.
        encoders: Modality -> encoder, called with the batch's values, returning Features.
        classes: The K class names.
    """

    turns = ("model",)

    def __init__(
        self, config: ClassifyConfig, encoders: Mapping[str, nn.Module], classes: Sequence[str]
    ) -> None:
        super().__init__()
        self.config = config
        self.classes = tuple(classes)
        self.modalities = tuple(encoders)
        self.columns = (*self.modalities, *(f"{name}_present" for name in self.modalities), "label")
        self.encoders = nn.ModuleDict(dict(encoders))
        self.fusion = config.fusion.build(config.width, self.modalities)
        self.norm = nn.LayerNorm(config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.width, len(self.classes))

    def forward(self, batch: Batch, turn: str = "model") -> tuple[Tensor, dict[str, Tensor]]:
        """The same as :meth:`loss`, under the name that wrappers call."""
        return self.loss(batch, turn)

    def loss(self, batch: Batch, turn: str = "model") -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of one batch; see :class:`pipeline.objectives.base.Objective`.

        Returns:
            The mean loss, and the sums ``samples``, ``loss`` (cross-entropy of the fused output,
            nats) and ``correct``, and ``samples_NAME``, ``correct_NAME`` for each modality alone.
        """
        features = self._encode(batch)
        views = self._views(self._present(features))
        logits = self._logits(self._fuse(features, views.flatten(0, 1)))
        logits = logits.reshape(*views.shape[:2], -1)  # (V, B, K)
        losses = torch.stack([self._cross_entropy(view, batch["label"]) for view in logits])
        correct = logits.argmax(dim=-1) == batch["label"]  # (V, B)

        alone = views[1:].any(dim=-1)  # (V - 1, B), False where a sample lacks the modality
        unimodal = (losses[1:] * alone).sum() / alone.sum().clamp(min=1)
        total = losses[0].mean() + self.config.unimodal_weight * unimodal

        sums = {
            "samples": torch.ones_like(losses[0]).sum(),
            "loss": losses[0].detach().sum(),
            "correct": correct[0].sum(),
        }
        for i, name in enumerate(self.modalities):
            sums[f"samples_{name}"] = views[1:, :, i].sum()
            sums[f"correct_{name}"] = (views[1:, :, i] & correct[1:]).sum()
        return total, {name: value.double() for name, value in sums.items()}

    def predict(self, batch: Batch) -> dict[str, Tensor]:
        """Classifies samples.

        Returns:
            ``embedding`` float32 (B, D), which the head maps linearly to logits, and
            ``probabilities`` float32 (B, K).
        """
        with torch.no_grad():
            features = self._encode(batch)
            embedding = self._fuse(features, self._present(features))
            probabilities = self._logits(embedding).float().softmax(dim=-1)
        return {"embedding": embedding.float(), "probabilities": probabilities}

    def schema(self) -> list[pa.Field]:
        """The columns that predictions add to the output, in order."""
        return self.config.schema(self.classes)

    def metrics(self, sums: Mapping[str, float]) -> dict[str, float]:
        """``loss`` and ``accuracy``, and ``accuracy_NAME`` for each modality alone."""
        metrics = {
            "loss": sums["loss"] / max(1.0, sums["samples"]),
            "accuracy": sums["correct"] / max(1.0, sums["samples"]),
        }
        for name in self.modalities:
            if sums[f"samples_{name}"] > 0:
                metrics[f"accuracy_{name}"] = sums[f"correct_{name}"] / sums[f"samples_{name}"]
        return metrics

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

    def _views(self, present: Tensor) -> Tensor:
        """Which modalities the fusion is shown, bool (V, B, M), for ``present``, bool (B, M).

        The first view is the whole sample, in training after modality dropout. The others show one
        modality alone: in training one view with a modality chosen at random for each sample, which
        costs the same however many there are; otherwise M views, one for each.
        """
        if self.training:
            chance = torch.rand(present.shape, device=present.device)
            chosen = chance.masked_fill(~present, -1.0).argmax(dim=1, keepdim=True)
            alone = present & torch.zeros_like(present).scatter(1, chosen, True)
            return torch.stack([self._hide(present), alone])
        each = torch.eye(present.shape[1], dtype=torch.bool, device=present.device)
        return torch.cat([present[None], present & each[:, None]])

    def _hide(self, present: Tensor) -> Tensor:
        """Modality dropout: ``present``, bool (B, M), with some hidden, never all of a sample."""
        chance = torch.rand(present.shape, device=present.device)
        shown = present & (chance >= self.config.modality_dropout)
        return torch.where(shown.any(dim=1, keepdim=True), shown, present)

    def _logits(self, embedding: Tensor) -> Tensor:
        logits: Tensor = self.head(self.dropout(embedding))
        return logits

    def _cross_entropy(self, logits: Tensor, label: Tensor) -> Tensor:
        """Cross-entropy of each sample, float32 (B,), nats."""
        smoothing = self.config.label_smoothing if self.training else 0.0
        return functional.cross_entropy(
            logits.float(), label, reduction="none", label_smoothing=smoothing
        )

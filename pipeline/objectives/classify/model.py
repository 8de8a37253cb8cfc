"""The network that classifies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from pipeline.metrics.calibration import choose_temperature
from pipeline.models.fusion.distributions import Categorical
from pipeline.objectives.base import EMBEDDING, Learned
from pipeline.objectives.classify.rows import PROBABILITIES, TEMPERATURE
from pipeline.objectives.fused.model import FusedNetwork
from pipeline.objectives.losses import (
    effective_number_weights,
    focal_loss,
    inverse_frequency_weights,
)
from pipeline.objectives.network import Batch

if TYPE_CHECKING:
    from pipeline.objectives.classify import ClassifyConfig

LABEL = "label"


class Classifier(FusedNetwork):
    """A network of :class:`FusedNetwork` whose head gives the logits of K classes.

    Args:
        config: The objective's section of the configuration.
        encoders: Modality -> encoder.
        classes: The K class names.
        counts: Training samples of each class, for the configuration's ``class_weights``.
        temperature: That logits are divided by before they become the probabilities of predictions.
    """

    distribution = Categorical()
    class_weights: Tensor | None

    def __init__(
        self,
        config: ClassifyConfig,
        encoders: Mapping[str, nn.Module],
        classes: Sequence[str],
        counts: Sequence[int] = (),
        temperature: float = 1.0,
    ) -> None:
        super().__init__(config, encoders, len(classes), (LABEL,))
        self.label_smoothing = config.label_smoothing
        self.temperature, self.calibrates = temperature, config.temperature_scaling
        # Without a factor, focal loss is cross-entropy.
        self.gamma = config.gamma if config.loss == "focal" else 0.0
        self.ids = {name: index for index, name in enumerate(classes)}
        # Not among the weights that a bundle keeps: they follow from what was learned.
        self.register_buffer("class_weights", _class_weights(config, counts), persistent=False)

    def targets(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """``label``, int64 (B,), the places of the classes."""
        return {LABEL: torch.tensor([self.ids[name] for name in texts], dtype=torch.int64)}

    def losses(self, outputs: Tensor, batch: Batch) -> Tensor:
        """The configured loss of each sample, float32 (B,), nats, times the weight of its class."""
        smoothing = self.label_smoothing if self.training else 0.0
        losses = self._unweighted(outputs.float(), batch[LABEL], smoothing)
        return losses if self.class_weights is None else losses * self.class_weights[batch[LABEL]]

    def _unweighted(self, logits: Tensor, label: Tensor, smoothing: float) -> Tensor:
        if self.gamma:
            return focal_loss(logits, label, self.gamma, smoothing)
        return functional.cross_entropy(logits, label, reduction="none", label_smoothing=smoothing)

    def confidence(self, outputs: Tensor, batch: Batch) -> Tensor:
        """The probability of the right class, float32 (B,), whatever the configured loss."""
        probabilities = outputs.float().softmax(dim=-1)
        return probabilities.gather(-1, batch[LABEL][:, None]).squeeze(-1)

    def counted(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        return {"correct": outputs.argmax(dim=-1) == batch[LABEL]}

    def predict(self, batch: Batch, seed: int = 0) -> dict[str, Tensor]:
        """Classifies samples.

        Returns:
            ``embedding`` float32 (B, D), which the head of a fusion of features maps linearly to
            logits, and ``probabilities`` float32 (B, K).
        """
        with torch.no_grad():
            embedding, logits = self.answer(batch)
        return {EMBEDDING: embedding.float(), PROBABILITIES: self._probabilities(logits)}

    def _probabilities(self, logits: Tensor) -> Tensor:
        return (logits.float() / self.temperature).softmax(dim=-1)

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

    def observed_of(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        if not self.calibrates:
            return {}
        return {LABEL: batch[LABEL].float(), PROBABILITIES: self._probabilities(outputs)}

    def settled(self, observed: Mapping[str, NDArray[np.float32]]) -> Learned:
        """``temperature``: the one with the lowest log loss on the validation split."""
        labels = observed[LABEL].astype(np.int64)
        temperature = choose_temperature(labels, observed[PROBABILITIES])
        return {} if temperature is None else {TEMPERATURE: temperature * self.temperature}


def _class_weights(config: ClassifyConfig, counts: Sequence[int]) -> Tensor | None:
    """Weights float32 (K,) of the loss; None where all weigh the same."""
    match config.class_weights:
        case "none":
            return None
        case "balanced":
            return inverse_frequency_weights(counts)
        case "effective":
            return effective_number_weights(counts, config.beta)

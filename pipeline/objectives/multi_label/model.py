"""The network that decides about each class on its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.metrics.multi_label import mean_average_precision
from pipeline.metrics.thresholds import DEFAULT_THRESHOLD, choose_thresholds
from pipeline.models.fusion.distributions import Bernoulli
from pipeline.objectives.base import EMBEDDING, Learned
from pipeline.objectives.fused.model import FusedNetwork
from pipeline.objectives.losses import binary_focal_loss
from pipeline.objectives.multi_label.labels import THRESHOLDS, labels_of
from pipeline.objectives.multi_label.rows import PROBABILITIES
from pipeline.objectives.network import Batch

if TYPE_CHECKING:
    from pipeline.objectives.multi_label import MultiLabelConfig

LABEL = "label"


class MultiLabelClassifier(FusedNetwork):
    """A network of :class:`FusedNetwork` whose head gives a logit of each of K classes.

    Args:
        config: The objective's section of the configuration.
        encoders: Modality -> encoder.
        classes: The K class names.
    """

    distribution = Bernoulli()

    def __init__(
        self, config: MultiLabelConfig, encoders: Mapping[str, nn.Module], classes: Sequence[str]
    ) -> None:
        super().__init__(config, encoders, len(classes), (LABEL,))
        # Without a factor, focal loss is binary cross-entropy.
        self.gamma = config.gamma if config.loss == "focal" else 0.0
        self.ids = {name: index for index, name in enumerate(classes)}

    def targets(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """``label``, float32 (B, K), 1 for the classes that a sample has."""
        labels = torch.zeros(len(texts), len(self.ids))
        for row, text in enumerate(texts):
            labels[row, [self.ids[name] for name in labels_of(text)]] = 1.0
        return {LABEL: labels}

    def losses(self, outputs: Tensor, batch: Batch) -> Tensor:
        """The configured loss of each sample, float32 (B,), nats, the mean over its K decisions."""
        return binary_focal_loss(outputs, batch[LABEL], self.gamma).mean(dim=-1)

    def counted(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        """``hits``, labels that a probability of 0.5 predicts, and ``marks``, labels and predictions, (V, B)."""
        labels = batch[LABEL] > 0
        predicted = outputs > 0
        marks = predicted.sum(dim=-1) + labels.sum(dim=-1)
        return {"hits": (predicted & labels).sum(dim=-1), "marks": marks}

    def predict(self, batch: Batch, seed: int = 0) -> dict[str, Tensor]:
        """Classifies samples.

        Returns:
            ``embedding`` float32 (B, D), which the head of a fusion of features maps linearly to logits, and
            ``probabilities`` float32 (B, K), each class's own.
        """
        with torch.no_grad():
            embedding, logits = self.answer(batch)
            probabilities = logits.float().sigmoid()
        return {EMBEDDING: embedding.float(), PROBABILITIES: probabilities}

    def metrics(self, sums: Mapping[str, float]) -> dict[str, float]:
        """``loss``, and ``f1_micro`` at a probability of 0.5, and ``f1_micro_NAME`` for each modality alone."""
        metrics = {"loss": sums["loss"] / max(1.0, sums["samples"])}
        for name in ("", *(f"_{modality}" for modality in self.modalities)):
            if sums[f"marks{name}"] > 0:
                metrics[f"f1_micro{name}"] = 2 * sums[f"hits{name}"] / sums[f"marks{name}"]
        return metrics

    def observed_of(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        return {LABEL: batch[LABEL], PROBABILITIES: outputs.float().sigmoid()}

    def judged(self, observed: Mapping[str, NDArray[np.float32]]) -> dict[str, float]:
        """``mean_average_precision``, which evaluations tell too; not there where no sample has a label."""
        labels, probabilities = observed[LABEL] > 0, observed[PROBABILITIES].astype(np.float64)
        value = mean_average_precision(labels, probabilities)
        return {} if value is None else {"mean_average_precision": value}

    def settled(self, observed: Mapping[str, NDArray[np.float32]]) -> Learned:
        """``thresholds``: of each class the one with the best F1 on the validation split, 0.5 of one that it lacks."""
        labels, probabilities = observed[LABEL] > 0, observed[PROBABILITIES].astype(np.float64)
        return {
            THRESHOLDS: list(choose_thresholds(labels, probabilities, DEFAULT_THRESHOLD).values)
        }

"""The network that estimates numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.models.fusion.distributions import Gaussian
from pipeline.objectives.base import EMBEDDING
from pipeline.objectives.fused.model import FusedNetwork
from pipeline.objectives.network import Batch
from pipeline.objectives.regress.numbers import Scale, parsed
from pipeline.objectives.regress.rows import PREDICTION

if TYPE_CHECKING:
    from pipeline.objectives.regress import RegressConfig

TARGET = "target"
LOSSES: Mapping[str, Callable[..., Tensor]] = {
    "squared": functional.mse_loss,
    "absolute": functional.l1_loss,
    "huber": functional.huber_loss,  # Huber 1964, "Robust estimation of a location parameter", with 1 as its delta
}
NO_SPREAD = 1e-12  # mean squared distance of standardised targets below which they are all equal


class Regressor(FusedNetwork):
    """A network of :class:`FusedNetwork` whose head gives K standardised numbers.

    Args:
        config: The objective's section of the configuration.
        encoders: Modality -> encoder.
        scale: Mean and deviation of the K numbers.
    """

    distribution = Gaussian()
    mean: Tensor
    deviation: Tensor

    def __init__(
        self, config: RegressConfig, encoders: Mapping[str, nn.Module], scale: Scale
    ) -> None:
        super().__init__(config, encoders, len(scale.mean), (TARGET,))
        self.error = LOSSES[config.loss]
        # Not among the weights: the bundle has them as what was learned.
        for name, numbers in (("mean", scale.mean), ("deviation", scale.deviation)):
            self.register_buffer(name, torch.tensor(numbers, dtype=torch.float64), persistent=False)

    def targets(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """``target``, float32 (B, K), standardised."""
        numbers = torch.from_numpy(parsed(texts, len(self.mean)))
        standard = (numbers - self.mean.cpu()) / self.deviation.cpu()
        return {TARGET: standard.float()}

    def losses(self, outputs: Tensor, batch: Batch) -> Tensor:
        """The loss of each sample, float32 (B,), the mean over its standardised numbers."""
        errors: Tensor = self.error(outputs.float(), batch[TARGET], reduction="none")
        return errors.mean(dim=-1)

    def counted(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        target = batch[TARGET].double().expand(*outputs.shape)
        errors = outputs.double() - target
        counted = {"absolute": (errors.abs() * self.deviation).mean(dim=-1)}
        for k in range(outputs.shape[-1]):
            counted |= {
                f"squared_{k}": errors[..., k] ** 2,
                f"target_{k}": target[..., k],
                f"target_squared_{k}": target[..., k] ** 2,
            }
        return counted

    def predict(self, batch: Batch, seed: int = 0) -> dict[str, Tensor]:
        """Estimates the numbers of samples.

        Returns:
            ``embedding`` float32 (B, D), and ``prediction`` float32 (B, K), in the unit of the targets, which the head
            of a fusion of features and the scale make of it linearly.
        """
        with torch.no_grad():
            embedding, standard = self.answer(batch)
            prediction = (standard.double() * self.deviation + self.mean).float()
        return {EMBEDDING: embedding.float(), PREDICTION: prediction}

    def metrics(self, sums: Mapping[str, float]) -> dict[str, float]:
        """``loss``, ``mae`` and ``rmse`` in the unit of the targets, ``r2``, and ``mae_NAME`` for each modality alone.

        Of several numbers, the means; ``r2`` is left out where no target differs from another.
        """
        samples = max(1.0, sums["samples"])
        metrics = {"loss": sums["loss"] / samples, "mae": sums["absolute"] / samples}
        roots, shares = [], []
        for k, deviation in enumerate(self.deviation.tolist()):
            mean_squared = sums[f"squared_{k}"] / samples
            roots.append(deviation * mean_squared**0.5)
            spread = sums[f"target_squared_{k}"] / samples - (sums[f"target_{k}"] / samples) ** 2
            if spread > NO_SPREAD:
                shares.append(1.0 - mean_squared / spread)
        metrics["rmse"] = sum(roots) / len(roots)
        if shares:
            metrics["r2"] = sum(shares) / len(shares)
        for name in self.modalities:
            if sums[f"samples_{name}"] > 0:
                metrics[f"mae_{name}"] = sums[f"absolute_{name}"] / sums[f"samples_{name}"]
        return metrics

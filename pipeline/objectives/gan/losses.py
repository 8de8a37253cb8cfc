"""What the players are after."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

LossName = Literal["hinge", "non_saturating"]


def discriminator_losses(real: Tensor, fake: Tensor, kind: LossName) -> Tensor:
    """Loss of telling real values from made ones, float32 (B,).

    Args:
        real: float32 (B,), logits that real values are real.
        fake: float32 (B,), logits that made ones are.
        kind: Which loss.

    Source:
        ``hinge``: Lim & Ye 2017, "Geometric GAN", equation 8; ``non_saturating``: Goodfellow et al. 2014, "Generative
        adversarial nets", equation 1.
    """
    if kind == "hinge":
        return functional.relu(1.0 - real) + functional.relu(1.0 + fake)
    return functional.softplus(-real) + functional.softplus(fake)


def generator_losses(fake: Tensor, kind: LossName) -> Tensor:
    """Loss of being told from real values, float32 (B,).

    Args:
        fake: float32 (B,), logits that made values are real.
        kind: Which loss.

    Source:
        ``hinge``: Lim & Ye 2017, equation 9; ``non_saturating``: Goodfellow et al. 2014, section 3: log D(G(z)) is
        maximized.
    """
    return -fake if kind == "hinge" else functional.softplus(-fake)


def reconstruction_losses(
    real: Tensor, again: Tensor, location: Tensor, log_scale: Tensor, scale: float
) -> Tensor:
    """Loss of making real values again of noise that they tell of, float32 (B,).

    The mean distance of their N numbers, and scale / N of the nats that the noise says more than chance: a bound of the
    negative log-likelihood under Laplace noise of that scale, times scale / N and but for a constant.

    Args:
        real: float32 (B, *shape).
        again: float32 (B, *shape), what was made of such noise.
        location: float32 (B, Z), of the noise.
        log_scale: float32 (B, Z).
        scale: Of the Laplace noise: the larger, the less is said of a value, and the nearer to chance.

    Source:
        Kingma & Welling 2014, "Auto-encoding variational Bayes", equation 7, of values under a condition as in
        Sohn et al. 2015, "Learning structured output representation using deep conditional generative models",
        equation 4; beside an adversary, Larsen et al. 2016, "Autoencoding beyond pixels using a learned similarity
        metric", section 2.3.
    """
    distances = (real - again).abs().flatten(1)
    nats = 0.5 * (location.square() + (2.0 * log_scale).exp() - 1.0) - log_scale
    return distances.mean(dim=1) + scale / distances.shape[1] * nats.sum(dim=1)


def gradient_penalties(logits: Tensor, values: Tensor) -> Tensor:
    """Squared norms of the gradients of logits in their values, float32 (B,), to differentiate once more.

    Args:
        logits: float32 (B,), each of its own value alone.
        values: float32 (B, ...), which require gradients.

    Source:
        Mescheder, Geiger, Nowozin 2018, "Which training methods for GANs do actually converge?", equation 9 (R1),
        without gamma / 2.
    """
    [gradients] = torch.autograd.grad(logits.sum(), values, create_graph=True)
    return gradients.flatten(1).square().sum(dim=1)

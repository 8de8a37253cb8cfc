"""Gradients of an encoder, slowed and made noisier."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn


@torch.no_grad()
def slow(
    parameters: Iterable[nn.Parameter], coefficient: float, generator: torch.Generator | None
) -> None:
    """Multiplies gradients, in place, and adds Gaussian noise of each gradient's own deviation.

    Args:
        parameters: Those without a gradient are left alone.
        coefficient: What gradients are multiplied by; 1 leaves them as they are, without noise.
        generator: Of the noise, on the CPU, so that all workers add the same; None adds none.

    Source:
        Peng et al. 2022, "Balanced multimodal learning via on-the-fly gradient modulation"
        (generalization enhancement); the deviation of a weight's gradient over batches is taken to be that over the
        entries of its tensor.
    """
    if coefficient == 1.0:
        return
    for parameter in parameters:
        gradient = parameter.grad
        if gradient is None:
            continue
        deviation = gradient.std(correction=0)
        gradient.mul_(coefficient)
        if generator is not None:
            noise = torch.randn(gradient.shape, generator=generator)
            gradient.add_(noise.to(gradient) * deviation)

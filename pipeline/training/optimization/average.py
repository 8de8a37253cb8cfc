"""A moving average of the weights."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def build_average(model: nn.Module, decay: float) -> AveragedModel:
    """Exponential moving average of a model's weights, often better than the last ones.

    Floating-point weights and buffers are averaged; whatever else a model holds is copied. Weights that are not trained
    are the model's own, in the same memory.

    Args:
        model: Its present weights are where the average begins.
        decay: Share of the average that a step keeps; early steps keep less, so that the average
            forgets the first, random weights.

    Source:
        Polyak & Juditsky 1992, "Acceleration of stochastic approximation by averaging"; the rising
        decay as in Tarvainen & Valpola 2017, "Mean teachers are better role models", section 3.
    """
    average = AveragedModel(model, use_buffers=True)
    for averaged, latest in zip(average.module.parameters(), model.parameters(), strict=True):
        if not latest.requires_grad:
            averaged.data = latest.data
    average.n_averaged.fill_(
        1
    )  # the first weights count, so that the first step does not replace them
    # The count that the average hands over lies on the weights' device, and to look at it there would wait for the GPU.
    average.multi_avg_fn = partial(_average, decay, average.n_averaged)
    return average


@torch.no_grad()
def _average(
    highest: float, count: Tensor, averaged: Sequence[Tensor], latest: Sequence[Tensor], _: object
) -> None:
    """Takes weights of one dtype into their averages, in place.

    Args:
        highest: Decay after many steps.
        count: Steps made, this one included, on the CPU.
        averaged: The averages.
        latest: The weights after a step.
    """
    if not averaged[0].is_floating_point():
        torch._foreach_copy_(list(averaged), list(latest))
        return
    steps = int(count)
    decay = min(highest, steps / (steps + 9.0))
    pairs = zip(averaged, latest, strict=True)
    moved = [(mean, weight) for mean, weight in pairs if mean.data_ptr() != weight.data_ptr()]
    if moved:
        means, weights = zip(*moved, strict=True)
        torch._foreach_lerp_(list(means), list(weights), 1.0 - decay)

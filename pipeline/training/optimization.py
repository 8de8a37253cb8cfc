"""The optimizer, the course of its learning rate, and an average of the weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel

Schedule = Literal["cosine", "constant"]
FACTOR = "learning_rate_factor"


def build_optimizer(
    model: nn.Module,
    learning_rate: float,
    weight_decay: float,
    parameters: Iterable[nn.Parameter] | None = None,
    betas: tuple[float, float] = (0.9, 0.98),
) -> torch.optim.AdamW:
    """AdamW that decays the weights of linear and convolution layers only.

    Norms, biases, embeddings and other free vectors are not decayed: pulling them to zero does not
    make the function simpler.

    Args:
        model: Its parameters that require gradients are optimized. A module may have a ``learning_rate_factor`` for
            all below it.
        learning_rate: Highest learning rate, see :func:`rate_factor`.
        weight_decay: Share of a weight, per unit of learning rate, that is lost in each step.
        parameters: Those of the model that are meant; all where None.
        betas: Of the moving averages of gradients and of their squares.

    Source:
        Loshchilov & Hutter 2019, "Decoupled weight decay regularization", algorithm 2.
    """
    meant = None if parameters is None else {id(parameter) for parameter in parameters}
    decayed: dict[float, list[nn.Parameter]] = {1.0: []}
    free: dict[float, list[nn.Parameter]] = {1.0: []}
    for module, factor in _with_factors(model):
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad and (meant is None or id(parameter) in meant):
                is_weight = name == "weight" and isinstance(
                    module, nn.Linear | nn.modules.conv._ConvNd
                )
                (decayed if is_weight else free).setdefault(factor, []).append(parameter)
    groups = [
        {"params": weights, "weight_decay": decay, "lr": learning_rate * factor}
        for factor in sorted({*decayed, *free}, reverse=True)
        for weights, decay in (
            (decayed.get(factor, []), weight_decay),
            (free.get(factor, []), 0.0),
        )
    ]
    return torch.optim.AdamW(groups, lr=learning_rate, betas=betas)


def _with_factors(model: nn.Module) -> Iterator[tuple[nn.Module, float]]:
    """All modules, each once, and the factor of their learning rate: their own, or that of what holds them."""
    factors = {"": 1.0}
    for path, module in model.named_modules():
        above = factors[path.rpartition(".")[0]]
        factors[path] = getattr(module, FACTOR, above)
        yield module, factors[path]


def rate_factor(
    step: int, total_steps: int, warmup_steps: int, schedule: Schedule = "cosine"
) -> float:
    """Share of the highest learning rate in a step: linear warm-up, then half a cosine down to zero, or all of it.

    Args:
        step: Number of steps already made, 0 for the first.
        total_steps: Number of steps in all; later steps of a cosine have rate 0.
        warmup_steps: Number of steps with a rising rate.
        schedule: What comes behind those.

    Source:
        Loshchilov & Hutter 2017, "SGDR: stochastic gradient descent with warm restarts", equation
        5, one cycle; warm-up after Goyal et al. 2017, "Accurate, large minibatch SGD", section 2.2.
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    if schedule == "constant":
        return 1.0
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))


def build_schedule(
    optimizer: Optimizer,
    total_steps: int,
    warmup_steps: int,
    done: int = 0,
    schedule: Schedule = "cosine",
) -> LambdaLR:
    """The course of an optimizer's learning rates, each by :func:`rate_factor` from its highest.

    Args:
        optimizer: Its groups have their highest rates as ``initial_lr``, or as ``lr`` where they have no such entry.
        total_steps: Number of steps in all.
        warmup_steps: Number of steps with a rising rate.
        done: Steps already made; the rates of the next are set.
        schedule: See :func:`rate_factor`.
    """
    for group in optimizer.param_groups:
        group.setdefault("initial_lr", group["lr"])
    factor: Callable[[int], float] = partial(
        rate_factor, total_steps=total_steps, warmup_steps=warmup_steps, schedule=schedule
    )
    return LambdaLR(optimizer, factor, last_epoch=done - 1)


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

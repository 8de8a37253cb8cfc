"""The optimizer, its learning rate, and an average of the weights."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

FACTOR = "learning_rate_factor"


def build_optimizer(
    model: nn.Module, learning_rate: float, weight_decay: float
) -> torch.optim.AdamW:
    """AdamW that decays the weights of linear and convolution layers only.

    Norms, biases, embeddings and other free vectors are not decayed: pulling them to zero does not
    make the function simpler.

    Args:
        model: Its parameters that require gradients are optimized. A module may have a ``learning_rate_factor`` for
            all below it; see :func:`set_learning_rate`.
        learning_rate: Highest learning rate, see :func:`learning_rate_at`.
        weight_decay: Share of a weight, per unit of learning rate, that is lost in each step.

    Source:
        Loshchilov & Hutter 2019, "Decoupled weight decay regularization", algorithm 2.
    """
    decayed: dict[float, list[nn.Parameter]] = {1.0: []}
    free: dict[float, list[nn.Parameter]] = {1.0: []}
    for module, factor in _with_factors(model):
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad:
                is_weight = name == "weight" and isinstance(
                    module, nn.Linear | nn.modules.conv._ConvNd
                )
                (decayed if is_weight else free).setdefault(factor, []).append(parameter)
    groups = [
        {
            "params": parameters,
            "weight_decay": decay,
            "lr": learning_rate * factor,
            FACTOR: factor,
        }
        for factor in sorted({*decayed, *free}, reverse=True)
        for parameters, decay in (
            (decayed.get(factor, []), weight_decay),
            (free.get(factor, []), 0.0),
        )
    ]
    return torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.98))


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """Sets the rate of all weights, times the factor of those that have one."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group.get(FACTOR, 1.0)


def _with_factors(model: nn.Module) -> Iterator[tuple[nn.Module, float]]:
    """All modules, each once, and the factor of their learning rate: their own, or that of what holds them."""
    factors = {"": 1.0}
    for path, module in model.named_modules():
        above = factors[path.rpartition(".")[0]]
        factors[path] = getattr(module, FACTOR, above)
        yield module, factors[path]


def learning_rate_at(step: int, total_steps: int, warmup_steps: int, learning_rate: float) -> float:
    """Learning rate of a step: linear warm-up, then half a cosine down to zero.

    Args:
        step: Number of steps already made, 0 for the first.
        total_steps: Number of steps in all; later steps have rate 0.
        warmup_steps: Number of steps with a rising rate.
        learning_rate: Highest rate.

    Source:
        Loshchilov & Hutter 2017, "SGDR: stochastic gradient descent with warm restarts", equation
        5, one cycle; warm-up after Goyal et al. 2017, "Accurate, large minibatch SGD", section 2.2.
    """
    if step < warmup_steps:
        return learning_rate * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return learning_rate * 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))


class WeightAverage:
    """Exponential moving average of a model's weights, often better than the last ones.

    Args:
        model: Its floating-point state is averaged; the rest is copied.
        decay: Share of the average that a step keeps; early steps keep less, so that the average
            forgets the first, random weights.

    Source:
        Polyak & Juditsky 1992, "Acceleration of stochastic approximation by averaging"; the rising
        decay as in Tarvainen & Valpola 2017, "Mean teachers are better role models", section 3.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.num_updates = 0
        self.weights = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Takes in the weights after a step."""
        self.num_updates += 1
        decay = min(self.decay, self.num_updates / (self.num_updates + 9.0))
        averaged: list[Tensor] = []
        latest: list[Tensor] = []
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                averaged.append(self.weights[name])
                latest.append(value)
            else:
                self.weights[name].copy_(value)
        torch._foreach_lerp_(averaged, latest, 1.0 - decay)

    def copy_to(self, model: nn.Module) -> None:
        """Overwrites the model's weights with the average."""
        model.load_state_dict(self.weights)

    def state_dict(self) -> dict[str, Tensor]:
        """The state as named tensors, for a checkpoint."""
        weights = {f"weights.{name}": value for name, value in self.weights.items()}
        return {"num_updates": torch.tensor(self.num_updates), **weights}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Continues from a checkpoint.

        Raises:
            KeyError: The state is of another model.
        """
        self.num_updates = int(state["num_updates"])
        for name, value in self.weights.items():
            value.copy_(state[f"weights.{name}"])

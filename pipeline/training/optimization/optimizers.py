"""Optimizers by name, each of which decays the weights of linear and convolution layers alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from torch.optim import Optimizer

OptimizerName = Literal["adamw", "sgd", "muon"]
FACTOR = "learning_rate_factor"


@dataclass(frozen=True)
class Group:
    """Weights with settings of their own.

    Attributes:
        weights: Which.
        decay: Share of a weight, per unit of learning rate, that is lost in each step.
        learning_rate: Highest.
        matrices: Those of the weights that are a linear layer's.
    """

    weights: Sequence[nn.Parameter]
    decay: float
    learning_rate: float
    matrices: Sequence[nn.Parameter]

    def part(self, *, matrices: bool) -> dict[str, Any]:
        """Its matrices, or all else, as torch's optimizers take them."""
        linear = {id(weight) for weight in self.matrices}
        return self._settings([w for w in self.weights if (id(w) in linear) == matrices])

    def whole(self) -> dict[str, Any]:
        """All of it, as torch's optimizers take them."""
        return self._settings(list(self.weights))

    def _settings(self, weights: list[nn.Parameter]) -> dict[str, Any]:
        return {"params": weights, "weight_decay": self.decay, "lr": self.learning_rate}


def build_optimizer(
    model: nn.Module,
    learning_rate: float,
    weight_decay: float,
    parameters: Iterable[nn.Parameter] | None = None,
    betas: tuple[float, float] = (0.9, 0.98),
    name: OptimizerName = "adamw",
) -> Optimizer:
    """An optimizer that decays the weights of linear and convolution layers only.

    Norms, biases, embeddings and other free vectors are not decayed: pulling them to zero does not
    make the function simpler.

    Args:
        model: Its parameters that require gradients are optimized. A module may have a ``learning_rate_factor`` for
            all below it.
        learning_rate: Highest learning rate, see :func:`pipeline.training.optimization.schedule.rate_factor`.
        weight_decay: Share of a weight, per unit of learning rate, that is lost in each step.
        parameters: Those of the model that are meant; all where None.
        betas: Of the moving averages of gradients and of their squares; ``sgd`` has the first alone, as the momentum
            of Nesterov.
        name: ``muon`` moves the matrices of linear layers by Muon, by steps as large as those of AdamW, which moves all
            else.

    Source:
        adamw: Loshchilov & Hutter 2019, "Decoupled weight decay regularization", algorithm 2; sgd: Sutskever et al.
        2013, "On the importance of initialization and momentum in deep learning", section 2; muon: Jordan et al. 2024,
        "Muon: an optimizer for hidden layers in neural networks", with the scale of Liu et al. 2025, "Muon is scalable
        for LLM training", equation 4.
    """
    meant = None if parameters is None else {id(parameter) for parameter in parameters}
    decayed: dict[float, list[nn.Parameter]] = {1.0: []}
    free: dict[float, list[nn.Parameter]] = {1.0: []}
    linear: set[int] = set()
    for module, factor in _with_factors(model):
        for place, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad and (meant is None or id(parameter) in meant):
                is_weight = place == "weight" and isinstance(
                    module, nn.Linear | nn.modules.conv._ConvNd
                )
                (decayed if is_weight else free).setdefault(factor, []).append(parameter)
                if is_weight and isinstance(module, nn.Linear):
                    linear.add(id(parameter))
    groups = [
        Group(weights, decay, learning_rate * factor, [w for w in weights if id(w) in linear])
        for factor in sorted({*decayed, *free}, reverse=True)
        for weights, decay in (
            (decayed.get(factor, []), weight_decay),
            (free.get(factor, []), 0.0),
        )
    ]
    return _BUILDERS[name](groups, betas)


def _adamw(groups: Sequence[Group], betas: tuple[float, float]) -> Optimizer:
    return _adamw_of([group.whole() for group in groups], betas)


def _adamw_of(groups: list[dict[str, Any]], betas: tuple[float, float]) -> Optimizer:
    on_gpu = any(weight.is_cuda for group in groups for weight in group["params"])
    # One kernel for all weights, where there are kernels to launch; None lets torch choose elsewhere.
    return torch.optim.AdamW(groups, betas=betas, fused=on_gpu or None)


def _sgd(groups: Sequence[Group], betas: tuple[float, float]) -> Optimizer:
    momentum = betas[0]
    settings = [group.whole() for group in groups]
    return torch.optim.SGD(settings, momentum=momentum, nesterov=momentum > 0)


def _muon(groups: Sequence[Group], betas: tuple[float, float]) -> Optimizer:
    matrices = [group.part(matrices=True) for group in groups if group.matrices]
    others = _adamw_of([group.part(matrices=False) for group in groups], betas)
    if not matrices:
        return others
    return Together(torch.optim.Muon(matrices, adjust_lr_fn="match_rms_adamw"), others)


class Together(Optimizer):
    """Several optimizers, each of weights of its own, as one.

    Args:
        optimizers: Which; their groups are those of this one, in the same memory.
    """

    def __init__(self, *optimizers: Optimizer) -> None:
        self.optimizers = optimizers
        super().__init__([group for each in optimizers for group in each.param_groups], {})
        self._share()

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One step of each."""
        for optimizer in self.optimizers:
            optimizer.step()

    def state_dict(self) -> dict[str, Any]:
        """Those of all."""
        return {"optimizers": [optimizer.state_dict() for optimizer in self.optimizers]}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """What :meth:`state_dict` gave.

        Raises:
            KeyError: It is that of another optimizer.
            ValueError: Of one with other groups.
        """
        for optimizer, state in zip(self.optimizers, state_dict["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        self._share()

    def _share(self) -> None:
        self.param_groups = [group for each in self.optimizers for group in each.param_groups]


_BUILDERS: Mapping[OptimizerName, Callable[[Sequence[Group], tuple[float, float]], Optimizer]] = {
    "adamw": _adamw,
    "sgd": _sgd,
    "muon": _muon,
}


def _with_factors(model: nn.Module) -> Iterator[tuple[nn.Module, float]]:
    """All modules, each once, and the factor of their learning rate: their own, or that of what holds them."""
    factors = {"": 1.0}
    for path, module in model.named_modules():
        above = factors[path.rpartition(".")[0]]
        factors[path] = getattr(module, FACTOR, above)
        yield module, factors[path]

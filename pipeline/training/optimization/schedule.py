"""The course of a learning rate over the steps of a training."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import Literal

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

Schedule = Literal["cosine", "linear", "step", "constant"]


def _cosine(progress: float) -> float:
    return 0.5 * (1.0 + math.cos(math.pi * progress))


def _linear(progress: float) -> float:
    return 1.0 - progress


def _step(progress: float) -> float:
    return 1.0 if progress < 0.5 else 0.1 if progress < 0.75 else 0.01


def _constant(progress: float) -> float:
    return 1.0


COURSES: Mapping[Schedule, Callable[[float], float]] = {
    "cosine": _cosine,
    "linear": _linear,
    "step": _step,
    "constant": _constant,
}
"""Schedule -> share of the highest rate, from the share of the steps behind the warm-up that are done, in [0, 1]."""


def rate_factor(
    step: int, total_steps: int, warmup_steps: int, schedule: Schedule = "cosine"
) -> float:
    """Share of the highest learning rate in a step: a linear warm-up, then one of ``COURSES``.

    ``step`` is a tenth from half of the remaining steps on, and a hundredth from three quarters on.

    Args:
        step: Number of steps already made, 0 for the first.
        total_steps: Number of steps in all; later steps have the rate at the end.
        warmup_steps: Number of steps with a rising rate.
        schedule: What comes behind those.

    Source:
        cosine: Loshchilov & Hutter 2017, "SGDR: stochastic gradient descent with warm restarts", equation 5, one cycle;
        step: He et al. 2016, "Deep residual learning for image recognition", section 4.2; warm-up after Goyal et al.
        2017, "Accurate, large minibatch SGD", section 2.2.
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    return COURSES[schedule](min(1.0, progress))


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
    # A first step that moves no weights, as one beyond the range of float16, has its rate all the same.
    warnings.filterwarnings("ignore", r"Detected call of .lr_scheduler\.step", UserWarning)
    for group in optimizer.param_groups:
        group.setdefault("initial_lr", group["lr"])
    factor: Callable[[int], float] = partial(
        rate_factor, total_steps=total_steps, warmup_steps=warmup_steps, schedule=schedule
    )
    return LambdaLR(optimizer, factor, last_epoch=done - 1)

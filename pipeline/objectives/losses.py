"""Losses of single samples and weights of classes, for objectives to choose from."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional


def focal_loss(
    logits: Tensor, labels: Tensor, gamma: float, label_smoothing: float = 0.0
) -> Tensor:
    """Cross-entropy that counts less the surer the model is of the right class.

    Multiply by ``class_weights[labels]`` for the alpha of the paper.

    Args:
        logits: (B, K) float.
        labels: (B,) int64.
        gamma: Focusing parameter, at least 0; 0 is cross-entropy.
        label_smoothing: Share of the target that is spread over all classes. The factor then
            multiplies the smoothed cross-entropy, which the paper does not speak of.

    Returns:
        (B,) float32, nats.

    Source: Lin, Goyal, Girshick, He, Dollár 2017, "Focal Loss for Dense Object Detection",
    equation 4, with the weight of equation 5 left to the caller.
    """
    logits = logits.float()
    losses = functional.cross_entropy(
        logits, labels, reduction="none", label_smoothing=label_smoothing
    )
    log_right = logits.log_softmax(dim=-1).gather(-1, labels[:, None]).squeeze(-1)
    return _focus(log_right, gamma) * losses


def binary_focal_loss(
    logits: Tensor, targets: Tensor, gamma: float, alpha: float | Tensor | None = None
) -> Tensor:
    """Binary cross-entropy of each class that counts less the surer the model is of the right answer.

    Args:
        logits: (B, K) float; any shape.
        targets: Of the same shape, 0 or 1.
        gamma: Focusing parameter, at least 0; 0 is binary cross-entropy.
        alpha: Weight of positives, 0..1, or one for each class (K,); negatives have 1 - alpha. None
            weighs all by one.

    Returns:
        Of the same shape, float32, nats.

    Source: Lin et al. 2017, equation 5.
    """
    logits, targets = logits.float(), targets.float()
    losses = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    focused = _focus(-losses, gamma) * losses
    if alpha is None:
        return focused
    return (alpha * targets + (1 - alpha) * (1 - targets)) * focused


def _focus(log_right: Tensor, gamma: float) -> Tensor:
    """(1 - p) ** gamma of log p.

    Kept off zero, where the power's slope is infinite for gamma below one and backward would give NaN.
    """
    wrong = -torch.expm1(log_right)
    return wrong.clamp(min=torch.finfo(wrong.dtype).tiny).pow(gamma)


def huber_loss(predictions: Tensor, targets: Tensor, delta: float = 1.0) -> Tensor:
    """Half the squared error up to ``delta``, and a straight line beyond.

    Args:
        predictions: (B, K) float; any shape.
        targets: Of the same shape.
        delta: Absolute error from which on the loss grows linearly, in the targets' unit.

    Returns:
        Of the same shape, float32.

    Source: Huber 1964, "Robust Estimation of a Location Parameter".
    """
    return functional.huber_loss(
        predictions.float(), targets.float(), reduction="none", delta=delta
    )


def inverse_frequency_weights(counts: Sequence[int]) -> Tensor:
    """Weights of K classes in inverse proportion to their samples.

    Args:
        counts: (K,) samples of each class in the training set.

    Returns:
        (K,) float32, N / (K * n); their mean over the N training samples is one, so that the
        learning rate keeps its meaning. A class without samples is weighed as one with a single
        sample.

    Source: King, Zeng 2001, "Logistic Regression in Rare Events Data", to which scikit-learn's
    ``compute_class_weight("balanced")``, the same numbers, refers.
    """
    numbers = _numbers(counts)
    return _scaled(1 / numbers.clamp(min=1), numbers)


def effective_number_weights(counts: Sequence[int], beta: float) -> Tensor:
    """Class-balanced weights: each class by the inverse of its effective number of samples.

    Args:
        counts: (K,) samples of each class in the training set.
        beta: 0 weighs all classes alike; towards 1 the weights become those of
            :func:`inverse_frequency_weights`.

    Returns:
        (K,) float32, in proportion to (1 - beta) / (1 - beta ** n) and scaled to a mean of one over
        the training samples (the paper scales them to a sum of K instead, which slows the learning
        of frequent classes). A class without samples is weighed as one with a single sample.

    Raises:
        ValueError: ``beta`` outside [0, 1).

    Source: Cui, Jia, Lin, Song, Belongie 2019, "Class-Balanced Loss Based on Effective Number of
    Samples", equation 2.
    """
    if not 0 <= beta < 1:
        raise ValueError(f"beta {beta} is not in [0, 1)")
    numbers = _numbers(counts)
    effective = (1 - beta ** numbers.clamp(min=1)) / (1 - beta)
    return _scaled(1 / effective, numbers)


def _numbers(counts: Sequence[int]) -> Tensor:
    return torch.tensor([float(count) for count in counts], dtype=torch.float64)


def _scaled(weights: Tensor, numbers: Tensor) -> Tensor:
    """Weights (K,) whose mean over the samples, ``numbers`` (K,) of each class, is one; float32."""
    return (weights * numbers.sum() / (weights * numbers).sum()).float()

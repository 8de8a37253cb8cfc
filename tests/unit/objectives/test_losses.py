"""Losses and weights of classes against their equations, number by number."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight

from pipeline.objectives.losses import (
    binary_focal_loss,
    effective_number_weights,
    focal_loss,
    huber_loss,
    inverse_frequency_weights,
)

GAMMAS = (0.0, 0.5, 1.0, 2.0)
COUNTS = (900, 90, 9, 1)


def logits(rows: int = 6, classes: int = 4) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(rows, classes, generator=generator, dtype=torch.float64) * 2


@pytest.mark.parametrize("gamma", GAMMAS)
def test_focal_loss_is_equation_4(gamma: float) -> None:
    labels = torch.tensor([0, 1, 2, 3, 0, 1])
    losses = focal_loss(logits(), labels, gamma)
    for row, label, loss in zip(logits().tolist(), labels.tolist(), losses.tolist(), strict=True):
        right = math.exp(row[label]) / sum(math.exp(value) for value in row)
        assert loss == pytest.approx(-((1 - right) ** gamma) * math.log(right), rel=1e-5)


@pytest.mark.parametrize("gamma", GAMMAS)
def test_binary_focal_loss_is_equation_5(gamma: float) -> None:
    targets = (torch.arange(24).reshape(6, 4) % 3 == 0).double()
    alpha = torch.tensor([0.25, 0.5, 0.75, 1.0])
    losses = binary_focal_loss(logits(), targets, gamma, alpha)
    plain = binary_focal_loss(logits(), targets, gamma)
    for i, row in enumerate(logits().tolist()):
        for k, value in enumerate(row):
            positive = 1 / (1 + math.exp(-value))
            right = positive if targets[i, k] else 1 - positive
            weight = float(alpha[k] if targets[i, k] else 1 - alpha[k])
            expected = -((1 - right) ** gamma) * math.log(right)
            assert plain[i, k].item() == pytest.approx(expected, rel=1e-4)
            assert losses[i, k].item() == pytest.approx(weight * expected, rel=1e-4)


def test_gamma_zero_is_cross_entropy_with_smoothing_too() -> None:
    labels = torch.tensor([0, 1, 2, 3, 0, 1])
    for smoothing in (0.0, 0.1):
        expected = torch.nn.functional.cross_entropy(
            logits().float(), labels, reduction="none", label_smoothing=smoothing
        )
        assert torch.allclose(focal_loss(logits(), labels, 0.0, smoothing), expected)


@pytest.mark.parametrize("gamma", GAMMAS)
def test_gradients_are_those_of_small_steps(gamma: float) -> None:
    labels = torch.tensor([0, 1, 2, 3, 0, 1])
    targets = torch.nn.functional.one_hot(labels, 4).double()
    functions = (
        lambda x: focal_loss(x, labels, gamma),
        lambda x: binary_focal_loss(x, targets, gamma, 0.25),
        lambda x: huber_loss(x, targets, 0.7),
    )
    for function in functions:
        inputs = logits().requires_grad_()
        function(inputs).sum().backward()
        assert inputs.grad is not None
        for i, k in ((0, 0), (1, 2), (5, 3)):
            step = torch.zeros_like(inputs)
            step[i, k] = 1e-2
            with torch.no_grad():
                change = (function(inputs + step) - function(inputs - step)).double().sum()
            assert inputs.grad[i, k].item() == pytest.approx(change.item() / 2e-2, abs=2e-3)


@pytest.mark.parametrize("gamma", GAMMAS)
@pytest.mark.parametrize("size", [0.0, 50.0, 1e4])
def test_sure_models_have_finite_losses_and_gradients(gamma: float, size: float) -> None:
    labels = torch.tensor([0, 1])
    targets = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    for function in (
        lambda x: focal_loss(x, labels, gamma),
        lambda x: binary_focal_loss(x, targets, gamma),
    ):
        inputs = (size * torch.tensor([[1.0, -1.0], [1.0, -1.0]])).requires_grad_()
        losses = function(inputs)
        losses.sum().backward()
        assert inputs.grad is not None
        assert losses.isfinite().all()
        assert inputs.grad.isfinite().all()


def test_huber_is_square_then_straight() -> None:
    errors = torch.tensor([[0.0, 0.5, -2.0, 10.0]])
    expected = [0.0, 0.5**2 / 2, 1.5 * (2 - 0.75), 1.5 * (10 - 0.75)]
    losses = huber_loss(errors, torch.zeros(1, 4), delta=1.5)
    assert losses[0].tolist() == pytest.approx(expected)


def test_inverse_frequency_is_balanced_of_scikit_learn() -> None:
    labels = [k for k, count in enumerate(COUNTS) for _ in range(count)]
    expected = compute_class_weight("balanced", classes=np.arange(4), y=labels)
    assert inverse_frequency_weights(COUNTS).tolist() == pytest.approx(list(expected), rel=1e-6)


@pytest.mark.parametrize("beta", [0.0, 0.9, 0.999])
def test_effective_numbers_are_equation_2(beta: float) -> None:
    weights = effective_number_weights(COUNTS, beta)
    equation = [(1 - beta) / (1 - beta**count) for count in COUNTS]
    ratios = [weight / equation[0] for weight in equation]
    assert (weights / weights[0]).tolist() == pytest.approx(ratios, rel=1e-5)
    # E = 1 + beta + ... + beta ** (n - 1), the sum that the equation closes.
    effective = [sum(beta**i for i in range(count)) for count in COUNTS]
    assert [1 / value for value in effective] == pytest.approx(equation)


def test_weights_keep_the_scale_of_the_loss() -> None:
    counts = torch.tensor(COUNTS)
    for weights in (inverse_frequency_weights(COUNTS), effective_number_weights(COUNTS, 0.99)):
        assert (weights * counts).sum() / counts.sum() == pytest.approx(1)


def test_beta_goes_from_equal_to_inverse_frequency() -> None:
    assert effective_number_weights(COUNTS, 0.0).tolist() == pytest.approx([1.0] * 4)
    near = effective_number_weights(COUNTS, 1 - 1e-9).tolist()
    assert near == pytest.approx(inverse_frequency_weights(COUNTS).tolist(), rel=1e-4)
    with pytest.raises(ValueError, match="beta"):
        effective_number_weights(COUNTS, 1.0)


def test_a_class_without_samples_has_a_finite_weight() -> None:
    for weights in (inverse_frequency_weights((10, 0)), effective_number_weights((10, 0), 0.9)):
        assert weights.isfinite().all()
        assert weights[1] > weights[0]

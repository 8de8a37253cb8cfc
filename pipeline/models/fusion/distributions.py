"""What an objective's outputs say, as distributions: how those of several experts become one."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

# The logarithm of no weight, finite so that a sample without experts has finite gradients.
NEVER = -1e4


class Distribution(Protocol):
    """The family of distributions whose parameters a head gives, K numbers each.

    Both methods take the outputs of M experts, float32 (B, M, K), and their weights, float32 (B, M), 0 where an expert
    is silent; they return parameters of the same family, float32 (B, K), finite also where all experts are silent.
    """

    def mixture(self, outputs: Tensor, weights: Tensor) -> Tensor:
        """The weighted mean of the distributions; of the weights only the shares count."""

    def product(self, outputs: Tensor, weights: Tensor) -> Tensor:
        """Their product, each to the power of its weight, normalised.

        Source:
            Hinton 2002, "Training products of experts by minimizing contrastive divergence"; powers as in Heskes
            1998, "Selecting weighting factors in logarithmic opinion pools".
        """


class Categorical:
    """One class of K; outputs are logits."""

    def mixture(self, outputs: Tensor, weights: Tensor) -> Tensor:
        """Logarithms of the mean probabilities, which are their own logits."""
        return torch.logsumexp(outputs.log_softmax(dim=-1) + _log_shares(weights), dim=1)

    def product(self, outputs: Tensor, weights: Tensor) -> Tensor:
        """Sums of logits, which are those of the product."""
        return (weights[..., None] * outputs).sum(dim=1)


class Bernoulli:
    """Each of K classes or not; outputs are logits."""

    def mixture(self, outputs: Tensor, weights: Tensor) -> Tensor:
        """Logits of the mean probabilities."""
        shares = _log_shares(weights)
        positive = torch.logsumexp(functional.logsigmoid(outputs) + shares, dim=1)
        return positive - torch.logsumexp(functional.logsigmoid(-outputs) + shares, dim=1)

    def product(self, outputs: Tensor, weights: Tensor) -> Tensor:
        """Sums of logits, which are those of the product."""
        return (weights[..., None] * outputs).sum(dim=1)


class Gaussian:
    """K numbers; outputs are means, and weights precisions."""

    def mixture(self, outputs: Tensor, weights: Tensor) -> Tensor:
        """The mean of the mixture."""
        return (_shares(weights)[..., None] * outputs).sum(dim=1)

    def product(self, outputs: Tensor, weights: Tensor) -> Tensor:
        """The mean of the product, in which means count as their precisions do."""
        return self.mixture(outputs, weights)


def _shares(weights: Tensor) -> Tensor:
    """Weights (B, M) that sum to one, or to zero where all are zero."""
    return weights / weights.sum(dim=1, keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny)


def _log_shares(weights: Tensor) -> Tensor:
    """Logarithms (B, M, 1) of the shares, very small where a weight is zero."""
    shares = _shares(weights)
    heard = shares > 0
    return torch.where(heard, torch.where(heard, shares, 1.0).log(), NEVER)[..., None]

"""Distributions of the latent that single modalities and mixtures of them make.

Letters: M modalities, the label among them; B batch; D numbers of a latent; S components of a mixture.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from pipeline.modalities.chance import Chance
from pipeline.objectives.vae.distributions import Family

IMPOSSIBLE = (
    -1e30
)  # log-weight of a component that a sample does not have; finite, so that gradients are


class Experts(NamedTuple):
    """What each modality says of the latent.

    Attributes:
        location: float (M, B, D).
        log_scale: float (M, B, D).
        present: bool (M, B), False where a sample lacks the modality, whose numbers then mean nothing.
    """

    location: Tensor
    log_scale: Tensor
    present: Tensor

    def only(self, chosen: Tensor) -> Experts:
        """The same with fewer present, bool (M, B) or broadcastable to it."""
        return self._replace(present=self.present & chosen)

    def imagined(self, location: Tensor, log_scale: Tensor) -> Experts:
        """The same, where a sample has nothing with what the last modality says, float (B, D) each."""
        nothing = ~self.present.any(dim=0)
        last = torch.arange(len(self.present), device=nothing.device) == len(self.present) - 1
        said = last[:, None] & nothing
        return Experts(
            torch.where(said[..., None], location, self.location),
            torch.where(said[..., None], log_scale, self.log_scale),
            self.present | said,
        )


class Components(NamedTuple):
    """A mixture of distributions of the latent.

    Attributes:
        location: float (S, B, D).
        log_scale: float (S, B, D).
        weights: float (S, B), of a sample 1 together.
    """

    location: Tensor
    log_scale: Tensor
    weights: Tensor

    def mean(self) -> Tensor:
        """float (B, D)."""
        return (self.weights[..., None] * self.location).sum(dim=0)

    def chosen(self, chance: Chance) -> Tensor:
        """One component of each sample by its weight, int64 (B,)."""
        drawn = chance.uniform(1)[:, 0]
        below = self.weights.cumsum(dim=0) <= drawn
        last = (self.weights > 0).long() * torch.arange(
            1, len(self.weights) + 1, device=drawn.device
        )[:, None]
        return torch.minimum(below.sum(dim=0), last.amax(dim=0) - 1)

    def of(self, choice: Tensor) -> tuple[Tensor, Tensor]:
        """Location and log-scale, float (B, D) each, of one component of each sample, int64 (B,)."""
        rows = torch.arange(len(choice), device=choice.device)
        return self.location[choice, rows], self.log_scale[choice, rows]

    def log_density(self, values: Tensor, family: Family) -> Tensor:
        """Nats, (B,), of latents (B, D)."""
        densities = family.log_density(values, self.location, self.log_scale).sum(dim=-1)
        weights = torch.where(
            self.weights > 0,
            self.weights.clamp(min=1e-12).log(),
            torch.full_like(self.weights, IMPOSSIBLE),
        )
        return torch.logsumexp(weights + densities, dim=0)


def product(experts: Experts, prior: Tensor) -> tuple[Tensor, Tensor]:
    """The product of normal experts, renormalised.

    Args:
        experts: Of the normal family.
        prior: bool (B,), where the prior is one of the experts; must be True where no other is.

    Returns:
        Location and log-scale, float (B, D) each.

    Source:
        Cao & Fleet 2014, "Generalized product of experts for automatic and principled fusion of Gaussian process
        predictions", equations 3 and 4: precisions add up, and locations are weighed by them.
    """
    present = experts.present[..., None]
    # What is missing may hold anything, and a product with zero would keep it.
    log_scale = torch.where(present, experts.log_scale, torch.zeros_like(experts.log_scale))
    location = torch.where(present, experts.location, torch.zeros_like(experts.location))
    precision = torch.where(present, (-2.0 * log_scale).exp(), torch.zeros_like(log_scale))
    total = precision.sum(dim=0) + prior[:, None].to(precision.dtype)
    return (precision * location).sum(dim=0) / total, -0.5 * total.log()


def one(location: Tensor, log_scale: Tensor) -> Components:
    """A single distribution, float (B, D) each, as a mixture."""
    return Components(location[None], log_scale[None], torch.ones_like(location[:, 0])[None])


def with_prior(location: Tensor, log_scale: Tensor, present: Tensor) -> Components:
    """A mixture of the components that a sample has, of equal weights, and of the prior alone where it has none.

    Args:
        location: float (S, B, D).
        log_scale: float (S, B, D).
        present: bool (S, B).
    """
    zeros = torch.zeros_like(location[:1])
    has = torch.cat([present, ~present.any(dim=0, keepdim=True)])
    location, log_scale = torch.cat([location, zeros]), torch.cat([log_scale, zeros])
    weights = has.to(location.dtype) / has.sum(dim=0)
    clean = torch.zeros_like(location)
    return Components(
        torch.where(has[..., None], location, clean),
        torch.where(has[..., None], log_scale, clean),
        weights,
    )

"""Joint posteriors: how what single modalities say of a latent becomes one distribution of it.

Letters as in :mod:`pipeline.objectives.vae.components`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor

from pipeline.modalities.chance import Chance
from pipeline.objectives.vae.components import Components, Experts, one, product, with_prior
from pipeline.objectives.vae.distributions import Family


class Term(NamedTuple):
    """One of the expectations whose weighted sum is the bound that training raises.

    Attributes:
        latent: float (B, D).
        counts: bool (M, B), which modalities must be explained by it.
        weight: float (B,).
        divergence: float (B, D), or (B, 1) where it is known of the whole latent alone: nats.
    """

    latent: Tensor
    counts: Tensor
    weight: Tensor
    divergence: Tensor


class Posterior(ABC):
    """A way to join experts.

    Attributes:
        averages: Whether the bound is the mean of all terms; else it is the first, and the others are taught beside it.
    """

    averages = False

    def __init__(self, family: Family) -> None:
        self.family = family

    @abstractmethod
    def components(self, experts: Experts) -> Components:
        """The joint posterior; the prior where a sample has nothing."""

    @abstractmethod
    def terms(self, experts: Experts, chance: Chance) -> list[Term]:
        """What training explains samples by; the first is of all that a sample has."""

    def predictive(self, experts: Experts) -> Components:
        """What predictions are made by, where it is another distribution than :meth:`components`."""
        return self.components(experts)

    def draw(self, location: Tensor, log_scale: Tensor, chance: Chance) -> Tensor:
        """Latents, (B, D), by the reparametrisation of Kingma & Welling 2014, section 2.4."""
        noise = self.family.noise(chance, location.shape[-1])
        return location + log_scale.exp() * noise


class ProductPosterior(Posterior):
    """The product of the experts and the prior; training explains single modalities and random subsets, too.

    Args:
        family: Normal.
        subsampled: Whether training does so.
        random_subsets: Of two or more modalities, not all of them, drawn for each sample.

    Source:
        Wu & Goodman 2018, "Multimodal generative models for scalable weakly-supervised learning", equations 3 and 5.
    """

    def __init__(self, family: Family, *, subsampled: bool, random_subsets: int) -> None:
        super().__init__(family)
        self.subsampled, self.random_subsets = subsampled, random_subsets

    def components(self, experts: Experts) -> Components:
        return one(*product(experts, prior=torch.ones_like(experts.present[0])))

    def terms(self, experts: Experts, chance: Chance) -> list[Term]:
        count = len(experts.present)
        subsets: list[Tensor] = [torch.ones_like(experts.present)]
        if self.subsampled and count > 1:
            subsets += [
                torch.arange(count, device=experts.present.device)[:, None].eq(place)
                & torch.ones_like(experts.present)
                for place in range(count)
            ]
            subsets += self._drawn(experts.present, chance.stream("subsets"))
        terms = []
        for place, subset in enumerate(subsets):
            chosen = experts.only(subset)
            location, log_scale = product(chosen, prior=torch.ones_like(chosen.present[0]))
            latent = self.draw(location, log_scale, chance.stream(f"latent {place}"))
            has = chosen.present.any(dim=0) if place else torch.ones_like(chosen.present[0])
            divergence = self.family.divergence(location, log_scale)
            terms.append(Term(latent, chosen.present, has.to(latent.dtype), divergence))
        return terms

    def _drawn(self, present: Tensor, chance: Chance) -> list[Tensor]:
        """bool (M, B) each: subsets of two or more modalities that are not all, none where there are no such."""
        count = len(present)
        masks = [
            [place in subset for place in range(count)]
            for size in range(2, count)
            for subset in combinations(range(count), size)
        ]
        if not masks:
            return []
        table = torch.tensor(masks, device=present.device)
        return [
            table[(chance.uniform(1)[:, 0] * len(masks)).long().clamp(max=len(masks) - 1)].T
            for _ in range(self.random_subsets)
        ]


class MixturePosterior(Posterior):
    """The mixture of the experts, of equal weights; each of them explains all that a sample has.

    Source:
        Shi et al. 2019, "Variational mixture-of-experts autoencoders for multi-modal deep generative models",
        equation 3, with one sample of each expert.
    """

    averages = True

    def components(self, experts: Experts) -> Components:
        return with_prior(experts.location, experts.log_scale, experts.present)

    def terms(self, experts: Experts, chance: Chance) -> list[Term]:
        mixture = self.components(experts)
        terms = []
        for place, weight in enumerate(mixture.weights):
            location, log_scale = mixture.location[place], mixture.log_scale[place]
            latent = self.draw(location, log_scale, chance.stream(f"latent {place}"))
            zeros = torch.zeros_like(latent)
            prior = self.family.log_density(latent, zeros, zeros).sum(dim=-1)
            divergence = mixture.log_density(latent, self.family) - prior
            # Where no weight is, there must be no number either that is not finite.
            latent = torch.where(weight[:, None] > 0, latent, zeros)
            divergence = torch.where(weight > 0, divergence, torch.zeros_like(divergence))
            terms.append(Term(latent, experts.present, weight, divergence[:, None]))
        return terms


class MixtureOfProductsPosterior(Posterior):
    """The mixture, of equal weights, of the products of all subsets of what a sample has.

    Training explains a sample by one component that is drawn for it; the divergence is the mean of the components',
    which bounds that of the mixture. Predictions are made by the product of all that is given.

    Source:
        Sutter, Daunhawer & Vogt 2021, "Generalized multimodal ELBO", equations 4 to 6; the prior is an expert of the
        whole set alone, as in the authors' code.
    """

    def components(self, experts: Experts) -> Components:
        locations, log_scales, present = [], [], []
        count = len(experts.present)
        for subset in _subsets(count):
            mask = torch.zeros(count, 1, dtype=torch.bool, device=experts.present.device)
            mask[list(subset)] = True
            has = experts.present[list(subset)].all(dim=0)
            is_whole = torch.full_like(has, len(subset) == count)
            location, log_scale = product(experts.only(mask), prior=is_whole | ~has)
            locations.append(location)
            log_scales.append(log_scale)
            present.append(has)
        return with_prior(torch.stack(locations), torch.stack(log_scales), torch.stack(present))

    def terms(self, experts: Experts, chance: Chance) -> list[Term]:
        mixture = self.components(experts)
        return [self.term(experts, mixture, mixture.chosen(chance.stream("component")), chance)]

    def term(self, experts: Experts, mixture: Components, choice: Tensor, chance: Chance) -> Term:
        """The term of the components that were chosen, int64 (B,)."""
        latent = self.draw(*mixture.of(choice), chance.stream("latent 0"))
        each = self.family.divergence(mixture.location, mixture.log_scale)
        divergence = (mixture.weights[..., None] * each).sum(dim=0)
        return Term(latent, experts.present, torch.ones_like(latent[:, 0]), divergence)

    def predictive(self, experts: Experts) -> Components:
        whole = experts.present.all(dim=0)
        nothing = ~experts.present.any(dim=0)
        return one(*product(experts, prior=whole | nothing))


def at_least(divergence: Tensor, nats: float) -> Tensor:
    """A divergence, at least so many nats of each number; as it is where that is 0.

    A mixture's is estimated by single latents, of which some are below zero.

    Source:
        Kingma et al. 2016, "Improving variational inference with inverse autoregressive flow", equation 15, of each
        sample by itself, so that it does not depend on its batch.
    """
    return divergence.clamp(min=nats) if nats else divergence


def importance_bound(log_ratios: Tensor) -> Tensor:
    """The importance-weighted bound of log p(x), nats (B,).

    Args:
        log_ratios: log p(x, z) - log q(z | x) of K latents, (K, B).

    Source:
        Burda, Grosse & Salakhutdinov 2016, "Importance weighted autoencoders", equation 8.
    """
    return torch.logsumexp(log_ratios, dim=0) - math.log(len(log_ratios))


def _subsets(count: int) -> Sequence[tuple[int, ...]]:
    """The subsets of so many modalities but the empty one, the small ones first."""
    sizes = range(1, count + 1)
    return [subset for size in sizes for subset in combinations(range(count), size)]

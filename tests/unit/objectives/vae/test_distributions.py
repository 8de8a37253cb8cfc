"""Divergences, products and mixtures of latents against sums over a fine grid."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.integrate import quad
from support.chances import chances
from torch import Tensor

from pipeline.objectives.vae.components import Experts, product, with_prior
from pipeline.objectives.vae.distributions import Family, LaplaceFamily, NormalFamily
from pipeline.objectives.vae.posteriors import (
    MixtureOfProductsPosterior,
    MixturePosterior,
    ProductPosterior,
    importance_bound,
)

FAMILIES = [NormalFamily(), LaplaceFamily()]
GRID = torch.linspace(-60, 60, 240_001, dtype=torch.float64)
STEP = float(GRID[1] - GRID[0])


def numbers(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def density(family: Family, location: float, log_scale: float, at: Tensor = GRID) -> Tensor:
    return family.log_density(at, numbers(location), numbers(log_scale)).exp()


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: type(family).__name__)
@pytest.mark.parametrize(("location", "log_scale"), [(0.0, 0.0), (1.3, -0.7), (-2.0, 0.8)])
def test_a_divergence_is_its_integral(family: Family, location: float, log_scale: float) -> None:
    def integrand(at: float) -> float:
        ours = family.log_density(numbers(at), numbers(location), numbers(log_scale))
        prior = family.log_density(numbers(at), numbers(0.0), numbers(0.0))
        return float(ours.exp() * (ours - prior))

    expected, _ = quad(integrand, -60, 60, points=[0.0, location], limit=400)
    found = float(family.divergence(numbers(location), numbers(log_scale)))
    assert found == pytest.approx(expected, abs=1e-6)
    assert float(density(family, location, log_scale).sum() * STEP) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: type(family).__name__)
def test_noise_is_of_the_prior(family: Family) -> None:
    noise = family.noise(chances(range(20_000), 3), 1).double()[:, 0]
    spread = math.sqrt(2.0) if isinstance(family, LaplaceFamily) else 1.0
    assert float(noise.mean()) == pytest.approx(0, abs=0.03)
    assert float(noise.std()) == pytest.approx(spread, abs=0.04)
    middle = float((noise.abs() < 1).double().mean())
    inside = density(family, 0.0, 0.0)[GRID.abs() < 1].sum() * STEP
    assert middle == pytest.approx(float(inside), abs=0.01)


def experts(present: list[list[bool]]) -> Experts:
    """Three experts of a latent of two numbers, of as many samples as columns."""
    generator = torch.Generator().manual_seed(1)
    shape = (3, len(present[0]), 2)
    location = torch.randn(shape, generator=generator, dtype=torch.float64)
    log_scale = 0.4 * torch.randn(shape, generator=generator, dtype=torch.float64)
    return Experts(location, log_scale, torch.tensor(present))


@pytest.mark.parametrize("prior", [True, False])
def test_a_product_is_the_normalised_product_of_densities(prior: bool) -> None:
    given = experts([[True], [False], [True]])
    location, log_scale = product(given, torch.tensor([prior]))
    family = NormalFamily()
    for place in range(2):
        pairs = [
            (float(given.location[m, 0, place]), float(given.log_scale[m, 0, place]))
            for m in (0, 2)
        ]
        multiplied = torch.ones_like(GRID)
        for pair in pairs + ([(0.0, 0.0)] if prior else []):
            multiplied = multiplied * density(family, *pair)
        expected = multiplied / (multiplied.sum() * STEP)
        found = density(family, float(location[0, place]), float(log_scale[0, place]))
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_what_is_missing_changes_no_product_and_no_gradient() -> None:
    given = experts([[True, True], [False, True], [True, True]])
    wild = given._replace(location=given.location.clone(), log_scale=given.log_scale.clone())
    wild.location[1, 0] = math.nan
    wild.log_scale[1, 0] = math.inf
    prior = torch.tensor([True, True])
    for ours, theirs in zip(product(given, prior), product(wild, prior), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    location = given.location.clone().requires_grad_()
    product(given._replace(location=location), prior)[0].sum().backward()
    assert location.grad is not None
    assert not location.grad[1, 0].any()
    assert location.grad[1, 1].all()


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: type(family).__name__)
def test_a_mixtures_density_is_the_mean_of_its_components(family: Family) -> None:
    given = experts([[True], [False], [True]])
    mixture = MixturePosterior(family).components(given)
    at = torch.zeros(1, 2, dtype=torch.float64)
    each = family.log_density(at, given.location, given.log_scale).sum(dim=-1).exp()
    expected = 0.5 * (each[0] + each[2])
    torch.testing.assert_close(mixture.log_density(at, family).exp(), expected)


@pytest.mark.parametrize(
    "posterior",
    [
        ProductPosterior(NormalFamily(), subsampled=True, random_subsets=1),
        MixturePosterior(NormalFamily()),
        MixtureOfProductsPosterior(NormalFamily()),
    ],
    ids=lambda posterior: type(posterior).__name__,
)
def test_of_nothing_there_is_the_prior(posterior: ProductPosterior) -> None:
    given = experts([[False, True], [False, False], [False, False]])
    mixture = posterior.components(given)
    torch.testing.assert_close(mixture.weights.sum(dim=0), torch.ones(2, dtype=torch.float64))
    choice = mixture.chosen(chances(range(2)))
    location, log_scale = mixture.of(choice)
    assert not location[0].any()
    assert not log_scale[0].any()
    assert location[1].all()
    at = torch.tensor([[0.3, -1.0], [0.3, -1.0]], dtype=torch.float64)
    prior = NormalFamily().log_density(at, torch.zeros_like(at), torch.zeros_like(at)).sum(dim=1)
    torch.testing.assert_close(mixture.log_density(at, NormalFamily())[0], prior[0])


def test_components_are_drawn_by_their_weights_and_never_one_without() -> None:
    present = torch.tensor([[True], [False], [True]]).expand(3, 30_000)
    zeros = torch.zeros(3, 30_000, 1)
    mixture = with_prior(zeros, zeros, present)
    counts = torch.bincount(mixture.chosen(chances(range(30_000), 5)), minlength=4)
    assert counts[1] == counts[3] == 0
    assert float(counts[0]) == pytest.approx(15_000, rel=0.03)


def test_subsets_of_a_mixture_of_products_are_those_that_a_sample_has() -> None:
    given = experts([[True, True], [True, True], [True, False]])
    mixture = MixtureOfProductsPosterior(NormalFamily()).components(given)
    assert (mixture.weights > 0).sum(dim=0).tolist() == [7, 3]
    alone = product(given.only(torch.tensor([[True], [True], [False]])), torch.tensor([False] * 2))
    torch.testing.assert_close(mixture.location[3], alone[0])
    whole = product(given, torch.tensor([True] * 2))
    torch.testing.assert_close(mixture.location[6, :1], whole[0][:1])


def test_an_importance_bound_lies_between_the_mean_and_the_likelihood() -> None:
    ratios = torch.tensor([[-1.0, -3.0], [-2.0, -3.0]], dtype=torch.float64)
    expected = math.log((math.exp(-1) + math.exp(-2)) / 2)
    assert importance_bound(ratios).tolist() == pytest.approx([expected, -3.0])

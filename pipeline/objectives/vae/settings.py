"""Settings of a variational autoencoder's posterior and likelihoods. Imports no torch until these are built."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from pipeline.modalities.rendering.base import LikelihoodName, Rendering
from pipeline.modalities.section import Section

if TYPE_CHECKING:
    from pipeline.objectives.vae.distributions import PriorName
    from pipeline.objectives.vae.likelihoods import Likelihood
    from pipeline.objectives.vae.posteriors import Posterior


class ProductConfig(Section):
    """The product of what modalities say and of the prior (MVAE)."""

    kind: Literal["product"] = "product"
    subsampled: Annotated[
        bool, Field(description="single modalities are taught beside all that a sample has")
    ] = True
    random_subsets: Annotated[
        int,
        Field(ge=0, le=16, description="further subsets that are taught, drawn for each sample"),
    ] = 1

    def build(self, prior: PriorName) -> Posterior:
        from pipeline.objectives.vae.distributions import family_of
        from pipeline.objectives.vae.posteriors import ProductPosterior

        return ProductPosterior(
            family_of(prior), subsampled=self.subsampled, random_subsets=self.random_subsets
        )


class MixtureConfig(Section):
    """The mixture of what modalities say; each of them learns to make all others (MMVAE)."""

    kind: Literal["mixture"] = "mixture"

    def build(self, prior: PriorName) -> Posterior:
        from pipeline.objectives.vae.distributions import family_of
        from pipeline.objectives.vae.posteriors import MixturePosterior

        return MixturePosterior(family_of(prior))


class MixtureOfProductsConfig(Section):
    """The mixture of the products of all subsets (MoPoE)."""

    kind: Literal["mixture_of_products"] = "mixture_of_products"

    def build(self, prior: PriorName) -> Posterior:
        from pipeline.objectives.vae.distributions import family_of
        from pipeline.objectives.vae.posteriors import MixtureOfProductsPosterior

        return MixtureOfProductsPosterior(family_of(prior))


PosteriorConfig = Annotated[
    ProductConfig | MixtureConfig | MixtureOfProductsConfig, Field(discriminator="kind")
]

BOUNDED_SCALE, UNBOUNDED_SCALE = 0.1, 1.0


def check_likelihood(kind: LikelihoodName, rendering: Rendering, name: str) -> None:
    """Refuses a likelihood that the values of a modality do not have.

    Raises:
        ValueError: Names the setting.
    """
    able = {"categorical"} if rendering.symbols is not None else {"gaussian", "laplace"}
    able |= {"bernoulli"} if rendering.bounded else set()
    if kind not in able:
        raise ValueError(
            f"objective.likelihoods.{name}: values of {name} cannot be {kind}; choose {' or '.join(sorted(able))}"
        )


def build_likelihood(kind: LikelihoodName, scale: float | None, rendering: Rendering) -> Likelihood:
    """The likelihood of a modality's values.

    Args:
        kind: Its name.
        scale: Of gaussian and laplace; None takes what suits the range of the values.
        rendering: How they are made.
    """
    from pipeline.objectives.vae import likelihoods

    if kind == "bernoulli":
        return likelihoods.Bernoulli()
    if kind == "categorical":
        return likelihoods.Categorical()
    scale = scale or (BOUNDED_SCALE if rendering.bounded else UNBOUNDED_SCALE)
    noise = likelihoods.Gaussian if kind == "gaussian" else likelihoods.Laplace
    return noise(scale, bounded=rendering.bounded)

"""The same losses and posteriors as the package multivae has, with the same networks and the same noise.

Its defaults are others: a warm-up that makes the weight of the divergence zero unless told the epoch, ten latents, and
a Laplace prior.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.autoencoders import NAMES, batch, network_of
from torch import Tensor, nn

from pipeline.objectives.vae.components import Components
from pipeline.objectives.vae.model import VariationalAutoencoder

multivae = pytest.importorskip("multivae.models", reason="of the dev extra")

LATENT, B = 4, 14
SIZES = {"image": (3, 8, 8), "vector": (6,), "other": (3,)}
DISTRIBUTIONS = {"image": "bernoulli", "vector": "normal", "other": "normal"}
COMMON: dict[str, Any] = {
    "n_modalities": 3,
    "latent_dim": LATENT,
    "input_dims": SIZES,
    "uses_likelihood_rescaling": True,
    "decoders_dist": DISTRIBUTIONS,
}


class Encoder(nn.Module):
    """What an expert of our network says, whatever it is given."""

    latent_dim = LATENT

    def __init__(self, location: Tensor, log_scale: Tensor) -> None:
        super().__init__()
        self.location, self.log_scale = location, log_scale

    def forward(self, values: Tensor) -> Any:
        from pythae.models.base.base_utils import ModelOutput

        return ModelOutput(embedding=self.location, log_covariance=2 * self.log_scale)


class Decoder(nn.Module):
    """A decoder of our network."""

    latent_dim = LATENT

    def __init__(self, network: VariationalAutoencoder, name: str) -> None:
        super().__init__()
        self.decode = lambda latent: network.decoded(latent, name)

    def forward(self, latent: Tensor) -> Any:
        from pythae.models.base.base_utils import ModelOutput

        return ModelOutput(reconstruction=self.decode(latent))


def theirs(kind: str, network: VariationalAutoencoder, samples: dict[str, Tensor]) -> Any:
    """Their model with our networks."""
    experts = network._experts(samples)
    encoders = {
        name: Encoder(experts.location[place].detach(), experts.log_scale[place].detach())
        for place, name in enumerate(NAMES)
    }
    decoders = {name: Decoder(network, name) for name in NAMES}
    for modules in (encoders, decoders):
        for module in modules.values():
            module.__class__.__module__ = "pythae.models"
    model, config = {
        "product": (
            "MVAE",
            multivae.MVAEConfig(**COMMON, warmup=0, beta=2.5, k=0, use_subsampling=True),
        ),
        "mixture": (
            "MMVAE",
            multivae.MMVAEConfig(
                **COMMON,
                K=1,
                prior_and_posterior_dist="normal",
                learn_prior=False,
                loss="iwae_looser",
                beta=1.0,
            ),
        ),
        "mixture_of_products": ("MoPoE", multivae.MoPoEConfig(**COMMON, beta=2.5)),
    }[kind]
    return _bare(getattr(multivae, model), config, encoders, decoders)


def _bare(kind: Any, config: Any, encoders: Any, decoders: Any) -> Any:
    """Without their checks of the classes of networks."""
    from unittest.mock import patch

    with (
        patch.object(
            kind,
            "set_encoders",
            lambda self, given: setattr(self, "encoders", nn.ModuleDict(given)),
        ),
        patch.object(
            kind,
            "set_decoders",
            lambda self, given: setattr(self, "decoders", nn.ModuleDict(given)),
        ),
    ):
        return kind(config, encoders, decoders)


def given() -> dict[str, Tensor]:
    """Samples whose images are black and white, as their Bernoulli likelihood wants."""
    samples = batch(B, labelled=False)
    samples["image"] = 255 * (samples["image"] > 127).to(torch.uint8)
    return samples


def dataset(network: VariationalAutoencoder, samples: dict[str, Tensor], *, masked: bool) -> Any:
    from multivae.data.datasets.base import IncompleteDataset, MultimodalBaseDataset

    data = {name: values.values.contiguous() for name, values in network._prepared(samples).items()}
    if not masked:
        return MultimodalBaseDataset(data)
    return IncompleteDataset(data, {name: samples[f"{name}_present"] for name in NAMES})


@pytest.fixture
def noise(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """What our network draws, in its order, which theirs is then given."""
    drawn: list[Tensor] = []
    from pipeline.objectives.vae.distributions import NormalFamily

    ours = NormalFamily.noise

    def recorded(self: NormalFamily, *args: Any) -> Tensor:
        drawn.append(ours(self, *args))
        return drawn[-1]

    monkeypatch.setattr(NormalFamily, "noise", recorded)

    def rsample(self: torch.distributions.Normal, shape: Any = ()) -> Tensor:
        made = self.loc + self.scale * drawn.pop(0)
        return made[None] if len(tuple(shape)) else made

    monkeypatch.setattr(torch.distributions.Normal, "rsample", rsample)
    return drawn


def network(kind: str) -> VariationalAutoencoder:
    posterior: dict[str, Any] = {"kind": kind}
    posterior |= {"random_subsets": 0} if kind == "product" else {}
    made = network_of(
        label=None,
        latent=LATENT,
        posterior=posterior,
        beta=1.0 if kind == "mixture" else 2.5,
        scales={"vector": 1.0, "other": 1.0},
        likelihoods={"vector": "gaussian", "other": "gaussian"},
    )
    return made.eval()


@pytest.mark.parametrize("kind", ["product", "mixture"])
def test_the_loss_is_theirs(kind: str, noise: list[Tensor]) -> None:
    ours, samples = network(kind), given()
    with torch.no_grad():
        loss, _ = ours.loss(samples)
        found = theirs(kind, ours, samples)(dataset(ours, samples, masked=False), epoch=1).loss
    expected = float(found) / (B if kind == "mixture" else 1)
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_the_loss_of_incomplete_samples_is_theirs(noise: list[Tensor]) -> None:
    ours, samples = network("mixture"), given()
    samples["vector_present"][:4] = False
    samples["image_present"][2:7] = False
    with torch.no_grad():
        loss, _ = ours.loss(samples)
        drawn = noise[:3]
        noise[:] = drawn
        found = theirs("mixture", ours, samples)(dataset(ours, samples, masked=True)).loss
    assert float(loss) == pytest.approx(float(found) / B, rel=1e-5)


def test_the_loss_of_a_mixture_of_products_is_theirs(
    noise: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They take an equal stretch of the batch for each of the seven components."""
    ours, samples = network("mixture_of_products"), given()
    stretches = torch.arange(7).repeat_interleave(B // 7)
    monkeypatch.setattr(Components, "chosen", lambda self, chance: stretches)
    with torch.no_grad():
        loss, _ = ours.loss(samples)
        model = theirs("mixture_of_products", ours, samples)
        found = model(dataset(ours, samples, masked=False))
        assert float(loss) == pytest.approx(float(found.loss), rel=1e-5)
        mixture = ours.posterior.components(ours._experts(samples))
        latents = model.inference(dataset(ours, samples, masked=False))
    torch.testing.assert_close(mixture.location[:7], latents["mus"], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(2 * mixture.log_scale[:7], latents["logvars"], rtol=1e-5, atol=1e-5)


def test_the_posterior_of_a_product_is_theirs(noise: list[Tensor]) -> None:
    ours, samples = network("product"), given()
    samples["vector_present"][:4] = False
    with torch.no_grad():
        mixture = ours.posterior.components(ours._experts(samples))
        model = theirs("product", ours, samples)
        mean, log_variance = model.compute_mu_log_var_subset(
            dataset(ours, samples, masked=True), list(NAMES)
        )
    torch.testing.assert_close(mixture.location[0], mean, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(2 * mixture.log_scale[0], log_variance, rtol=1e-5, atol=1e-5)

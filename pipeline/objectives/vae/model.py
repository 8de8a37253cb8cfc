"""The network of a multimodal variational autoencoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from pipeline.modalities.chance import CHANCE, Chance
from pipeline.modalities.rendering.base import Prepared, generated
from pipeline.objectives.base import EMBEDDING
from pipeline.objectives.network import Batch, Objective
from pipeline.objectives.vae.components import Experts
from pipeline.objectives.vae.experts import ExpertHead, LabelEncoder, LabelRenderer
from pipeline.objectives.vae.likelihoods import Likelihood, log_likelihood
from pipeline.objectives.vae.posteriors import Posterior, Term, at_least, importance_bound
from pipeline.objectives.vae.rows import BOUND, ELBO, NOTHING, nll
from pipeline.objectives.vae.sums import count
from pipeline.objectives.vae.targets import number_of

if TYPE_CHECKING:
    from pipeline.modalities.rendering.base import Rendering
    from pipeline.objectives.vae import VaeConfig

LABEL = "label"  # the name of the label among the modalities; no modality is called so
BETA = "beta"


class VariationalAutoencoder(Objective):
    """Encoders to one latent, by which every modality and the label are made again.

    Args:
        config: The objective's section of the configuration.
        encoders: Modality -> encoder, called with the batch's values, returning Features.
        renderings: Modality -> how its values are made, of those that are.
        classes: Labels; empty where no label is learned.

    Attributes:
        names: What is encoded, the label last (M).
        made: What is decoded, the label last.
    """

    def __init__(
        self,
        config: VaeConfig,
        encoders: Mapping[str, nn.Module],
        renderings: Mapping[str, Rendering],
        classes: Sequence[str],
    ) -> None:
        super().__init__()
        self.settings, self.modalities = config, tuple(encoders)
        self.places = {name: place for place, name in enumerate(classes)}
        labels = (LABEL,) if classes else ()
        self.names, self.made = (*encoders, *labels), (*renderings, *labels)
        self.encoders = nn.ModuleDict(dict(encoders))
        self.heads = nn.ModuleDict(
            {name: ExpertHead(config.width, config.latent) for name in encoders}
        )
        self.sizes = {name: _size(rendering.shape) for name, rendering in renderings.items()}
        self.renderers = nn.ModuleDict(
            {
                name: cast(nn.Module, rendering.build(config.width))
                for name, rendering in renderings.items()
            }
        )
        if classes:
            self.heads[LABEL] = LabelEncoder(len(classes), config.width, config.latent)
            self.renderers[LABEL] = LabelRenderer(len(classes), config.width)
            self.sizes[LABEL] = 1
        self.unfolds = nn.ModuleDict(
            {
                name: nn.Sequential(nn.Linear(config.latent, config.width), nn.GELU())
                for name in self.made
            }
        )
        self.likelihoods: dict[str, Likelihood] = config.likelihoods_of(renderings, labels)
        self.factors = config.factors(self.sizes)
        self.posterior: Posterior = config.posterior.build(config.prior)
        self.beta = config.beta

    def fit(self, statistics: Mapping[str, Mapping[str, Any]]) -> None:
        for name, values in statistics.items():
            if name in self.renderers:
                cast(Any, self.renderers[name]).fit(values)

    def targets(self, texts: Sequence[str | None]) -> dict[str, Tensor]:
        """``label``, int64 (B,), -1 where a sample has none; nothing where no label is learned."""
        if LABEL not in self.names:
            return {}
        return {LABEL: torch.tensor([number_of(text, self.places) for text in texts])}

    def identified(self, batch: Batch) -> dict[str, Tensor]:
        """Values as they are before the augmentation changes them: what is made of changed ones.

        Source:
            Im et al. 2017, "Denoising criterion for variational auto-encoding framework", equation 5.
        """
        return {_unchanged(name): batch[name] for name in self.made if name != LABEL}

    def loss_weights(self, history: Sequence[Mapping[str, float]]) -> dict[str, float]:
        """The weight of the divergence in the epoch that begins, which rises to ``objective.beta``."""
        share = min(1.0, (len(history) + 1) / max(1, self.settings.warmup_epochs))
        return {BETA: self.settings.beta * share}

    def weigh(self, weights: Mapping[str, float]) -> None:
        self.beta = weights.get(BETA, self.beta)

    def loss(self, batch: Batch, turn: str = "model") -> tuple[Tensor, dict[str, Tensor]]:
        """The negative bound that the posterior's kind raises.

        Returns:
            The loss, its likelihoods rescaled and the divergence weighed by beta; and sums of what is not: ``samples``,
            ``loss``, ``elbo`` and ``kl`` (nats, of all that a sample has), and for each modality its negative
            log-likelihood and how many samples have it.
        """
        experts, prepared = self._experts(batch), self._prepared(batch)
        chance = _chance(batch, len(experts.present[0]))
        terms = self.posterior.terms(experts, chance)
        total = experts.location.new_zeros(len(experts.present[0]))
        sums: dict[str, Tensor] = {}
        for place, term in enumerate(terms):
            each = self._log_likelihoods(term, prepared)
            free = at_least(term.divergence, self.settings.free_bits).sum(dim=1)
            weighed = sum((self.factors[name] * value for name, value in each.items()), 0.0)
            total = total - term.weight * (weighed - self.beta * free)
            if place == 0 or self.posterior.averages:
                count(sums, term, each, {name: self.names.index(name) for name in self.made})
        loss = total.mean()
        sums |= {"samples": torch.tensor(len(total)), "loss": loss.detach() * len(total)}
        return loss, {name: value.detach().double() for name, value in sums.items()}

    def predict(self, batch: Batch, seed: int = 0) -> dict[str, Tensor]:
        """Makes all modalities and the label from those that a sample has, from the prior where it has none.

        A label is given to it only where it is in the batch, as when an evaluation asks what is made of it.

        Returns:
            ``embedding`` float32 (B, D), the posterior's mean; ``generated_NAME`` as the modalities finish them, of the
            label logits (B, K); ``elbo`` and, where it is asked for, ``importance_bound``, float32 (B,), nats of what
            is given; ``nll_NAME`` (B,), nats, below ``NOTHING`` where a sample lacks the modality.
        """
        with torch.no_grad():
            experts, prepared = self._experts(batch), self._prepared(batch)
            chance = _chance(batch, len(experts.present[0]), seed)
            outputs = {EMBEDDING: self.posterior.components(experts).mean()}
            outputs |= self._bounds(experts, prepared, chance.stream("bounds"))
            outputs |= self._generated(self._latent(experts, chance.stream("latent")), chance)
        return {name: values.float() for name, values in outputs.items()}

    def originals(self, batch: Batch) -> dict[str, Tensor]:
        chance, prepared = _chance(batch, len(next(iter(batch.values())))), self._prepared(batch)
        return {
            generated(name): cast(Any, self.renderers[name]).finish(
                values.values, chance.stream(f"finish {name}")
            )
            for name, values in prepared.items()
            if name != LABEL
        }

    def between(self, batch: Batch, steps: int) -> dict[str, Tensor]:
        """Latents on the line between those of two samples."""
        with torch.no_grad():
            chance = _chance(batch, 2)
            ends = self._latent(self._experts(batch), chance.stream("latent"))
            share = torch.linspace(0, 1, steps, device=ends.device)[:, None]
            latents = (1 - share) * ends[:1] + share * ends[1:]
            first = Chance(chance.seeds[:1].expand(steps))
            made = {EMBEDDING: latents, **self._generated(latents, first)}
        return {name: values.float() for name, values in made.items()}

    def metrics(self, sums: Mapping[str, float]) -> dict[str, float]:
        """``loss``, ``elbo``, ``kl``, and ``nll_NAME`` of the samples that have a modality."""
        samples = max(1.0, sums["samples"])
        means = {name: sums[name] / samples for name in ("loss", ELBO, "kl")}
        likelihoods = {
            nll(name): sums[nll(name)] / max(1.0, sums[f"has_{name}"]) for name in self.made
        }
        return means | likelihoods

    def decoded(self, latent: Tensor, name: str) -> Tensor:
        """What the decoder of a modality says of latents (B, D)."""
        parameters: Tensor = self.renderers[name](self.unfolds[name](latent))
        return parameters

    def _experts(self, batch: Batch) -> Experts:
        locations, log_scales, present = [], [], []
        for name in self.modalities:
            features = self.encoders[name](batch[name]).where(batch[f"{name}_present"])
            location, log_scale = self.heads[name](features)
            locations.append(location)
            log_scales.append(log_scale)
            present.append(batch[f"{name}_present"])
        if LABEL in self.names:
            labels = batch.get(LABEL, torch.full_like(present[0], -1, dtype=torch.int64))
            location, log_scale = self.heads[LABEL](labels)
            locations.append(location)
            log_scales.append(log_scale)
            present.append(labels >= 0)
        return Experts(torch.stack(locations), torch.stack(log_scales), torch.stack(present))

    def _prepared(self, batch: Batch) -> dict[str, Prepared]:
        """What is to be explained, of each modality that is made."""
        prepared = {
            name: cast(Any, self.renderers[name]).prepare(batch.get(_unchanged(name), batch[name]))
            for name in self.made
            if name != LABEL
        }
        if LABEL in batch and LABEL in self.made:
            prepared[LABEL] = Prepared(batch[LABEL].clamp(min=0)[:, None])
        return prepared

    def _log_likelihoods(self, term: Term, prepared: Mapping[str, Prepared]) -> dict[str, Tensor]:
        """Nats (B,) of each modality, zero where it does not count."""
        each = {}
        for name, values in prepared.items():
            counts = term.counts[self.names.index(name)]
            likelihood = log_likelihood(
                self.likelihoods[name], self.decoded(term.latent, name), values
            )
            each[name] = torch.where(counts, likelihood, torch.zeros_like(likelihood))
        return each

    def _latent(self, experts: Experts, chance: Chance) -> Tensor:
        """float (B, D): of what is given the location of one component, or a draw; of nothing, a draw."""
        said = experts
        if self.settings.nothing == LABEL:
            drawn = chance.stream("label").uniform(1)[:, 0] * len(self.places)
            said = experts.imagined(*self.heads[LABEL](drawn.long()))
        mixture = self.posterior.predictive(said)
        location, log_scale = mixture.of(mixture.chosen(chance.stream("component")))
        drawn = self.posterior.draw(location, log_scale, chance)
        if self.settings.draw:
            return drawn
        return torch.where(experts.present.any(dim=0)[:, None], location, drawn)

    def _generated(self, latent: Tensor, chance: Chance) -> dict[str, Tensor]:
        made = {}
        for name in self.made:
            parameters = self.decoded(latent, name)
            if name == LABEL:
                made[generated(name)] = parameters.log_softmax(dim=-1)[:, 0]
                continue
            likelihood = self.likelihoods[name]
            stream = chance.stream(f"values {name}")
            values = (
                likelihood.drawn(parameters, stream)
                if self.settings.draw
                else likelihood.likeliest(parameters)
            )
            renderer = cast(Any, self.renderers[name])
            made[generated(name)] = renderer.finish(values, chance.stream(f"finish {name}"))
        return made

    def _bounds(
        self, experts: Experts, prepared: Mapping[str, Prepared], chance: Chance
    ) -> dict[str, Tensor]:
        """The bounds of what a sample has, by K latents of the joint posterior; and how likely each modality is."""
        mixture = self.posterior.components(experts)
        ratios: list[Tensor] = []
        likelihoods: dict[str, Tensor] = {}
        for draw in range(max(1, self.settings.importance_samples)):
            stream = chance.stream(str(draw))
            chosen = mixture.of(mixture.chosen(stream.stream("component")))
            latent = self.posterior.draw(*chosen, stream)
            term = Term(latent, experts.present, mixture.weights[0], latent)
            each = self._log_likelihoods(term, prepared)
            zeros = torch.zeros_like(latent)
            prior = self.posterior.family.log_density(latent, zeros, zeros).sum(dim=1)
            posterior = mixture.log_density(latent, self.posterior.family)
            ratios.append(sum(each.values(), torch.zeros_like(prior)) + prior - posterior)
            for name, value in each.items():
                likelihoods[name] = likelihoods.get(name, torch.zeros_like(value)) + value
        stacked = torch.stack(ratios)
        outputs = {ELBO: stacked.mean(dim=0)}
        if self.settings.importance_samples:
            outputs[BOUND] = importance_bound(stacked)
        for name, value in likelihoods.items():
            has = experts.present[self.names.index(name)]
            outputs[nll(name)] = torch.where(
                has, -value / len(ratios), torch.full_like(value, 10 * NOTHING)
            )
        return outputs


def _chance(batch: Batch, count: int, seed: int = 0) -> Chance:
    """The samples' own; without it, by their places in the batch, as in a validation, which is the same every time."""
    device = next(iter(batch.values())).device
    seeds = batch.get(CHANCE, torch.arange(count, device=device))
    return Chance(seeds.to(device) ^ seed).stream("vae")


def _unchanged(name: str) -> str:
    """The column of a modality's values before chance changes them."""
    return f"{name}.unchanged"


def _size(shape: Sequence[int]) -> int:
    return int(torch.Size(shape).numel())

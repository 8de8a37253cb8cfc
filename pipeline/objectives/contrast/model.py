"""The network of a shared space."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from pipeline.modalities.layers import AttentionPool, Features
from pipeline.models.batch import content_of, row_digests
from pipeline.objectives.base import EMBEDDING
from pipeline.objectives.contrast.gather import Shares, is_shared
from pipeline.objectives.contrast.losses import info_nce, pairwise_sigmoid
from pipeline.objectives.contrast.rows import column
from pipeline.objectives.contrast.targets import GROUP, names_of
from pipeline.objectives.contrast.validation import space_metrics
from pipeline.objectives.network import Batch, Objective

if TYPE_CHECKING:
    from pipeline.objectives.contrast import ContrastConfig

SIGMOID_BIAS = -10.0  # at first: nearly all pairs are negative (Zhai et al. 2023, section 3.2)


class Projection(nn.Module):
    """A modality's tokens -> a direction in the shared space.

    Args:
        width: D of the tokens.
        space: Numbers of an embedding.
        dropout: Of the pooled channels.
    """

    def __init__(self, width: int, space: int, dropout: float) -> None:
        super().__init__()
        self.pool = AttentionPool(width)
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(width, space, bias=False)

    def forward(self, features: Features) -> Tensor:
        """float32 (B, space) of length 1; exact zeros where a sample has no token."""
        pooled = self.norm(self.pool(features))
        projected = self.linear(self.dropout(pooled))
        # Lengths and similarities in single precision at least, whatever autocast makes of the products.
        wide = torch.promote_types(projected.dtype, torch.float32)
        projected = functional.normalize(projected.to(wide), dim=-1)
        present = features.mask.any(dim=1)
        return torch.where(present[:, None], projected, torch.zeros_like(projected))


@dataclass(frozen=True)
class Together:
    """What all workers have of a batch of R rows, in the order of the ranks.

    Attributes:
        shares: Which rows are whose.
        embeddings: float32 (R, M, D); zeros where a sample lacks the modality.
        present: bool (R, M).
        identities: int64 (R, M + 1): of each modality's content, and of the group; 0 for none.
    """

    shares: Shares
    embeddings: Tensor
    present: Tensor
    identities: Tensor

    @property
    def own(self) -> slice:
        """This worker's rows."""
        return slice(self.shares.first, self.shares.first + self.shares.own)

    def alike(self) -> Tensor:
        """bool (B, R): whether a row of this worker is, to any modality, or by its group, the same as another."""
        mine = self.identities[self.own][:, None]
        return ((mine == self.identities) & (mine != 0)).any(dim=-1)


class SharedSpace(Objective):
    """Encoders and projections into one space, a temperature, and with the sigmoid loss a bias.

    A sample's own partner is told from the other samples of the batch, those of the other workers among them; samples
    that are equal in a modality, or of one group, are not told apart. Missing modalities are neither queries nor
    candidates.

    Args:
        config: The objective's section of the configuration.
        encoders: Modality -> encoder, called with the batch's values, returning Features.
    """

    def __init__(self, config: ContrastConfig, encoders: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.divisible = False  # each pair is told from all others of the batch
        self.settings = config
        self.modalities = tuple(encoders)
        places = {name: place for place, name in enumerate(encoders)}
        self.pairs = [(places[a], places[b]) for a, b in config.pairs(self.modalities)]
        self.encoders = nn.ModuleDict(dict(encoders))
        self.projections = nn.ModuleDict(
            {name: Projection(config.width, config.space, config.dropout) for name in encoders}
        )
        # Of 1 / temperature, so that it is learned at the same pace at any temperature (Radford et al. 2021, 2.5).
        self.log_scale = nn.Parameter(torch.tensor(-math.log(config.temperature)))
        self.bias = nn.Parameter(torch.tensor(SIGMOID_BIAS)) if config.loss == "sigmoid" else None

    def targets(self, texts: Sequence[str | None]) -> dict[str, Tensor]:
        """``group``, int64 (B,), equal for samples of one group; 0 for those of none."""
        groups = [_digest(names_of(text).get(GROUP)) for text in texts]
        return {GROUP: torch.tensor(groups, dtype=torch.int64)}

    def identified(self, batch: Batch) -> dict[str, Tensor]:
        """``NAME.content``, int64 (B,), equal for samples that are equal in a modality; 0 where it is missing."""
        return {
            content_of(name): torch.from_numpy(
                row_digests(batch[name].numpy(), batch[f"{name}_present"].numpy())
            )
            for name in self.modalities
            if content_of(name) not in batch
        }

    def loss(self, batch: Batch, turn: str = "model") -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of this worker's share of a batch; see :class:`Objective`.

        Returns:
            The loss, whose mean over the workers, weighed by their samples, is that of the whole batch: the mean over
            the pairs of modalities, of each over the samples that have both. And the sums ``samples``, ``loss``,
            ``queries``, ``first`` (queries whose own partner is the nearest) and ``precision`` (1 / its rank).
        """
        return self._judged(self._embed(batch), self._identities(batch))

    def _judged(self, embeddings: Tensor, identities: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        together = self._together(embeddings, identities)
        (loss, counted), rows = self._of_share(together), together.shares.own
        sums = {"samples": loss.new_tensor(float(rows)), "loss": loss.detach() * rows, **counted}
        return loss, {name: value.double() for name, value in sums.items()}

    def loss_without_rows(self, turn: str = "model") -> Tensor:
        """Lends this worker's part to the others' gathering, which waits for everyone."""
        device = self.log_scale.device
        count = len(self.modalities)
        nothing = torch.zeros((0, count, self.settings.space), device=device, requires_grad=True)
        identities = torch.zeros((0, count + 1), dtype=torch.int64, device=device)
        return self._of_share(self._together(nothing, identities))[0]

    def predict(self, batch: Batch, seed: int = 0) -> dict[str, Tensor]:
        """Embeds samples.

        Returns:
            ``NAME_embedding`` float32 (B, D) of length 1, zeros where a sample lacks the modality, and ``embedding``,
            the direction of the mean of those that it has.
        """
        with torch.no_grad():
            embeddings = self._embed(batch)
            joined = functional.normalize(embeddings.sum(dim=1), dim=-1)
        own = {column(name): embeddings[:, place] for place, name in enumerate(self.modalities)}
        return {EMBEDDING: joined, **own}

    def metrics(self, sums: Mapping[str, float]) -> dict[str, float]:
        """``loss``, ``temperature``, and among the samples of a batch recall and mean average precision."""
        queries = max(1.0, sums["queries"])
        return {
            "loss": sums["loss"] / max(1.0, sums["samples"]),
            "recall_at_1": sums["first"] / queries,
            "mean_average_precision": sums["precision"] / queries,
            "temperature": math.exp(-self.log_scale.item()),
        }

    def observed(self, batch: Batch) -> dict[str, Tensor]:
        """The embeddings, (B, M, D), and what is equal, (B, 4 * (M + 1)): digests in pieces that float32 holds."""
        with torch.no_grad():
            return self.validated(batch)[1]

    def validated(self, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        embeddings, identities = self._embed(batch), self._identities(batch)
        pieces = identities.contiguous().view(torch.int16).float()
        sums = self._judged(embeddings, identities)[1]
        return sums, {"embeddings": embeddings.detach(), "identities": pieces}

    def judged(self, observed: Mapping[str, NDArray[np.float32]]) -> dict[str, float]:
        """Retrieval among all samples of the validation split, where training had only those of a batch."""
        identities = np.ascontiguousarray(observed["identities"].astype(np.int16)).view(np.int64)
        return space_metrics(observed["embeddings"], identities)

    def _embed(self, batch: Batch) -> Tensor:
        """float32 (B, M, D) of length 1; zeros where a sample lacks the modality."""
        embeddings = []
        for name, encoder in self.encoders.items():
            encoded: Features = encoder(batch[name])
            present = encoded.where(batch[f"{name}_present"])
            embeddings.append(self.projections[name](present))
        return torch.stack(embeddings, dim=1)

    def _identities(self, batch: Batch) -> Tensor:
        """int64 (B, M + 1)."""
        names = [content_of(name) for name in self.modalities]
        if not all(name in batch for name in names):
            batch = {**batch, **self.identified({name: batch[name].cpu() for name in batch})}
        columns = [batch[name] for name in names]
        columns.append(batch[GROUP] if GROUP in batch else torch.zeros_like(columns[0]))
        return torch.stack([values.to(self.log_scale.device) for values in columns], dim=1)

    def _together(self, embeddings: Tensor, identities: Tensor) -> Together:
        """What all workers have; in evaluation, which one of them does alone, what there is here."""
        shares = Shares((len(embeddings),), 0)
        if self.training and is_shared():
            shares = Shares.of(len(embeddings), embeddings.device)
        gathered = shares.gathered(embeddings)
        # An embedding has length 1, or is missing.
        present = gathered.detach().abs().sum(dim=-1) > 0
        return Together(shares, gathered, present, shares.gathered(identities))

    def _of_share(self, together: Together) -> tuple[Tensor, dict[str, Tensor]]:
        """This worker's loss and sums."""
        with torch.no_grad():
            highest = -math.log(self.settings.min_temperature)
            self.log_scale.clamp_(-math.log(10.0), highest)
        scale = self.log_scale.exp()
        alike = together.alike()
        total = scale.new_zeros(())
        counted: dict[str, Tensor] = {}
        used = scale.new_zeros(())  # pairs of modalities that any sample of the batch has
        for first, second in self.pairs:
            both = together.present[:, first] & together.present[:, second]
            used = used + both.any()
            for query, candidate in ((first, second), (second, first)):
                direction = _Direction.of(together, query, candidate, alike)
                losses = self._of_direction(direction, scale)
                total = total + losses.sum() / (2 * both.sum().clamp(min=1))
                for name, value in direction.counted().items():
                    counted[name] = counted.get(name, 0.0) + value
        weight = together.shares.total / (max(1, together.shares.own) * used.clamp(min=1))
        return total * weight, counted

    def _of_direction(self, direction: _Direction, scale: Tensor) -> Tensor:
        """The loss of each of this worker's queries, float32 (B,); zero for samples that ask nothing."""
        similar, own, counts = direction.similar, direction.own, direction.counts
        if self.bias is None:
            losses = info_nce(similar, own, counts, scale)
        else:
            losses = pairwise_sigmoid(similar, own, counts, scale, self.bias)
        return torch.where(direction.asks, losses, torch.zeros_like(losses))


@dataclass(frozen=True)
class _Direction:
    """The queries of this worker, of one modality, and the candidates of all, of another.

    Attributes:
        similar: float32 (B, R), cosine similarities.
        own: int64 (B,), the place of each query's own sample.
        counts: bool (B, R), the candidates that are told apart from the own one.
        asks: bool (B,), False for samples that lack one of the two.
    """

    similar: Tensor
    own: Tensor
    counts: Tensor
    asks: Tensor

    @classmethod
    def of(cls, together: Together, query: int, candidate: int, alike: Tensor) -> _Direction:
        rows = together.own
        embeddings, present = together.embeddings, together.present
        with torch.autocast(embeddings.device.type, enabled=False):
            similar = embeddings[rows, query] @ embeddings[:, candidate].T
        return cls(
            similar,
            torch.arange(rows.start, rows.stop, device=embeddings.device),
            present[:, candidate][None] & ~alike,
            present[rows, query] & present[rows, candidate],
        )

    @torch.no_grad()
    def counted(self) -> dict[str, Tensor]:
        """Sums over the queries, float64 scalars."""
        mine = self.similar.gather(1, self.own[:, None])
        others = self.counts.scatter(1, self.own[:, None], False)
        ranks = 1 + ((self.similar >= mine) & others).sum(dim=1)
        asks = self.asks.double()
        return {
            "queries": asks.sum(),
            "first": (asks * (ranks == 1)).sum(),
            "precision": (asks / ranks).sum(),
        }


def _digest(name: str | None) -> int:
    """A number for a name, not 0; 0 for none."""
    if name is None:
        return 0
    data = blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(data, "little", signed=True) | 1

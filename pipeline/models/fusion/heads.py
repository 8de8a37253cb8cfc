"""Heads: what a fusion gives -> an objective's outputs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pipeline.models.fusion.base import masked_mean
from pipeline.models.fusion.distributions import Distribution


class Head(nn.Module, ABC):
    """K outputs of each sample, and the vector that stands for it."""

    @abstractmethod
    def embedding(self, vectors: Tensor, present: Tensor) -> Tensor:
        """One vector per sample, float (B, D), of what :meth:`forward` takes."""

    @abstractmethod
    def forward(self, vectors: Tensor, present: Tensor) -> Tensor:
        """Maps vectors to outputs, float (B, K).

        Args:
            vectors: What the fusion gives, float (B, D), or (B, M, D) at output level.
            present: bool (B, M), which modalities a sample has.
        """


class LinearHead(nn.Linear, Head):
    """Of feature-level fusions: the embedding, mapped linearly."""

    def embedding(self, vectors: Tensor, present: Tensor) -> Tensor:
        """The embedding itself."""
        return vectors

    def forward(self, vectors: Tensor, present: Tensor) -> Tensor:  # type: ignore[override]
        """Maps embeddings float (B, D) to outputs float (B, K)."""
        return nn.Linear.forward(self, vectors)


class OutputHead(Head):
    """Of output-level fusions: an expert per modality, and a rule by which their outputs become one.

    Where a sample has one modality, its expert's outputs are the answer, up to a learned temperature: through them
    every expert is trained by its own loss.

    Args:
        width: D.
        outputs: K.
        modalities: Names of the M modalities.
        distribution: What the outputs say.
    """

    def __init__(
        self, width: int, outputs: int, modalities: Sequence[str], distribution: Distribution
    ) -> None:
        super().__init__()
        self.experts = nn.ModuleList(nn.Linear(width, outputs) for _ in modalities)
        self.distribution = distribution

    def embedding(self, vectors: Tensor, present: Tensor) -> Tensor:
        """The mean of the vectors of the modalities that a sample has."""
        return masked_mean(vectors, present)

    def forward(self, vectors: Tensor, present: Tensor) -> Tensor:
        """Maps the modalities' vectors, float (B, M, D), to joint outputs, float32 (B, K)."""
        outputs = [expert(vectors[:, i]) for i, expert in enumerate(self.experts)]
        return self.combine(torch.stack(outputs, dim=1).float(), present)

    @abstractmethod
    def combine(self, outputs: Tensor, present: Tensor) -> Tensor:
        """Joins the experts' outputs.

        Args:
            outputs: float32 (B, M, K).
            present: bool (B, M); what other experts say does not count.

        Returns:
            float32 (B, K).
        """


class MeanHead(OutputHead):
    """The mean of what the experts say, all alike.

    Source:
        Kittler et al. 1998, "On combining classifiers", the sum rule, with equal priors.
    """

    def combine(self, outputs: Tensor, present: Tensor) -> Tensor:
        """See :class:`OutputHead`."""
        return self.distribution.mixture(outputs, present.float())


class ProductHead(OutputHead):
    """The product of what the experts say, each to a power that is learned, 1 at first: its precision.

    Source:
        See :meth:`pipeline.models.fusion.distributions.Distribution.product`.
    """

    def __init__(
        self, width: int, outputs: int, modalities: Sequence[str], distribution: Distribution
    ) -> None:
        super().__init__(width, outputs, modalities, distribution)
        self.log_precision = nn.Parameter(torch.zeros(len(modalities)))

    def combine(self, outputs: Tensor, present: Tensor) -> Tensor:
        """See :class:`OutputHead`."""
        return self.distribution.product(outputs, present * self.log_precision.exp())


class StackingHead(OutputHead):
    """A linear map of all experts' outputs, learned from them as they are: it never changes the experts.

    An expert learns from its own loss alone, where its modality is the only one; there is nothing to join there.
    Learned numbers stand in for the outputs of a missing modality.

    Source:
        Wolpert 1992, "Stacked generalization", with the linear level-1 model over class scores of Ting & Witten 1999,
        "Issues in stacked generalization"; it learns from the training split under dropout and hidden
        modalities, as the experts do, rather than from a fold that they have not seen.
    """

    def __init__(
        self, width: int, outputs: int, modalities: Sequence[str], distribution: Distribution
    ) -> None:
        super().__init__(width, outputs, modalities, distribution)
        self.missing = nn.Parameter(torch.zeros(len(modalities), outputs))
        self.level_one = nn.Linear(len(modalities) * outputs, outputs)

    def combine(self, outputs: Tensor, present: Tensor) -> Tensor:
        """See :class:`OutputHead`."""
        real = present[..., None]
        stacked = torch.where(real, outputs.detach(), self.missing)
        joint = self.level_one(stacked.flatten(1)).float()
        expert = torch.where(real, outputs, 0.0).sum(dim=1)
        return torch.where(present.sum(dim=1, keepdim=True) == 1, expert, joint)

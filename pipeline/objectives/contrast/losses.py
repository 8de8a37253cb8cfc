"""The losses of a shared space, of one query at a time, over the candidates that count."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def info_nce(similar: Tensor, own: Tensor, counts: Tensor, scale: Tensor) -> Tensor:
    """How hard it is to tell each query's own candidate from the others: float32 (Q,), nats.

    Args:
        similar: float32 (Q, C), cosine similarities of queries and candidates.
        own: int64 (Q,), the place of each query's own candidate.
        counts: bool (Q, C), False where a candidate is missing, or as good an answer as the own one; the own one
            counts in any case.
        scale: Scalar, 1 / temperature.

    Source:
        Radford et al. 2021, "Learning transferable visual models from natural language supervision", figure 3, one
        direction; van den Oord et al. 2018, "Representation learning with contrastive predictive coding", equation 4.
    """
    is_own = functional.one_hot(own, similar.shape[1]).bool()
    logits = (scale * similar).masked_fill(~(counts | is_own), -torch.inf)
    losses: Tensor = logits.logsumexp(dim=1) - logits.gather(1, own[:, None])[:, 0]
    return losses


def pairwise_sigmoid(
    similar: Tensor, own: Tensor, counts: Tensor, scale: Tensor, bias: Tensor
) -> Tensor:
    """How wrong a classifier of pairs is, summed over each query's candidates: float32 (Q,), nats.

    Args:
        similar: As of :func:`info_nce`.
        own: As of :func:`info_nce`.
        counts: As of :func:`info_nce`.
        scale: Scalar, 1 / temperature.
        bias: Scalar, added to the scaled similarities.

    Source:
        Zhai et al. 2023, "Sigmoid loss for language image pre-training", section 3.2, before the sum over the batch
        and the division by its size.
    """
    is_own = functional.one_hot(own, similar.shape[1]).bool()
    logits = scale * similar + bias
    losses = -functional.logsigmoid(torch.where(is_own, logits, -logits))
    return torch.where(counts | is_own, losses, torch.zeros_like(losses)).sum(dim=1)

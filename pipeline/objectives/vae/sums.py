"""What a batch adds to the metrics of an epoch."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from pipeline.objectives.vae.posteriors import Term
from pipeline.objectives.vae.rows import ELBO, nll


def count(
    sums: dict[str, Tensor], term: Term, each: Mapping[str, Tensor], places: Mapping[str, int]
) -> None:
    """Adds the parts of a term, without any weights of modalities, to the sums of a batch.

    Args:
        sums: Name -> scalar, changed.
        term: One of the expectations.
        each: Modality -> its log-likelihood, (B,) nats, zero where it does not count.
        places: Modality that is made -> its place among the experts.
    """
    divergence = term.divergence.sum(dim=1)
    everything = sum(each.values(), torch.zeros_like(divergence)) - divergence
    parts = {"kl": divergence, ELBO: everything}
    parts |= {nll(name): -each.get(name, torch.zeros_like(divergence)) for name in places}
    parts |= {
        f"has_{name}": term.counts[place].to(divergence.dtype) for name, place in places.items()
    }
    for name, values in parts.items():
        added = (term.weight * values).sum()
        sums[name] = sums.get(name, torch.zeros_like(added)) + added

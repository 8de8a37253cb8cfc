"""The workers of a training, and the sums over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor, distributed

BUCKET_BYTES = 25 << 20  # of gradients that travel together, as DistributedDataParallel has it


class Ranks(Protocol):
    """Which worker this is, of how many, and how their numbers are added up.

    Attributes:
        rank: Of this worker, counted from 0.
        size: Of all workers.
    """

    rank: int
    size: int

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replaces tensors by their sums over the workers, which all call it with tensors of the same shapes."""

    def merge(self, counts: Mapping[str, float]) -> dict[str, float]:
        """Sums of named numbers over the workers, which all call it, whichever names each has."""


class LocalRanks:
    """One worker alone."""

    rank = 0
    size = 1

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Leaves them as they are."""

    def merge(self, counts: Mapping[str, float]) -> dict[str, float]:
        """The same numbers."""
        return dict(counts)


class TorchRanks:
    """The workers of torch.distributed's default group, which has been set up."""

    def __init__(self) -> None:
        self.rank = distributed.get_rank()
        self.size = distributed.get_world_size()

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Adds up, many small tensors in one message."""
        for bucket in _buckets(tensors):
            flat = torch.cat([tensor.reshape(-1) for tensor in bucket])
            distributed.all_reduce(flat)
            first = 0
            for tensor in bucket:
                tensor.copy_(flat[first : first + tensor.numel()].view_as(tensor))
                first += tensor.numel()

    def merge(self, counts: Mapping[str, float]) -> dict[str, float]:
        """Adds up in the order of the ranks, so that all workers get the same digits."""
        gathered: list[dict[str, float]] = [{} for _ in range(self.size)]
        distributed.all_gather_object(gathered, dict(counts))
        names = sorted({name for worker in gathered for name in worker})
        return {name: sum(worker.get(name, 0.0) for worker in gathered) for name in names}


def _buckets(tensors: Sequence[Tensor]) -> list[list[Tensor]]:
    """Neighbours of one dtype and device, up to ``BUCKET_BYTES`` or one."""
    buckets: list[list[Tensor]] = []
    room = 0
    for tensor in tensors:
        last = buckets[-1][-1] if buckets else None
        size = tensor.numel() * tensor.element_size()
        fits = last is not None and (last.dtype, last.device) == (tensor.dtype, tensor.device)
        if not fits or size > room:
            buckets.append([])
            room = BUCKET_BYTES
        buckets[-1].append(tensor)
        room -= size
    return buckets

"""What the workers of a training have of a batch, brought together, with gradients that find their way back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed


@dataclass(frozen=True)
class Shares:
    """How many rows of a batch each worker has.

    Attributes:
        sizes: Rows of each worker, in the order of the ranks.
        rank: Of this worker.
    """

    sizes: tuple[int, ...]
    rank: int

    @classmethod
    def of(cls, num_rows: int, device: torch.device) -> Shares:
        """Asks the workers of the default group, all of which call it; of this process alone where there is none."""
        if not is_shared():
            return cls((num_rows,), 0)
        own = torch.tensor([num_rows], dtype=torch.int64, device=device)
        sizes = [torch.zeros_like(own) for _ in range(distributed.get_world_size())]
        distributed.all_gather(sizes, own)
        return cls(tuple(int(size) for size in sizes), distributed.get_rank())

    @property
    def first(self) -> int:
        """Place of this worker's first row in the batch."""
        return sum(self.sizes[: self.rank])

    @property
    def own(self) -> int:
        """Rows of this worker."""
        return self.sizes[self.rank]

    @property
    def total(self) -> int:
        """Rows of the batch."""
        return sum(self.sizes)

    def gathered(self, values: Tensor) -> Tensor:
        """The rows (B, ...) of all workers, in the order of the ranks, for those of this one.

        The gradient of this worker's rows is the sum over all workers of what each has found for them.
        """
        if len(self.sizes) == 1:
            return values
        together: Tensor = _Gather.apply(values, self)
        return together


def is_shared() -> bool:
    """Whether other workers of torch.distributed's default group have a part of each batch."""
    return (
        distributed.is_available()
        and distributed.is_initialized()
        and distributed.get_world_size() > 1
    )


class _Gather(torch.autograd.Function):
    """Rows of all workers; shares may differ in size, as those of ``torch.distributed.nn.functional`` may not."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, shares: Shares) -> Tensor:
        ctx.shares = shares
        largest = max(shares.sizes)
        padded = values.new_zeros((largest, *values.shape[1:]))
        padded[: len(values)] = values
        pieces = [torch.empty_like(padded) for _ in shares.sizes]
        distributed.all_gather(pieces, padded)
        return torch.cat([piece[:size] for piece, size in zip(pieces, shares.sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        [gradient] = gradients
        total = gradient.contiguous().clone()
        distributed.all_reduce(total)
        shares: Shares = ctx.shares
        return total[shares.first : shares.first + shares.own], None

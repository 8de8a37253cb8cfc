"""Recurrent layers over tokens of which some are masked."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch
from torch import Tensor, nn

Cell = Literal["lstm", "gru"]
_CELLS: dict[Cell, type[nn.LSTM] | type[nn.GRU]] = {"lstm": nn.LSTM, "gru": nn.GRU}


class Bidirectional(nn.Module):
    """Layers of two recurrent networks, one along the tokens and one against them; masked tokens are stepped over.

    Packed sequences would do the same, but ask for the lengths on the CPU, which a GPU has to be waited for.

    Args:
        cell: Of the networks.
        width: D, channels of a token, and of what it becomes.
        layers: Number of layers.
        dropout: Of the channels between two layers.

    Source:
        Schuster & Paliwal 1997, "Bidirectional recurrent neural networks", section II.C; the cells are those of
        Hochreiter & Schmidhuber 1997, "Long short-term memory", with the forget gate of Gers et al. 2000, and of Cho et
        al. 2014, "Learning phrase representations using RNN encoder-decoder", equations 5 to 8.
    """

    def __init__(self, cell: Cell, width: int, layers: int, dropout: float) -> None:
        super().__init__()
        network, half = _CELLS[cell], (width + 1) // 2
        sizes = [width, *[2 * half] * (layers - 1)]
        self.along = nn.ModuleList(network(size, half, batch_first=True) for size in sizes)
        self.against = nn.ModuleList(network(size, half, batch_first=True) for size in sizes)
        self.dropout = nn.Dropout(dropout)
        self.project = nn.Linear(2 * half, width)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Reads the real tokens in their order and against it.

        Args:
            tokens: float (B, L, D), finite also where masked.
            mask: bool (B, L).

        Returns:
            float (B, L, D); finite, and otherwise meaningless, where masked.
        """
        # What lies behind a sequence's end does not reach it: the real tokens move to the front.
        order = mask.to(torch.uint8).argsort(dim=1, descending=True, stable=True)
        turned = _turned(mask.sum(dim=1), mask.shape[1])
        states = _taken(tokens, order)
        with _without_autocast(tokens.device.type):
            states = states.to(self.project.weight.dtype)
            for index, (along, against) in enumerate(zip(self.along, self.against, strict=True)):
                if index:
                    states = self.dropout(states)
                backward = _taken(against(_taken(states, turned))[0], turned)
                states = torch.cat([along(states)[0], backward], dim=2)
        output: Tensor = self.project(_taken(states, order.argsort(dim=1)))
        return output


def _without_autocast(device: str) -> AbstractContextManager[None]:
    """Full precision: a sum over all steps loses too much in bfloat16, and not every CPU has such an LSTM."""
    if torch.amp.is_autocast_available(device):
        return torch.autocast(device, enabled=False)
    return nullcontext()


def _turned(lengths: Tensor, num_tokens: int) -> Tensor:
    """Places int64 (B, L) that turn the first ``lengths`` (B,) tokens round and leave the others."""
    places = torch.arange(num_tokens, device=lengths.device)
    last = lengths[:, None] - 1
    return torch.where(places <= last, last - places, places)


def _taken(tokens: Tensor, places: Tensor) -> Tensor:
    """The tokens (B, L, D) at places (B, L)."""
    return tokens.gather(1, places[..., None].expand(-1, -1, tokens.shape[2]))

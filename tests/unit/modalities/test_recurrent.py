"""Recurrent layers over masked tokens, against torch's own over packed sequences."""

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from pipeline.modalities.recurrent import Bidirectional, Cell

CELLS: dict[Cell, type[nn.LSTM] | type[nn.GRU]] = {"lstm": nn.LSTM, "gru": nn.GRU}


def network(cell: Cell, layers: int = 2) -> Bidirectional:
    torch.manual_seed(0)
    return Bidirectional(cell, 6, layers, dropout=0.0).eval()


@pytest.mark.parametrize("cell", CELLS)
def test_as_torch_does_over_packed_sequences(cell: Cell) -> None:
    ours = network(cell)
    reference = CELLS[cell](6, 3, num_layers=2, batch_first=True, bidirectional=True)
    for way, suffix in ((ours.along, ""), (ours.against, "_reverse")):
        for layer, one in enumerate(way):
            for name, weight in one.named_parameters():
                getattr(reference, f"{name.removesuffix('0')}{layer}{suffix}").data.copy_(weight)
    tokens, lengths = torch.randn(3, 7, 6), torch.tensor([7, 2, 4])
    mask = torch.arange(7) < lengths[:, None]
    packed = pack_padded_sequence(tokens, lengths, batch_first=True, enforce_sorted=False)
    states, _ = pad_packed_sequence(reference(packed)[0], batch_first=True)
    expected = ours.project(states)
    torch.testing.assert_close(ours(tokens, mask)[mask], expected[mask])


@pytest.mark.parametrize("cell", CELLS)
def test_masked_tokens_are_stepped_over(cell: Cell) -> None:
    model = network(cell)
    tokens = torch.randn(1, 5, 6)
    holed = torch.full((1, 9, 6), 7.0)
    places = torch.tensor([0, 2, 3, 6, 8])
    holed[:, places] = tokens
    mask = torch.zeros(1, 9, dtype=torch.bool)
    mask[:, places] = True
    alone = model(tokens, torch.ones(1, 5, dtype=torch.bool))
    torch.testing.assert_close(model(holed, mask)[:, places], alone)
    nothing = model(holed, torch.zeros_like(mask))
    assert torch.isfinite(nothing).all()

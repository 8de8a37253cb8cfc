"""A recurrent network that writes a sequence of symbols, and looks at what was seen anew before each of them.

B batch      L tokens that are looked at     T symbols      V symbols that there are     D width
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pipeline.modalities.layers import Features, masked_softmax
from pipeline.nets.decoder import SequenceDecoder, State


class AttentiveLSTM(SequenceDecoder):
    """An LSTM with soft attention.

    What the paper adds to the loss, that all places be looked at equally often over a text (its equation 14), is left
    out.

    Args:
        symbols: V.
        width: D.
        dropout: Of embeddings, and of what logits are made of.

    Source:
        Xu et al. 2015, "Show, attend and tell", section 3.1.2 (equations 1-3, 5 and 7), the deterministic attention of
        section 4.2 and its gate, section 4.2.1; scores of attention after Bahdanau et al. 2015, section A.1.2.
    """

    def __init__(self, symbols: int, width: int, dropout: float) -> None:
        super().__init__()
        self.width = width
        self.symbols = nn.Embedding(symbols, width)
        nn.init.normal_(self.symbols.weight, std=width**-0.5)
        self.key = nn.Linear(width, width)
        self.query = nn.Linear(width, width)
        self.score = nn.Linear(width, 1, bias=False)
        self.gate = nn.Linear(width, 1)
        self.first = nn.Linear(width, 2 * width)  # the first hidden state and the first cell
        self.cell = nn.LSTMCell(2 * width, width)
        self.of_hidden = nn.Linear(width, width)
        self.of_context = nn.Linear(width, width)
        self.output = nn.Linear(width, symbols)
        self.dropout = nn.Dropout(dropout)

    def forward(self, symbols: Tensor, memory: Features) -> Tensor:
        state = self.begin(memory)
        logits = []
        for place in range(symbols.shape[1]):
            after, state = self.step(symbols[:, place], state)
            logits.append(after)
        return torch.stack(logits, dim=1)

    def begin(self, memory: Features) -> State:
        tokens = memory.clean()
        mean = tokens.sum(dim=1) / memory.mask.sum(dim=1, keepdim=True).clamp(min=1)
        hidden, cell = torch.tanh(self.first(mean)).chunk(2, dim=-1)
        return {
            "tokens": tokens,
            "key": self.key(tokens),
            "mask": memory.mask,
            "hidden": hidden,
            "cell": cell,
        }

    def step(self, symbols: Tensor, state: State) -> tuple[Tensor, State]:
        embedded = self.dropout(self.symbols(symbols) * self.width**0.5)
        hidden = state["hidden"]
        scores = self.score(torch.tanh(state["key"] + self.query(hidden)[:, None]))  # (B, L, 1)
        weights = masked_softmax(scores, state["mask"][..., None], dim=1)
        context = (weights * state["tokens"]).sum(dim=1) * torch.sigmoid(self.gate(hidden))
        hidden, cell = self.cell(torch.cat([embedded, context], dim=-1), (hidden, state["cell"]))
        logits = self.output(
            self.dropout(embedded + self.of_hidden(hidden) + self.of_context(context))
        )
        return logits.float(), {**state, "hidden": hidden, "cell": cell}

"""Networks that write a sequence of symbols about what encoders have seen, one symbol after the other.

B batch      L tokens that are looked at     T symbols      V symbols that there are     D width
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.modalities.layers import Features

State = Mapping[str, Tensor]
"""What a decoder knows of B sequences that it has begun: name -> tensor with B rows."""


class SequenceDecoder(nn.Module, ABC):
    """Says how likely each symbol is to come next."""

    @abstractmethod
    def forward(self, symbols: Tensor, memory: Features) -> Tensor:
        """What follows each symbol, where all are known (teacher forcing).

        Args:
            symbols: int64 (B, T), the first of which begins a sequence.
            memory: Features (B, L, D), of which a sample may have none.

        Returns:
            float (B, T, V) logits: at place t those of the symbol behind ``symbols[:, t]``.
        """

    @abstractmethod
    def begin(self, memory: Features) -> State:
        """What it must know before the first step."""

    @abstractmethod
    def step(self, symbols: Tensor, state: State) -> tuple[Tensor, State]:
        """Goes on by one symbol.

        Args:
            symbols: int64 (B,), the last of each sequence.
            state: Of :meth:`begin` or of the step before.

        Returns:
            float (B, V) logits of what follows, the same as :meth:`forward` gives there, and the state behind it.
        """


class TransformerDecoder(SequenceDecoder):
    """Layers of self-attention to what was written, attention to what was seen, and a perceptron.

    The symbols' embedding is the output's matrix too (Press & Wolf 2017, "Using the output embedding to improve
    language models"). Keys and values of earlier steps are kept, so that a step costs what one symbol costs.

    Args:
        symbols: V.
        width: D.
        length: Most symbols of a sequence.
        layers: Number of layers.
        heads: Attention heads.
        dropout: Of residual channels and of embeddings.

    Source:
        Vaswani et al. 2017, "Attention is all you need", section 3.1, the decoder; norm first after Xiong et al. 2020,
        "On layer normalization in the transformer architecture".
    """

    def __init__(
        self, symbols: int, width: int, length: int, layers: int, heads: int, dropout: float
    ) -> None:
        super().__init__()
        self.symbols = nn.Embedding(symbols, width)
        self.places = nn.Parameter(torch.zeros(length, width))
        # Small, or what a symbol's own embedding leaves in the output would say that it comes again.
        nn.init.normal_(self.symbols.weight, std=0.02)
        nn.init.normal_(self.places, std=0.02)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(_Layer(width, heads, dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.bias = nn.Parameter(torch.zeros(symbols))

    def forward(self, symbols: Tensor, memory: Features) -> Tensor:
        tokens = self._embedded(symbols, 0)
        attendable = _attendable(memory)
        for layer in self._layers():
            tokens = layer(tokens, *layer.seen(memory.clean()), attendable)
        return self._logits(tokens)

    def begin(self, memory: Features) -> State:
        state = {"attendable": _attendable(memory)}
        tokens = memory.clean()
        for index, layer in enumerate(self._layers()):
            state[f"{index}.seen_key"], state[f"{index}.seen_value"] = layer.seen(tokens)
        return state

    def step(self, symbols: Tensor, state: State) -> tuple[Tensor, State]:
        known = state.get("0.key")
        tokens = self._embedded(symbols[:, None], 0 if known is None else known.shape[2])
        after = dict(state)
        for index, layer in enumerate(self._layers()):
            name = f"{index}."
            written = (state[f"{name}key"], state[f"{name}value"]) if known is not None else None
            seen = state[f"{name}seen_key"], state[f"{name}seen_value"]
            tokens, after[f"{name}key"], after[f"{name}value"] = layer.step(
                tokens, written, *seen, state["attendable"]
            )
        return self._logits(tokens)[:, 0], after

    def _layers(self) -> Iterator[_Layer]:
        return (layer for layer in self.layers if isinstance(layer, _Layer))

    def _embedded(self, symbols: Tensor, first: int) -> Tensor:
        """float (B, T, D) of symbols (B, T) at the places from ``first`` on."""
        places = self.places[first : first + symbols.shape[1]]
        embedded: Tensor = self.dropout(self.symbols(symbols) + places)
        return embedded

    def _logits(self, tokens: Tensor) -> Tensor:
        logits = functional.linear(self.norm(tokens), self.symbols.weight, self.bias)
        return logits.float()


class _Layer(nn.Module):
    """One layer of :class:`TransformerDecoder`; tokens are (B, T, D)."""

    def __init__(self, width: int, heads: int, dropout: float, expansion: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.norm_written, self.norm_seen, self.norm_perceptron = (
            nn.LayerNorm(width) for _ in range(3)
        )
        self.written = nn.Linear(width, 3 * width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.project_written = nn.Linear(width, width)
        self.project_seen = nn.Linear(width, width)
        self.perceptron = nn.Sequential(
            nn.Linear(width, expansion * width), nn.GELU(), nn.Linear(expansion * width, width)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, key: Tensor, value: Tensor, attendable: Tensor) -> Tensor:
        """All symbols at once, each looking at itself and those before it."""
        query, own_key, own_value = self._written(tokens)
        attended = functional.scaled_dot_product_attention(
            query, own_key, own_value, is_causal=True
        )
        return self._behind(tokens, attended, key, value, attendable)

    def step(
        self,
        tokens: Tensor,
        written: tuple[Tensor, Tensor] | None,
        key: Tensor,
        value: Tensor,
        attendable: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One symbol (B, 1, D), looking at itself and at the keys and values of those before it."""
        query, own_key, own_value = self._written(tokens)
        if written is not None:
            own_key = torch.cat([written[0], own_key], dim=2)
            own_value = torch.cat([written[1], own_value], dim=2)
        attended = functional.scaled_dot_product_attention(query, own_key, own_value)
        return self._behind(tokens, attended, key, value, attendable), own_key, own_value

    def seen(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (B, heads, L, D / heads) of what was seen, (B, L, D)."""
        key, value = self.key_value(memory).chunk(2, dim=-1)
        return self._heads(key), self._heads(value)

    def _written(self, tokens: Tensor) -> tuple[Tensor, ...]:
        parts = self.written(self.norm_written(tokens)).chunk(3, dim=-1)
        return tuple(self._heads(part) for part in parts)

    def _behind(
        self, tokens: Tensor, attended: Tensor, key: Tensor, value: Tensor, attendable: Tensor
    ) -> Tensor:
        """What follows the self-attention, of which ``attended`` (B, heads, T, D / heads) is what came out."""
        tokens = tokens + self.dropout(self.project_written(self._joined(attended)))
        query = self._heads(self.query(self.norm_seen(tokens)))
        looked = functional.scaled_dot_product_attention(query, key, value, attn_mask=attendable)
        tokens = tokens + self.dropout(self.project_seen(self._joined(looked)))
        output: Tensor = tokens + self.dropout(self.perceptron(self.norm_perceptron(tokens)))
        return output

    def _heads(self, tokens: Tensor) -> Tensor:
        return tokens.view(*tokens.shape[:-1], self.heads, -1).transpose(1, 2)

    def _joined(self, heads: Tensor) -> Tensor:
        return heads.transpose(1, 2).flatten(2)


def _attendable(memory: Features) -> Tensor:
    """The mask (B, 1, 1, L), with the first token, of zeros then, real in rows that have none."""
    first = torch.zeros_like(memory.mask)
    first[:, 0] = ~memory.mask.any(dim=1)
    return (memory.mask | first)[:, None, None, :]

"""Searches for the sequence that a decoder finds likely: the likeliest symbols, a beam, or by chance.

What becomes of a sample depends on nothing but its own state and its own chance: neighbours in the batch change neither
which symbols it gets nor when it ends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

State = Mapping[str, Tensor]
Step = Callable[[Tensor, State], tuple[Tensor, State]]
"""The last symbol of B sequences, int64 (B,), and their state -> logits float (B, V) and the state behind it."""

IMPOSSIBLE = -1e9  # log-probability, finite so that sums of it stay numbers


class Generated(NamedTuple):
    """Sequences that were written.

    Attributes:
        symbols: int64 (B, T), without the symbol they began with; END and PADs behind the end.
        score: float32 (B,), the sum of the symbols' log-probabilities, END included.
    """

    symbols: Tensor
    score: Tensor


class Alphabet(NamedTuple):
    """The symbols that are no text.

    Attributes:
        pad: Stands behind the end.
        start: Stands before the beginning.
        end: Ends a sequence.
    """

    pad: int
    start: int
    end: int


def beam_search(
    step: Step,
    state: State,
    alphabet: Alphabet,
    *,
    length: int,
    width: int = 1,
    length_penalty: float = 0.0,
) -> Generated:
    """The best of the sequences that a beam of prefixes leads to; with a width of one, the likeliest symbol each time.

    Args:
        step: Of the decoder.
        state: Of B samples, before the first symbol.
        alphabet: Symbols that are no text.
        length: Most symbols, END included; what has no END by then ends there.
        width: Prefixes that are followed, K.
        length_penalty: How much longer sequences are favoured, 0 for not at all.

    Source:
        Wu et al. 2016, "Google's neural machine translation system", equation 14, whose length penalty
        ``((5 + T) / 6) ** alpha`` divides the log-probability.
    """
    first = next(iter(state.values()))
    count, device = len(first), first.device
    state = {name: values.repeat_interleave(width, dim=0) for name, values in state.items()}
    last = torch.full((count * width,), alphabet.start, device=device)
    symbols = torch.full((count, width, length), alphabet.pad, device=device)
    # All prefixes begin alike: but one of each sample counts.
    score = torch.full((count, width), IMPOSSIBLE, device=device)
    score[:, 0] = 0.0
    lengths = torch.zeros((count, width), device=device)
    ended = torch.zeros((count, width), dtype=torch.bool, device=device)
    first_row = width * torch.arange(count, device=device)[:, None]
    for place in range(length):
        before = state
        logits, state = step(last, state)
        gains = _allowed(logits, alphabet).log_softmax(dim=-1).view(count, width, -1)
        totals = score[..., None] + _but_for_ended(gains, ended, alphabet.pad)  # (B, K, V)
        longer = lengths + (~ended).float()
        ranked = (totals / _penalty(longer, length_penalty)[..., None]).flatten(1)
        chosen = ranked.topk(width, dim=1).indices
        prefix, symbol = chosen // totals.shape[-1], chosen % totals.shape[-1]
        score = totals.flatten(1).gather(1, chosen)
        symbols = symbols.gather(1, prefix[..., None].expand_as(symbols)).clone()
        symbols[:, :, place] = symbol
        lengths = longer.gather(1, prefix)
        ended = ended.gather(1, prefix) | (symbol == alphabet.end)
        if width > 1:
            state = _reordered(before, state, (first_row + prefix).flatten())
        last = symbol.flatten()
        if bool(ended.all()):
            break
    best = (score / _penalty(lengths, length_penalty)).argmax(dim=1)
    samples = torch.arange(count, device=device)
    return Generated(symbols[samples, best], score[samples, best])


def sample_nucleus(
    step: Step,
    state: State,
    alphabet: Alphabet,
    *,
    length: int,
    uniform: Callable[[], Tensor],
    share: float = 0.9,
    temperature: float = 1.0,
) -> Generated:
    """Symbols by chance, of the fewest likeliest that have at least a share of the probability together.

    Args:
        step: Of the decoder.
        state: Of B samples, before the first symbol.
        alphabet: Symbols that are no text.
        length: Most symbols, END included.
        uniform: Draws float (B,) in [0, 1), from each sample's own chance, once a symbol.
        share: Of the probability, above 0, at most 1.
        temperature: Divides the logits.

    Source:
        Holtzman et al. 2020, "The curious case of neural text degeneration", equation 2.
    """
    first = next(iter(state.values()))
    count, device = len(first), first.device
    last = torch.full((count,), alphabet.start, device=device)
    symbols = torch.full((count, length), alphabet.pad, device=device)
    score = torch.zeros(count, device=device)
    ended = torch.zeros(count, dtype=torch.bool, device=device)
    for place in range(length):
        logits, state = step(last, state)
        gains = _allowed(logits, alphabet).log_softmax(dim=-1)
        heated = (gains / temperature).softmax(dim=-1)
        ordered, order = heated.sort(dim=-1, descending=True, stable=True)
        before = ordered.cumsum(dim=-1) - ordered
        nucleus = torch.where(before < share, ordered, 0.0)
        reached = nucleus.cumsum(dim=-1)
        point = uniform().to(reached.dtype)[:, None] * reached[:, -1:]
        # Sums in another order, as on a GPU, must lead to no symbol beyond the nucleus.
        last_of_nucleus = (nucleus > 0).sum(dim=-1) - 1
        drawn = torch.minimum((reached <= point).sum(dim=-1), last_of_nucleus)
        symbol = order.gather(1, drawn[:, None])[:, 0]
        symbol = torch.where(ended, alphabet.pad, symbol)
        score = score + torch.where(ended, 0.0, gains.gather(1, symbol[:, None])[:, 0])
        symbols[:, place] = symbol
        ended = ended | (symbol == alphabet.end)
        last = symbol
        if bool(ended.all()):
            break
    return Generated(symbols, score)


def _allowed(logits: Tensor, alphabet: Alphabet) -> Tensor:
    """The logits, with what no text holds impossible."""
    allowed = logits.float().clone()
    allowed[:, [alphabet.pad, alphabet.start]] = IMPOSSIBLE
    return allowed


def _reordered(before: State, after: State, rows: Tensor) -> State:
    """The state behind a step, of the prefixes that were chosen.

    What the step left as it was belongs to the sample: it is the same for all of its prefixes.
    """
    return {
        name: values if values is before.get(name) else values[rows]
        for name, values in after.items()
    }


def _but_for_ended(gains: Tensor, ended: Tensor, pad: int) -> Tensor:
    """Log-probabilities (B, K, V) in which an ended sequence goes on in one way, with PAD, at no cost."""
    stays = torch.full_like(gains, IMPOSSIBLE)
    stays[..., pad] = 0.0
    return torch.where(ended[..., None], stays, gains)


def _penalty(lengths: Tensor, alpha: float) -> Tensor:
    return ((5.0 + lengths) / 6.0) ** alpha

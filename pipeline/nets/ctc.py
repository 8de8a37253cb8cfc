"""Connectionist temporal classification: texts of unknown timing, of a probability of symbols for each token.

    B batch      L tokens     V symbols      U symbols of a text      S = 2 U + 1 places, the blank around each symbol

A path names a symbol for each token; its text is what is left without repetitions and then without the blank, 0.

Source:
    Graves, Fernández, Gomez, Schmidhuber 2006, "Connectionist temporal classification: labelling unsegmented sequence
    data with recurrent neural networks".
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

BLANK = 0
IMPOSSIBLE = -1e30  # log-probability, finite so that sums of it stay numbers


class Texts(NamedTuple):
    """Symbols of B texts.

    Attributes:
        symbols: int64 (B, U), blanks behind the end.
        counts: int64 (B,), how many each has.
    """

    symbols: Tensor
    counts: Tensor


class Times(NamedTuple):
    """Which tokens say the symbols of B texts.

    Attributes:
        first: int64 (B, U), the first token of each symbol; zero behind the end.
        behind: int64 (B, U), the token behind its last one.
    """

    first: Tensor
    behind: Tensor


def tokens_needed(texts: Texts) -> Tensor:
    """Fewest tokens that can say each text, int64 (B,): one a symbol, and a blank between two that are equal."""
    symbols, counts = texts
    places = torch.arange(1, symbols.shape[1], device=symbols.device)
    repeats = (symbols[:, 1:] == symbols[:, :-1]) & (places < counts[:, None])
    return counts + repeats.sum(dim=1)


def losses(log_probabilities: Tensor, lengths: Tensor, texts: Texts) -> tuple[Tensor, Tensor]:
    """Negative log-probability of each text, over all paths that say it.

    Args:
        log_probabilities: float (B, L, V), of each symbol for each token.
        lengths: int64 (B,), real tokens.
        texts: What was said.

    Returns:
        float32 (B,), nats, and bool (B,), True where there are tokens enough; where not, the loss is zero, without
        gradients.

    Source:
        Graves et al. 2006, equations 6 to 8, in logarithms.
    """
    possible = lengths >= tokens_needed(texts).clamp(min=1)
    # A text without symbols, of a sample that there are too few tokens for: no path is looked for.
    counts = torch.where(possible, texts.counts, 0)
    nats: Tensor = functional.ctc_loss(
        log_probabilities.float().transpose(0, 1),
        texts.symbols,
        lengths.clamp(min=1),
        counts,
        blank=BLANK,
        reduction="none",
        zero_infinity=True,
    )
    return torch.where(possible, nats, nats.new_zeros(())), possible


def collapsed(path: Tensor, lengths: Tensor) -> Texts:
    """The texts of paths.

    Args:
        path: int64 (B, L), a symbol for each token.
        lengths: int64 (B,), real tokens.

    Returns:
        At most L symbols each.
    """
    places = torch.arange(path.shape[1], device=path.device)
    before = functional.pad(path, (1, 0), value=BLANK)[:, :-1]
    said = (path != BLANK) & (path != before) & (places < lengths[:, None])
    order = said.to(torch.uint8).argsort(dim=1, descending=True, stable=True)
    counts = said.sum(dim=1)
    symbols = torch.where(places < counts[:, None], path.gather(1, order), BLANK)
    return Texts(symbols, counts)


def greedy(log_probabilities: Tensor, lengths: Tensor) -> Texts:
    """The text of the likeliest path, which need not be the likeliest text; see :func:`losses`.

    Source:
        Graves et al. 2006, section 3.2, best path decoding.
    """
    return collapsed(log_probabilities.argmax(dim=-1), lengths)


def aligned(log_probabilities: Tensor, lengths: Tensor, texts: Texts) -> Times:
    """When each symbol is said: by the likeliest of the paths that say the text.

    Args:
        log_probabilities: float (B, L, V).
        lengths: int64 (B,), real tokens, enough for the text.
        texts: What was said.

    Source:
        Viterbi 1967, "Error bounds for convolutional codes and an asymptotically optimum decoding algorithm", over the
        places of Graves et al. 2006, section 4.1.
    """
    symbols, counts = texts
    batch, length, _ = log_probabilities.shape
    states = functional.pad(symbols[:, :, None], (1, 0)).flatten(1)
    states = functional.pad(states, (0, 1))  # (B, S), the blank at even places
    emitted = log_probabilities.float().gather(2, states[:, None].expand(-1, length, -1))
    may_skip = (
        states != functional.pad(states, (2, 0))[:, :-2]
    )  # never a blank's: two before it is one
    best = torch.full(states.shape, IMPOSSIBLE, device=states.device)
    best[:, :2] = emitted[:, 0, :2]
    steps = [torch.zeros_like(states)]
    for token in range(1, length):
        ways = torch.stack(
            [
                best,
                functional.pad(best, (1, 0), value=IMPOSSIBLE)[:, :-1],
                functional.pad(best, (2, 0), value=IMPOSSIBLE)[:, :-2].where(
                    may_skip, best.new_tensor(IMPOSSIBLE)
                ),
            ]
        )
        reached, step = ways.max(dim=0)
        is_real = (token < lengths)[:, None]
        best = torch.where(is_real, reached + emitted[:, token], best)
        steps.append(torch.where(is_real, step, 0))
    place = _last_place(best, counts)
    at = torch.zeros((batch, length), dtype=torch.int64, device=states.device)
    for token in range(length - 1, -1, -1):
        at[:, token] = place[:, 0]
        place = place - steps[token].gather(1, place)
    return _spans(at, lengths, symbols.shape[1])


def _last_place(best: Tensor, counts: Tensor) -> Tensor:
    """int64 (B, 1): the last symbol's place, or the blank's behind it where that is likelier."""
    last = (2 * counts)[:, None]
    symbol = (last - 1).clamp(min=0)
    return torch.where(best.gather(1, symbol) > best.gather(1, last), symbol, last)


def _spans(at: Tensor, lengths: Tensor, most: int) -> Times:
    """Times of at most ``most`` symbols, for the place of each token, int64 (B, L)."""
    tokens = torch.arange(at.shape[1], device=at.device)
    real = tokens < lengths[:, None]
    is_of = (at[:, None] == 2 * torch.arange(most, device=at.device)[:, None] + 1) & real[:, None]
    is_said = is_of.any(dim=2)
    first = torch.where(is_said, is_of.to(torch.uint8).argmax(dim=2), 0)
    return Times(first, torch.where(is_said, first + is_of.sum(dim=2), 0))

"""Losses, likeliest paths, times and searches, against all paths there are."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.nets import ctc
from pipeline.nets.prefix_search import prefix_search

V = 4  # the blank and three symbols


def probabilities(length: int, seed: int, sharpness: float = 1.5) -> Tensor:
    """Log-probabilities float32 (L, V)."""
    generator = torch.Generator().manual_seed(seed)
    return (sharpness * torch.randn(length, V, generator=generator)).log_softmax(dim=-1)


def texts(*rows: list[int], width: int | None = None) -> ctc.Texts:
    symbols = torch.zeros(len(rows), width or max(1, *map(len, rows)), dtype=torch.int64)
    for row, text in enumerate(rows):
        symbols[row, : len(text)] = torch.tensor(text, dtype=torch.int64)
    return ctc.Texts(symbols, torch.tensor([len(row) for row in rows]))


def text_of(path: tuple[int, ...]) -> tuple[int, ...]:
    """What a path says."""
    return tuple(symbol for symbol, _ in itertools.groupby(path) if symbol != ctc.BLANK)


def all_texts(heard: Tensor) -> dict[tuple[int, ...], float]:
    """Text -> probability, summed over all V ** L paths."""
    numbers = heard.double().exp().numpy()
    totals: dict[tuple[int, ...], float] = defaultdict(float)
    for path in itertools.product(range(V), repeat=len(numbers)):
        totals[text_of(path)] += math.prod(
            row[symbol] for row, symbol in zip(numbers, path, strict=True)
        )
    return totals


@pytest.mark.parametrize("text", [[1], [1, 2], [1, 1], [3, 3, 2], [2, 1, 2, 1], []])
def test_a_loss_is_that_of_all_paths_together(text: list[int]) -> None:
    heard = probabilities(5, 0)
    nats, possible = ctc.losses(heard[None], torch.tensor([5]), texts(text))
    assert possible.item()
    assert math.isclose(nats.item(), -math.log(all_texts(heard)[tuple(text)]), rel_tol=1e-5)


def test_what_is_behind_the_end_changes_no_loss_and_gets_no_gradient() -> None:
    heard = torch.stack([probabilities(6, seed) for seed in range(2)]).requires_grad_()
    lengths = torch.tensor([6, 4])
    nats, _ = ctc.losses(heard, lengths, texts([1, 2], [2], width=5))
    alone, _ = ctc.losses(heard[1:, :4], torch.tensor([4]), texts([2]))
    assert nats[1].item() == pytest.approx(alone.item(), rel=1e-6)
    nats.sum().backward()
    assert heard.grad is not None
    assert not heard.grad[1, 4:].any()
    assert heard.grad[1, :4].any()


@pytest.mark.parametrize(
    ("text", "needed"), [([1], 1), ([1, 1], 3), ([1, 2, 2, 2], 6), ([], 0), ([1, 2, 1], 3)]
)
def test_a_text_needs_a_token_a_symbol_and_one_between_equal_ones(
    text: list[int], needed: int
) -> None:
    # The blanks behind the end are no repetition.
    assert ctc.tokens_needed(texts(text, width=7)).tolist() == [needed]
    paths = itertools.product(range(V), repeat=max(1, needed))
    assert any(text_of(path) == tuple(text) for path in paths)
    shorter = itertools.product(range(V), repeat=max(0, needed - 1))
    assert not needed or all(text_of(path) != tuple(text) for path in shorter)


def test_too_few_tokens_are_told_and_teach_nothing() -> None:
    heard = torch.stack([probabilities(3, seed) for seed in range(3)]).requires_grad_()
    lengths = torch.tensor([3, 2, 0])
    nats, possible = ctc.losses(heard, lengths, texts([1, 1], [1, 1], [1]))
    assert possible.tolist() == [True, False, False]
    assert nats[1:].tolist() == [0.0, 0.0]
    nats.sum().backward()
    assert heard.grad is not None
    assert torch.isfinite(heard.grad).all()
    assert not heard.grad[1:].any()


def test_the_likeliest_path_says_its_text() -> None:
    for seed in range(20):
        heard = probabilities(6, seed)
        said = ctc.greedy(heard[None], torch.tensor([5]))
        expected = text_of(tuple(heard[:5].argmax(dim=-1).tolist()))
        assert tuple(said.symbols[0, : said.counts[0]].tolist()) == expected
        assert not said.symbols[0, said.counts[0] :].any()


@pytest.mark.parametrize("text", [[1], [1, 2], [1, 1], [2, 1, 2], []])
def test_times_are_those_of_the_likeliest_path_that_says_the_text(text: list[int]) -> None:
    for seed in range(8):
        heard = probabilities(6, seed)
        numbers = heard[:5].numpy()
        paths = [
            path for path in itertools.product(range(V), repeat=5) if text_of(path) == tuple(text)
        ]
        best = max(paths, key=lambda path: sum(numbers[i, s] for i, s in enumerate(path)))
        runs = [
            (symbol, [place for place, _ in run])
            for symbol, run in itertools.groupby(enumerate(best), key=lambda item: item[1])
        ]
        spans = [(run[0], run[-1] + 1) for symbol, run in runs if symbol != ctc.BLANK]
        padded = torch.stack([heard, probabilities(6, 99)])
        times = ctc.aligned(padded, torch.tensor([5, 6]), texts(text, [1, 2, 3]))
        found = zip(times.first[0].tolist(), times.behind[0].tolist(), strict=True)
        assert list(found)[: len(text)] == spans
        assert not times.behind[0, len(text) :].any()


@pytest.mark.parametrize("seed", range(6))
def test_a_wide_beam_finds_the_likeliest_text(seed: int) -> None:
    heard = probabilities(5, seed, sharpness=0.8)
    totals = all_texts(heard)
    best = max(totals, key=lambda text: totals[text])
    assert tuple(prefix_search(heard.numpy(), 500, V)) == best


class Preferring:
    """A language in which larger symbols are likelier, but not behind a 1, and texts seldom end with a 3."""

    def following(self, before: list[int]) -> np.ndarray:
        likely = np.log(np.array([0.01 if before and before[-1] == 3 else 1.0, 1.0, 2.0, 3.0]))
        return likely - (2.0 if before and before[-1] == 1 else 0.0) * np.arange(V)


@pytest.mark.parametrize("seed", range(6))
def test_a_wide_beam_weighs_what_it_hears_by_the_language(seed: int) -> None:
    heard, language = probabilities(5, seed, sharpness=0.8), Preferring()

    def known(text: tuple[int, ...]) -> float:
        steps = [language.following(list(text[:place]))[text[place]] for place in range(len(text))]
        return sum(steps) + language.following(list(text))[ctc.BLANK]

    ranked = {text: math.log(total) + known(text) for text, total in all_texts(heard).items()}
    best = max(ranked, key=lambda text: ranked[text])
    assert tuple(prefix_search(heard.numpy(), 500, V, language)) == best


def test_paths_of_one_text_count_together() -> None:
    """The likeliest path says nothing, 0.6 * 0.6, and less than all that say the one symbol, 0.64."""
    heard = torch.tensor([[0.6, 0.4], [0.6, 0.4]]).log()
    assert ctc.greedy(heard[None], torch.tensor([2])).counts.item() == 0
    assert prefix_search(heard.numpy(), 4, 1) == [1]


def test_a_narrow_beam_follows_what_it_keeps() -> None:
    heard = probabilities(30, 3, sharpness=6.0)
    greedy = ctc.greedy(heard[None], torch.tensor([30]))
    assert prefix_search(heard.numpy(), 1, 1) == greedy.symbols[0, : greedy.counts[0]].tolist()
    assert prefix_search(np.zeros((0, V), np.float32), 4, 4) == []


@pytest.mark.parametrize("sharpness", [0.7, 2.0])
def test_another_package_finds_the_same_texts(sharpness: float) -> None:
    decoder = pytest.importorskip("ctc_beam_decoder").build_ctcdecoder(["", "a", "b", "c"])
    wide = {"beam_width": 4096, "beam_prune_logp": -1e9, "token_min_logp": -1e9}
    for seed in range(20):
        heard = probabilities(6, seed, sharpness).numpy()
        text = "".join(" abc"[symbol] for symbol in prefix_search(heard, 4096, V))
        assert decoder.decode_beams(heard, **wide)[0][0] == text

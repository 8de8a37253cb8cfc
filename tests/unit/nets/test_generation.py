"""Searches against all sequences that there are, and against a step at a time."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from pipeline.modalities.chance import Chance
from pipeline.modalities.layers import Features
from pipeline.nets.decoder import SequenceDecoder, TransformerDecoder
from pipeline.nets.generation import Alphabet, Generated, beam_search, sample_nucleus
from pipeline.nets.recurrent import AttentiveLSTM

PAD, START, END = 0, 1, 2
ALPHABET = Alphabet(PAD, START, END)
V, D, LENGTH, B = 6, 32, 4, 3


def decoders() -> list[SequenceDecoder]:
    torch.manual_seed(0)
    made = [TransformerDecoder(V, D, LENGTH, 2, 4, 0.1), AttentiveLSTM(V, D, 0.1)]
    for network in made:
        for weight in network.parameters():
            weight.data.mul_(2.0)  # sure of something: sequences differ in what they are worth
    return [network.double().eval() for network in made]


@pytest.fixture(params=range(2), ids=["transformer", "lstm"])
def decoder(request: pytest.FixtureRequest) -> SequenceDecoder:
    return decoders()[request.param]


def memory(count: int = B) -> Features:
    """Of samples with all, some, one and none of five tokens."""
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randn(count, 5, D, generator=generator, dtype=torch.float64)
    real = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 1], [0, 0, 0, 0, 0], [0, 1, 0, 0, 0]]).bool()
    return Features(tokens, real[torch.arange(count) % 4])


def likelihoods(decoder: SequenceDecoder, seen: Features, texts: Tensor) -> Tensor:
    """(B,) log-probability of sequences (B, T), PAD behind their end, by teacher forcing."""
    start = torch.full((len(texts), 1), START)
    logits = decoder(torch.cat([start, texts[:, :-1]], dim=1), seen)
    logits[..., [PAD, START]] = -1e9
    said = logits.float().log_softmax(-1).gather(-1, texts[..., None])[..., 0]
    return torch.where(texts == PAD, 0.0, said).sum(dim=1)


def all_texts() -> Tensor:
    """Every sequence of at most LENGTH symbols: ended, or cut."""
    words = range(END + 1, V)
    ended = [
        [*text, END] for size in range(LENGTH) for text in itertools.product(words, repeat=size)
    ]
    cut = [list(text) for text in itertools.product(words, repeat=LENGTH)]
    return torch.tensor([text + [PAD] * (LENGTH - len(text)) for text in ended + cut])


def test_a_step_at_a_time_says_what_teacher_forcing_says(decoder: SequenceDecoder) -> None:
    symbols = torch.randint(1, V, (4, LENGTH), generator=torch.Generator().manual_seed(2))
    expected = decoder(symbols, memory(4))
    state = decoder.begin(memory(4))
    for place in range(LENGTH):
        logits, state = decoder.step(symbols[:, place], state)
        torch.testing.assert_close(logits, expected[:, place])


def test_what_comes_later_changes_nothing_before(decoder: SequenceDecoder) -> None:
    symbols = torch.tensor([[START, 3, 4, 5]])
    other = torch.tensor([[START, 3, 5, 3]])
    first, second = decoder(symbols, memory(1)), decoder(other, memory(1))
    assert torch.equal(first[:, :2], second[:, :2])
    assert not torch.equal(first[:, 2], second[:, 2])


def test_a_masked_token_changes_nothing(decoder: SequenceDecoder) -> None:
    seen = memory(4)
    spoilt = torch.where(seen.mask[..., None], seen.tokens, torch.nan)
    symbols = torch.randint(1, V, (4, LENGTH), generator=torch.Generator().manual_seed(2))
    assert torch.equal(decoder(symbols, seen), decoder(symbols, Features(spoilt, seen.mask)))
    changed = Features(torch.where(seen.mask[..., None], seen.tokens + 1, seen.tokens), seen.mask)
    differs = (decoder(symbols, seen) != decoder(symbols, changed)).flatten(1).any(dim=1)
    assert differs.tolist() == seen.mask.any(dim=1).tolist()
    for row in (0, 1, 3):
        real = seen.tokens[row][seen.mask[row]][None]
        alone = Features(real, torch.ones(real.shape[:2], dtype=torch.bool))
        torch.testing.assert_close(
            decoder(symbols[row : row + 1], alone)[0], decoder(symbols, seen)[row]
        )


def found_by(
    decoder: SequenceDecoder, seen: Features, width: int, penalty: float = 0.0
) -> Generated:
    with torch.no_grad():
        return beam_search(
            decoder.step,
            decoder.begin(seen),
            ALPHABET,
            length=LENGTH,
            width=width,
            length_penalty=penalty,
        )


@pytest.mark.parametrize("penalty", [0.0, 0.6, 3.0])
def test_a_beam_of_all_prefixes_finds_the_best_of_all_texts(
    decoder: SequenceDecoder, penalty: float
) -> None:
    texts = all_texts()
    lengths = (texts != PAD).sum(dim=1)
    best = found_by(decoder, memory(), len(texts), penalty)
    for row in range(B):
        seen = Features(
            *(part[row : row + 1].expand(len(texts), -1, *part.shape[2:]) for part in memory())
        )
        scores = likelihoods(decoder, seen, texts)
        ranked = scores / ((5 + lengths) / 6) ** penalty
        winner = int(ranked.argmax())
        assert best.symbols[row].tolist() == texts[winner].tolist()
        assert best.score[row].item() == pytest.approx(scores[winner].item(), abs=1e-4)


def test_wider_beams_find_no_worse_texts_and_say_what_they_are_worth(
    decoder: SequenceDecoder,
) -> None:
    for width in (1, 2, 5):
        found = found_by(decoder, memory(), width)
        torch.testing.assert_close(
            found.score, likelihoods(decoder, memory(), found.symbols), atol=1e-4, rtol=1e-4
        )
    assert (
        found_by(decoder, memory(), 300).score >= found_by(decoder, memory(), 1).score - 1e-5
    ).all()


def test_a_beam_of_one_takes_the_likeliest_symbol_each_time(decoder: SequenceDecoder) -> None:
    found = found_by(decoder, memory(), 1)
    for row in range(B):
        seen = Features(*(part[row : row + 1] for part in memory()))
        text: list[int] = []
        while len(text) < LENGTH and END not in text:
            logits = decoder(torch.tensor([[START, *text]]), seen)[0, -1]
            logits[[PAD, START]] = -torch.inf
            text.append(int(logits.argmax()))
        assert found.symbols[row].tolist() == text + [PAD] * (LENGTH - len(text))


class Certain:
    """A decoder that ends after so many symbols as its state says, or never."""

    def __init__(self, *lengths: int) -> None:
        self.state = {"left": torch.tensor(lengths)}

    def step(self, symbols: Tensor, state: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        logits = torch.zeros(len(symbols), V)
        logits[:, 3] = 20.0
        logits[state["left"] == 0, END] = 40.0
        return logits, {"left": state["left"] - 1}


@pytest.mark.parametrize("kind", ["beam", "nucleus"])
def test_what_never_ends_is_bounded_and_what_ends_waits_for_it(kind: str) -> None:
    certain = Certain(0, 2, -1)
    if kind == "beam":
        found = beam_search(certain.step, certain.state, ALPHABET, length=5, width=1)
    else:
        chance = Chance(torch.arange(3))
        found = sample_nucleus(
            certain.step, certain.state, ALPHABET, length=5, uniform=lambda: chance.uniform(1)[:, 0]
        )
    assert found.symbols.tolist() == [[2, 0, 0, 0, 0], [3, 3, 2, 0, 0], [3, 3, 3, 3, 3]]


def sampled(logits: Tensor, count: int, **settings: float) -> Tensor:
    chance = Chance(torch.arange(count))
    found = sample_nucleus(
        lambda symbols, state: (logits.expand(len(symbols), -1), state),
        {"x": torch.zeros(count)},
        ALPHABET,
        length=1,
        uniform=lambda: chance.uniform(1)[:, 0],
        **settings,
    )
    return torch.bincount(found.symbols[:, 0], minlength=V) / count


def test_a_nucleus_has_the_fewest_likeliest_symbols_in_their_shares() -> None:
    probabilities = torch.tensor(
        [0.2, 0.2, 0.06, 0.3, 0.15, 0.09]
    )  # those of PAD and START go to the others
    logits = probabilities.log()
    allowed = probabilities.clone()
    allowed[:2] = 0.0
    allowed /= allowed.sum()  # END .1, then .5, .25, .15
    for share, kept in ((0.4, [3]), (0.7, [3, 4]), (0.8, [3, 4, 5]), (1.0, [2, 3, 4, 5])):
        expected = torch.zeros(V)
        expected[kept] = allowed[kept] / allowed[kept].sum()
        torch.testing.assert_close(
            sampled(logits, 20_000, share=share), expected, atol=0.012, rtol=0
        )
    cold = sampled(logits, 1000, share=1.0, temperature=0.05)
    assert cold[3] == 1.0
    warm = torch.softmax(allowed.log() / 2.0, -1)
    torch.testing.assert_close(
        sampled(logits, 20_000, share=1.0, temperature=2.0), warm, atol=0.012, rtol=0
    )


def test_a_draw_that_rounding_brings_to_one_leads_to_no_symbol_beyond_the_nucleus() -> None:
    for seed in range(20):
        logits = 3.0 * torch.randn(1, V, generator=torch.Generator().manual_seed(seed))
        found = sample_nucleus(
            lambda symbols, state: (logits, state),  # noqa: B023
            {"x": torch.zeros(1)},
            ALPHABET,
            length=1,
            uniform=lambda: torch.ones(1),
            share=0.5,
        )
        ordered = logits[0, 2:].softmax(-1).sort(descending=True)
        kept = ordered.indices[: int((ordered.values.cumsum(0) < 0.5).sum()) + 1] + 2
        assert int(found.symbols[0, 0]) in kept.tolist()

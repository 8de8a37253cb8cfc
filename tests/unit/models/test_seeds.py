"""Seeds and chance: SplitMix64 as published, a sample's own, and uniform."""

import itertools

import numpy as np
import pytest
import torch

from pipeline.modalities.chance import Chance
from pipeline.models.seeds import mixed, sample_seeds, step_seed

MASK = (1 << 64) - 1


def splitmix(seed: int, count: int) -> list[int]:
    """The generator as its paper writes it, in whole numbers."""
    numbers, state = [], seed & MASK
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & MASK
        value = state
        value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & MASK
        numbers.append(value ^ (value >> 31))
    return numbers


def seeds(count: int) -> torch.Tensor:
    keys = [f"k{number}" for number in range(count)]
    return torch.from_numpy(sample_seeds(1, 2, ["a.tar"] * count, keys, np.zeros(count, np.int64)))


def test_numbers_are_those_of_the_published_generator() -> None:
    # The first numbers that its authors give for the seed 1234567.
    assert splitmix(1234567, 2) == [6457827717110365317, 3203168211198807973]
    start = torch.tensor([1234567, -5, 0])
    drawn = Chance(start).uniform(2, 3)
    assert drawn.dtype == torch.float32
    for row, seed in zip(drawn, start.tolist(), strict=True):
        expected = [number / 2**64 for number in splitmix(seed, 6)]
        np.testing.assert_allclose(row.flatten().numpy(), expected, atol=2.0**-24)
    states = np.arange(5, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    assert mixed(states)[1:].tolist() == splitmix(0, 4)


def test_chance_is_a_samples_own_whatever_its_batch() -> None:
    whole, part = Chance(seeds(9)), Chance(seeds(9)[4:6])
    for shape in ((), (3,), (2, 2)):
        assert torch.equal(whole.uniform(*shape)[4:6], part.uniform(*shape))
    assert torch.equal(
        whole.stream("a").uniform(2)[4:6], Chance(seeds(9)[4:6]).stream("a").uniform(2)
    )
    assert not torch.equal(whole.stream("a").uniform(2), whole.stream("b").uniform(2))


def test_draws_are_uniform_and_follow_no_other() -> None:
    chance = Chance(seeds(4000))
    first, second = chance.uniform(5), chance.uniform(5)
    for drawn in (first, second, chance.stream("x").uniform(5)):
        assert drawn.min() >= 0 and drawn.max() < 1  # noqa: PT018
        counts = torch.histc(drawn, 10, 0, 1)
        assert (counts - 2000).abs().max() < 5 * (2000 * 0.9) ** 0.5
    together = torch.cat([first, second], 1).numpy()
    correlation = np.corrcoef(together.T) - np.eye(10)
    assert np.abs(correlation).max() < 0.08
    assert chance.exponential(5).mean().item() == pytest.approx(1, abs=0.05)
    normal = chance.normal(5)
    assert (normal.mean().item(), normal.std().item()) == pytest.approx((0, 1), abs=0.03)
    assert (normal.abs() < 1).float().mean().item() == pytest.approx(0.6827, abs=0.02)
    assert chance.symmetric(5).mean().item() == pytest.approx(0, abs=0.03)


def test_samples_epochs_repeats_and_shards_have_seeds_of_their_own() -> None:
    keys, once = ["k", "l"], np.zeros(2, np.int64)
    found = [
        int(seed)
        for seed_of_run, epoch, shard, repeat in itertools.product((0, 1), (0, 1), "ab", (0, 1))
        for seed in sample_seeds(seed_of_run, epoch, [shard] * 2, keys, once + repeat)
    ]
    assert len(set(found)) == len(found) == 32
    steps = {step_seed(*words) for words in itertools.product(range(3), repeat=4)}
    assert len(steps) == 81
    assert all(0 <= step < 1 << 63 for step in steps)

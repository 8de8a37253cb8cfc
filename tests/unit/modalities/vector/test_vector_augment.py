"""Augmentation of vectors: by definition, within its bounds, and off unless asked for."""

import pytest
import torch
from support.chances import chances

from pipeline.modalities.vector import VectorAugmentConfig
from pipeline.modalities.vector.augment import VectorAugmentation


def series(batch: int = 8, steps: int = 20) -> torch.Tensor:
    torch.manual_seed(0)
    return torch.stack([torch.randn(batch, steps, 2), torch.ones(batch, steps, 2)], dim=1)


def test_nothing_happens_unless_asked_for() -> None:
    values = series()
    chance = chances(values, 3)
    augment = VectorAugmentation(**VectorAugmentConfig().model_dump())
    assert torch.equal(augment(values, chance), values)
    assert torch.equal(chance.uniform(), chances(values, 3).uniform()), "no random number is drawn"


def test_shift_moves_whole_steps_and_leaves_missing_ones_behind() -> None:
    values = series()
    moved = VectorAugmentation(shift_fraction=0.5)(values, chances(values, 3))
    offsets = set()
    for before, after in zip(values, moved, strict=True):
        real = torch.nonzero(after[1, :, 0])[:, 0].tolist()
        [offset] = [
            k
            for k in range(-10, 11)
            if real == [i for i in range(20) if 0 <= i - k < 20]
            and torch.equal(after[:, real], before[:, [i - k for i in real]])
        ]
        offsets.add(offset)
        gone = [i for i in range(20) if i not in real]
        assert not after[:, gone].any()
    assert len(offsets) > 3


def test_a_short_series_is_never_moved_out_of_sight() -> None:
    values = series(batch=64)
    values[:, :, 2:] = 0
    moved = VectorAugmentation(shift_fraction=1.0)(values, chances(values, 3))
    assert moved[:, 1].flatten(1).any(dim=1).all()


def test_scale_is_one_factor_a_channel() -> None:
    values = series()
    ratio = VectorAugmentation(scale_fraction=0.2)(values, chances(values, 3))[:, 0] / values[:, 0]
    torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio))
    assert ratio.amin() >= 0.8 - 1e-5
    assert ratio.amax() <= 1.2 + 1e-5
    assert ratio[:, 0].std() > 0.05


def test_noise_has_the_deviation_that_is_asked_for() -> None:
    values = series(batch=16, steps=2000)
    values[:, 0, :, 1] *= 100
    values[:, :, 1000:] = 0
    noise = (VectorAugmentation(noise_fraction=0.1)(values, chances(values, 3)) - values)[:, 0]
    assert noise[:, :1000, 0].std() == pytest.approx(0.1, rel=0.05)
    assert noise[:, :1000, 1].std() == pytest.approx(10.0, rel=0.05)
    assert not noise[:, 1000:].any(), "what is missing stays missing"


def test_noise_of_features_is_a_share_of_each() -> None:
    values = torch.stack(
        [torch.tensor([[1.0, 100.0, 0.0]]).repeat(4000, 1), torch.ones(4000, 3)], dim=1
    )
    noise = (VectorAugmentation(noise_fraction=0.1)(values, chances(values, 3)) - values)[:, 0]
    assert noise.std(dim=0).tolist() == pytest.approx([0.1, 10.0, 0.0], rel=0.05)

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from support.chances import chances

from pipeline.modalities.audio.augment import AudioAugmentation
from pipeline.modalities.chance import Chance
from pipeline.modalities.image.augment import ImageAugmentation
from pipeline.modalities.text.augment import TextAugmentation


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


BATCHES = {
    "image": torch.randint(0, 256, (16, 20, 20, 3), generator=seeded(), dtype=torch.uint8),
    "audio": (-80 * torch.rand(16, 12, 30, generator=seeded())).half(),
    "text": torch.randint(1, 50, (16, 9), generator=seeded()),
}
AUGMENTATIONS: dict[str, Callable[[torch.Tensor, Chance], torch.Tensor]] = {
    "image": ImageAugmentation(),
    "audio": AudioAugmentation(shift_fraction=0.2, mask_bins_fraction=0.2),
    "text": TextAugmentation(drop_probability=0.3),
}

STILL = ImageAugmentation(
    rotation_degrees=0,
    zoom_fraction=0,
    shift_fraction=0,
    brightness_fraction=0,
    contrast_fraction=0,
    erase_probability=0,
)
QUIET = AudioAugmentation(shift_fraction=0, mask_bins_fraction=0, mask_frames_fraction=0)


@pytest.mark.parametrize("name", BATCHES)
def test_keeps_shape_and_dtype_and_leaves_the_original_alone(name: str) -> None:
    values = BATCHES[name].clone()
    changed = AUGMENTATIONS[name](values, chances(values))
    assert changed.shape == values.shape
    assert changed.dtype == values.dtype
    assert torch.equal(values, BATCHES[name])
    assert not torch.equal(changed, values)


@pytest.mark.parametrize("name", BATCHES)
def test_chance_is_that_of_the_samples_alone(name: str) -> None:
    values, augment = BATCHES[name], AUGMENTATIONS[name]
    torch.manual_seed(1)
    first = augment(values, chances(values))
    torch.manual_seed(2)
    assert torch.equal(first, augment(values, chances(values)))
    assert not torch.equal(first, augment(values, chances(values, 1)))
    half = augment(values[8:], Chance(chances(values).seeds[8:]))
    assert torch.equal(half, first[8:]), "whichever batch a sample is in"


def test_image_without_changes_is_the_image() -> None:
    assert torch.equal(STILL(BATCHES["image"], chances(BATCHES["image"])), BATCHES["image"])


def test_image_changes_are_small() -> None:
    smooth = torch.linspace(60, 180, 20).expand(16, 3, 20, 20).permute(0, 2, 3, 1)
    changed = ImageAugmentation(erase_probability=0)(
        smooth.to(torch.uint8), chances(smooth.to(torch.uint8))
    )
    assert (changed.float() - smooth).abs().mean() < 25


def test_image_erases_a_bounded_rectangle() -> None:
    augment = replace(STILL, erase_probability=1, erase_area_fraction=0.2)
    changed = (augment(BATCHES["image"], chances(BATCHES["image"])) != BATCHES["image"]).any(dim=3)
    assert changed.any(dim=2).any(dim=1).float().mean() > 0.8
    for mask in changed:
        rows, columns = mask.any(dim=1).sum(), mask.any(dim=0).sum()
        assert rows * columns <= 0.3 * mask.numel()  # rounding to whole pixels allowed for


def test_audio_without_changes_is_the_audio() -> None:
    assert torch.equal(QUIET(BATCHES["audio"], chances(BATCHES["audio"])), BATCHES["audio"])


def test_audio_shift_moves_frames_and_fills_with_the_floor() -> None:
    augment = replace(QUIET, shift_fraction=0.2)
    for before, after in zip(
        BATCHES["audio"], augment(BATCHES["audio"], chances(BATCHES["audio"])), strict=True
    ):
        shifts = []
        for offset in range(-6, 7):
            expected = torch.full_like(before, before.min())
            if offset >= 0:
                expected[:, offset:] = before[:, : 30 - offset]
            else:
                expected[:, :offset] = before[:, -offset:]
            if torch.equal(expected, after):
                shifts.append(offset)
        assert shifts


def test_audio_masks_are_the_mean_of_the_bin_and_leave_silence_silent() -> None:
    values = BATCHES["audio"].clone()
    values[:, :, 20:] = -100.0  # padding
    changed = replace(QUIET, mask_bins_fraction=0.5, mask_frames_fraction=0.5)(
        values, chances(values)
    )
    assert (changed[:, :, 20:] == -100).all()
    mean = values[:, :, :20].float().mean(dim=2, keepdim=True).expand(-1, -1, 20)
    before, after = values[:, :, :20].float(), changed[:, :, :20].float()
    masked = (after - mean).abs() < 0.05
    assert (masked | (after == before)).all()
    assert 0.2 < masked.float().mean().item() < 0.7


def test_text_drops_tokens_in_place_and_never_all() -> None:
    values = torch.randint(1, 50, (2000, 4), generator=seeded())
    values[:, 2:] = 0
    changed = TextAugmentation(drop_probability=0.5)(values, chances(values))
    assert ((changed == values) | (changed == 0)).all()
    assert (changed != 0).any(dim=1).all()
    kept = (changed[:, :2] != 0).float().mean().item()
    assert kept == pytest.approx(0.5 + 0.25, abs=0.03)  # both dropped (1 in 4) counts as none


def test_text_that_is_missing_stays_missing() -> None:
    missing = torch.zeros(3, 5, dtype=torch.int64)
    assert torch.equal(TextAugmentation()(missing, chances(missing)), missing)

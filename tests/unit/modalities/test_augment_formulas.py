"""What each change does to a sample, against loops over its pixels, bins and tokens."""

import colorsys
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from support.chances import chances
from torchvision.transforms.v2 import functional as reference

from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.audio.augment import AudioAugmentation, add_noise
from pipeline.modalities.image import ImageAugmentConfig, ImageConfig
from pipeline.modalities.image.augment import (
    ImageAugmentation,
    crop_map,
    resample,
    saturate,
    turn_hue,
)

STILL = ImageAugmentation(
    rotation_degrees=0,
    zoom_fraction=0,
    shift_fraction=0,
    brightness_fraction=0,
    contrast_fraction=0,
    erase_probability=0,
)
QUIET = AudioAugmentation(shift_fraction=0, mask_bins_fraction=0, mask_frames_fraction=0)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(count: int, height: int, width: int) -> torch.Tensor:
    return 255 * torch.rand(count, 3, height, width, generator=seeded())


def bilinear(image: np.ndarray, x: float, y: float) -> np.ndarray:
    """The colour between pixels, whose centres lie at halves; the border goes on outside."""
    height, width = image.shape[1:]
    x, y = min(max(x - 0.5, 0), width - 1), min(max(y - 0.5, 0), height - 1)
    left, top = int(x), int(y)
    right, bottom = min(left + 1, width - 1), min(top + 1, height - 1)
    a, b = x - left, y - top
    upper = (1 - a) * image[:, top, left] + a * image[:, top, right]
    lower = (1 - a) * image[:, bottom, left] + a * image[:, bottom, right]
    return (1 - b) * upper + b * lower


def test_a_crop_is_its_rectangle_stretched_over_the_image() -> None:
    pixels = images(3, 9, 12)
    left, top = torch.tensor([0.0, 0.25, 0.4]), torch.tensor([0.0, 0.5, 0.1])
    width, height = torch.tensor([1.0, 0.5, 0.37]), torch.tensor([1.0, 0.3, 0.81])
    identity = torch.eye(2, 3).expand(3, 2, 3)
    found = resample(pixels, crop_map(identity, left, top, width, height))
    for index in range(3):
        image = pixels[index].numpy()
        for row in range(9):
            for column in range(12):
                x = 12 * (float(left[index]) + float(width[index]) * (column + 0.5) / 12)
                y = 9 * (float(top[index]) + float(height[index]) * (row + 0.5) / 9)
                expected = bilinear(image, x, y)
                np.testing.assert_allclose(found[index, :, row, column], expected, atol=2e-3)


def test_turned_and_scaled_pixels_come_from_where_the_map_says() -> None:
    pixels = images(1, 8, 8)
    angle, zoom = math.radians(30), 1.2
    cosine, sine = math.cos(angle) / zoom, math.sin(angle) / zoom
    found = resample(pixels, torch.tensor([[[cosine, -sine, 0.1], [sine, cosine, -0.2]]]))
    for row in range(8):
        for column in range(8):
            u, v = (column + 0.5) / 4 - 1, (row + 0.5) / 4 - 1
            x, y = cosine * u - sine * v + 0.1, sine * u + cosine * v - 0.2
            expected = bilinear(pixels[0].numpy(), 4 * (x + 1), 4 * (y + 1))
            np.testing.assert_allclose(found[0, :, row, column], expected, atol=2e-3)


def test_crops_have_an_area_and_an_aspect_within_limits_and_lie_inside() -> None:
    augment = replace(STILL, crop_probability=0.7, crop_area_fraction=0.3)
    left, top, width, height = augment._draw_crops(chances(range(4000)))
    cropped = (width < 1) | (height < 1)
    assert cropped.float().mean().item() == pytest.approx(0.7, abs=0.03)
    assert (width * height)[cropped].min().item() >= 0.3 - 1e-5
    assert (left >= 0).all()
    assert (top >= 0).all()
    assert (left + width <= 1 + 1e-6).all()
    assert (top + height <= 1 + 1e-6).all()
    whole = ~cropped
    assert (width[whole] == 1).all()
    assert (left[whole] == 0).all()


def test_a_flip_is_the_mirror_image() -> None:
    values = torch.randint(0, 256, (64, 10, 10, 3), generator=seeded(), dtype=torch.uint8)
    assert torch.equal(replace(STILL, flip_probability=1)(values, chances(values)), values.flip(2))
    half = replace(STILL, flip_probability=0.5)(values, chances(values))
    same = [torch.equal(a, b) for a, b in zip(half, values, strict=True)]
    mirrored = [torch.equal(a, b.flip(1)) for a, b in zip(half, values, strict=True)]
    assert all(a != b for a, b in zip(same, mirrored, strict=True))
    assert 15 < sum(mirrored) < 49


def test_a_flipped_crop_is_the_mirror_image_of_the_crop() -> None:
    values = torch.randint(0, 256, (8, 12, 12, 3), generator=seeded(), dtype=torch.uint8)
    crop = replace(STILL, crop_probability=1, crop_area_fraction=0.3)
    never, always = replace(crop, flip_probability=1e-9), replace(crop, flip_probability=1)
    difference = (
        always(values, chances(values)).int() - never(values, chances(values)).flip(2).int()
    )
    assert difference.abs().max() <= 1, "rounding"


def test_brightness_and_contrast_keep_to_their_limits() -> None:
    values = torch.randint(60, 190, (200, 6, 6, 3), generator=seeded(), dtype=torch.uint8)
    bright = (
        replace(STILL, brightness_fraction=0.2)(values, chances(values)).float() - values.float()
    )
    assert bright.amax().item() <= 52
    assert bright.amin().item() >= -52
    for change in bright:
        assert change.max() - change.min() <= 1, "the same for every pixel of an image"
    contrast = replace(STILL, contrast_fraction=0.5)(values, chances(values)).float()
    for before, after in zip(values.float(), contrast, strict=True):
        ratio = (after - after.mean()).std() / before.std()
        assert 0.45 < ratio < 1.55
        assert after.mean().item() == pytest.approx(before.mean().item(), abs=1.0)


def test_saturation_is_torchvisions() -> None:
    pixels = images(4, 5, 6) / 255
    factors = torch.tensor([0.0, 0.5, 1.0, 1.4])
    for found, pixel, factor in zip(saturate(pixels, factors), pixels, factors, strict=True):
        expected = reference.adjust_saturation(pixel, float(factor))
        # torchvision rounds two of the weights to three digits more, and clamps.
        np.testing.assert_allclose(found.clamp(0, 1), expected, atol=2e-3)


def test_a_turned_hue_keeps_luma_and_chroma() -> None:
    colours = np.random.default_rng(0).uniform(0.2, 0.8, (50, 3))
    for degrees in (-120.0, -15.0, 0.0, 40.0):
        pixels = torch.tensor(colours, dtype=torch.float32).T.reshape(1, 3, 50, 1)
        found = turn_hue(pixels, torch.tensor([math.radians(degrees)])).reshape(3, 50).T.numpy()
        for before, after in zip(colours, found, strict=True):
            y, i, q = colorsys.rgb_to_yiq(*before)
            angle = math.radians(degrees)
            turned = (
                y,
                i * math.cos(angle) - q * math.sin(angle),
                i * math.sin(angle) + q * math.cos(angle),
            )
            # colorsys has the same axes with coefficients rounded to two digits.
            np.testing.assert_allclose(colorsys.rgb_to_yiq(*after), turned, atol=0.02)
            luma = np.dot((0.299, 0.587, 0.114), before)
            assert np.dot((0.299, 0.587, 0.114), after) == pytest.approx(luma, abs=1e-3)


def test_noise_has_the_level_that_is_asked_for() -> None:
    decibels = -60 + 40 * torch.rand(5, 12, 30, generator=seeded())
    decibels[:, :, 20:] = -80.0  # padding
    silence = decibels.amin(dim=(1, 2), keepdim=True)
    spectrum = torch.empty_like(decibels).exponential_(generator=seeded())
    ratio = torch.tensor([-10.0, 0.0, 5.0, 20.0, 40.0])
    noisy = add_noise(decibels, silence, spectrum, ratio)
    for index in range(5):
        signal, count, noise = 0.0, 0, 0.0
        for f in range(12):
            for n in range(30):
                before = 10 ** (float(decibels[index, f, n]) / 10)
                noise += 10 ** (float(noisy[index, f, n]) / 10) - before
                if n < 20:
                    signal, count = signal + before, count + 1
        measured = 10 * math.log10((signal / count) / (noise / (12 * 30)))
        assert measured == pytest.approx(float(ratio[index]), abs=0.05)


def test_noise_leaves_silence_and_the_unlucky_alone() -> None:
    silent = torch.full((2, 4, 6), -100.0)
    floor = silent.amin(dim=(1, 2), keepdim=True)
    assert torch.equal(add_noise(silent, floor, torch.ones(2, 4, 6), torch.zeros(2)), silent)
    values = (-80 * torch.rand(300, 6, 10, generator=seeded())).half()
    noisy = replace(QUIET, noise_probability=0.3)(values, chances(values))
    changed = (noisy != values).flatten(1).any(dim=1).float().mean().item()
    assert changed == pytest.approx(0.3, abs=0.08)
    assert torch.isfinite(noisy).all()
    assert (noisy.float() >= values.float() - 0.05).all(), "noise adds power"


def test_what_is_off_draws_no_random_number() -> None:
    """So that a change that is switched on later leaves the others as they were."""
    values = torch.randint(0, 256, (4, 8, 8, 3), generator=seeded(), dtype=torch.uint8)
    plain, coloured = chances(values), chances(values)
    ImageAugmentation()(values, plain)
    ImageAugmentation(crop_area_fraction=0.1)(values, coloured)
    assert torch.equal(plain.uniform(), coloured.uniform())


def test_settings_reach_the_augmentation_and_stay_out_of_decoding() -> None:
    tree = {"image": {"size": 16, "augment": {"flip_probability": 0.5}}, "text": {}, "audio": {}}
    config = ModalitiesConfig.model_validate(tree)
    for name, each in config.by_name().items():
        augmentation = each.augmentation()
        settings = config.root[name].augment.model_dump()
        assert {n: getattr(augmentation, n) for n in settings} == settings
        assert type(augmentation)() == type(augmentation)(
            **type(config.root[name].augment)().model_dump()
        )
        assert "augment" not in config.decoding()[name]
    assert config.by_name()["image"].augmentation().flip_probability == 0.5
    assert ImageConfig().augment == ImageAugmentConfig()
    with pytest.raises(ValidationError):
        ModalitiesConfig.model_validate({"image": {"augment": {"flip": 1}}})
    with pytest.raises(ValidationError, match="noise_min_snr_db"):
        ModalitiesConfig.model_validate({"audio": {"augment": {"noise_min_snr_db": 50}}})

"""Statistics of colours, one pixel at a time."""

import colorsys

import numpy as np
import torch

from pipeline.modalities.image import ImageConfig
from pipeline.modalities.image.encoders.colours import BINS, colour_statistics
from pipeline.modalities.image.encoders.statistics import ImageStatistics


def test_colours_of_fields_and_bins_are_those_of_their_pixels() -> None:
    values = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3)).astype(np.uint8)
    values[1] //= 16  # dark
    values[2] = 77  # grey: no hue
    found = colour_statistics(torch.from_numpy(values).permute(0, 3, 1, 2).double() / 255).numpy()
    for image, row in zip(values / 255, found, strict=True):
        fields = [
            image[y : y + 2, x : x + 2].mean((0, 1)) for y in (0, 2, 4, 6) for x in (0, 2, 4, 6)
        ]
        np.testing.assert_allclose(row[:48], np.concatenate(fields))
        counts = np.zeros(BINS)
        for pixel in image.reshape(-1, 3):
            places = zip(colorsys.rgb_to_hsv(*pixel), BINS, strict=True)
            counts[tuple(min(int(share * count), count - 1) for share, count in places)] += 1
        np.testing.assert_allclose(row[48:] ** 2, counts.ravel() / 64)


def test_they_are_standardised_by_the_training_set_and_rare_colours_are_not_blown_up() -> None:
    section = ImageConfig.model_validate(
        {"size": 8, "encoder": {"kind": "statistics", "told": "colours", "layers": 0}}
    )
    random = np.random.default_rng(1)
    values = [random.integers(100, 120, (8, 8, 3)).astype(np.uint8) for _ in range(40)]
    values[0][0, 0] = (255, 0, 0)  # the only pixel of its bin
    codec = section.codec(None)
    collector = section.training_statistics()
    assert collector is not None
    collector.add(codec.to_arrow([*values[:7], None]))
    collector.add(codec.to_arrow(values[7:]))
    rows = (
        colour_statistics(torch.from_numpy(np.stack(values)).permute(0, 3, 1, 2).float() / 255)
        .double()
        .numpy()
    )
    moments = collector.result()
    np.testing.assert_allclose(moments["mean"], rows.mean(axis=0), atol=1e-6)
    encoder = section.build_encoder(32).eval()
    assert isinstance(encoder, ImageStatistics)
    encoder.fit(moments)
    seen: list[torch.Tensor] = []
    encoder.layers.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    tokens = encoder(torch.from_numpy(np.stack(values))).tokens
    assert tokens.shape == (40, 1, 32)
    deviation = rows.std(axis=0)
    expected = (rows - rows.mean(axis=0)) / (np.where(deviation > 0, deviation, 1) + 0.02)
    np.testing.assert_allclose(seen[0].detach().numpy(), expected, atol=1e-3)
    assert np.abs(expected).max() < 5, "without the floor more than six deviations"

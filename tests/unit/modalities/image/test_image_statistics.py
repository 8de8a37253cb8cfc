"""Edges of images, against loops in NumPy."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from pipeline.modalities.image import ImageConfig
from pipeline.modalities.image.encoders import looks
from pipeline.modalities.image.encoders.colours import hue_shares
from pipeline.modalities.image.encoders.edges import (
    CLIPPED,
    COARSE,
    COLOUR_LEVELS,
    DIRECTIONS,
    FINE,
    SIZES,
    colour_counts,
    edge_histograms,
    edge_statistics,
    normalised,
)
from pipeline.modalities.image.encoders.statistics import ImageStatistics
from pipeline.modalities.video import VideoConfig

SIZE = 16
NUM_STATISTICS = sum(SIZES)
Floats = NDArray[np.float64]


def images(count: int = 2, size: int = SIZE) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def as_pixels(values: NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(values).permute(0, 3, 1, 2).double() / 255


def edges_by_hand(image: NDArray[np.uint8]) -> Floats:
    """(DIRECTIONS, H, W): each pixel's strongest channel, shared between the two directions beside its own."""
    pixels = image.astype(np.float64) / 255
    height, width, channels = pixels.shape
    edges = np.zeros((DIRECTIONS, height, width))
    for y in range(height):
        for x in range(width):
            best = (-1.0, 0.0)
            for c in range(channels):
                across = pixels[y, x + 1, c] - pixels[y, x - 1, c] if 0 < x < width - 1 else 0.0
                down = pixels[y + 1, x, c] - pixels[y - 1, x, c] if 0 < y < height - 1 else 0.0
                best = max(best, (float(np.hypot(across, down)), float(np.arctan2(down, across))))
            length, angle = best
            place = (angle % np.pi) / np.pi * DIRECTIONS
            low = int(place)
            edges[low % DIRECTIONS, y, x] += length * (1 - (place - low))
            edges[(low + 1) % DIRECTIONS, y, x] += length * (place - low)
    return edges


def cells_by_hand(planes: Floats, side: int) -> Floats:
    step = planes.shape[1] // side
    return planes.reshape(len(planes), side, step, side, step).mean(axis=(2, 4))


def normalised_by_hand(cells: Floats) -> Floats:
    side = cells.shape[1]
    result = np.zeros_like(cells)
    for y in range(side):
        for x in range(side):
            around = cells[:, max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]
            result[:, y, x] = cells[:, y, x] / np.sqrt((around**2).sum() + 1e-3)
    return result.clip(max=CLIPPED)


def test_statistics_by_definition() -> None:
    values = images()
    statistics = edge_statistics(as_pixels(values)).numpy()
    assert statistics.shape == (2, NUM_STATISTICS)
    for row, image in zip(statistics, values, strict=True):
        edges = edges_by_hand(image)
        fine, coarse = cells_by_hand(edges, FINE), cells_by_hand(edges, COARSE)
        pixels = image.transpose(2, 0, 1) / 255
        levels = image.astype(int) * COLOUR_LEVELS // 255
        levels = levels.clip(max=COLOUR_LEVELS - 1).reshape(-1, 3)
        counts = np.zeros((COLOUR_LEVELS,) * 3)
        for level in levels:
            counts[tuple(level)] += 1 / len(levels)
        whole = [
            part
            for planes in (pixels, np.sqrt(fine))
            for part in (planes.mean(axis=(1, 2)), planes.std(axis=(1, 2)))
        ]
        groups = [
            normalised_by_hand(coarse),
            normalised_by_hand(fine),
            np.sqrt(coarse),
            cells_by_hand(pixels, FINE),
            np.sqrt(counts),
            np.concatenate(whole),
        ]
        assert tuple(group.size for group in groups) == SIZES
        expected = np.concatenate([group.reshape(-1) for group in groups])
        np.testing.assert_allclose(row, expected, atol=1e-9)


def test_an_edge_has_the_direction_across_it() -> None:
    ramp = torch.linspace(0, 1, SIZE, dtype=torch.float64).expand(1, 3, SIZE, SIZE)
    across = edge_histograms(ramp)[0, :, 1:-1, 1:-1].mean(dim=(1, 2))
    down = edge_histograms(ramp.transpose(2, 3))[0, :, 1:-1, 1:-1].mean(dim=(1, 2))
    assert across.argmax() == 0
    assert down.argmax() == DIRECTIONS // 2
    mirrored = edge_histograms(ramp.flip(3))[0, :, 1:-1, 1:-1].mean(dim=(1, 2))
    torch.testing.assert_close(across, mirrored, msg="dark beside light is as light beside dark")


def test_even_images_and_small_ones_have_finite_statistics() -> None:
    for size in (8, 9, 225):
        even = torch.full((1, 3, size, size), 0.5)
        assert torch.isfinite(edge_statistics(even)).all()
        assert not edge_histograms(even).any()
        torch.testing.assert_close(colour_counts(even).sum(), torch.tensor(1.0))
    assert not normalised(torch.zeros(1, DIRECTIONS, FINE, FINE)).any()


def test_statistics_are_standardised_by_the_training_set_and_groups_count_alike() -> None:
    section = ImageConfig(size=SIZE, encoder={"kind": "statistics"})
    collector, model = section.training_statistics(), section.build_encoder(8)
    codec = section.codec(None)
    collector.add(codec.to_arrow([*images(5), None]))
    model.fit(collector.result())
    assert isinstance(model, ImageStatistics)
    rows = edge_statistics(as_pixels(images(5)).float())
    torch.testing.assert_close(model.mean, rows.mean(dim=0))
    deviation = rows.std(dim=0, correction=0)
    torch.testing.assert_close(
        model.deviation, torch.where(deviation > 1e-6, deviation, 1.0), atol=1e-5, rtol=1e-4
    )
    groups = model.weight.split(SIZES)
    torch.testing.assert_close(
        torch.stack([group.square().sum() for group in groups]),
        torch.full((len(SIZES),), NUM_STATISTICS / len(SIZES)),
    )


def test_looks_are_edges_hues_and_the_deviations_of_fields() -> None:
    values = images()
    pixels = as_pixels(values)
    edge, hue, uneven = looks.look_statistics(pixels).split(
        (NUM_STATISTICS, *looks.SIZES[-2:]), dim=1
    )
    torch.testing.assert_close(edge, edge_statistics(pixels))
    torch.testing.assert_close(hue, hue_shares(pixels))
    fields = (values / 255).reshape(2, looks.FIELDS, 4, looks.FIELDS, 4, 3).std(axis=(2, 4))
    np.testing.assert_allclose(uneven, fields.transpose(0, 3, 1, 2).reshape(2, -1), atol=1e-9)
    even = torch.full((1, 3, SIZE, SIZE), 0.3)
    assert looks.unevenness(even).max() < 1e-3
    assert torch.isfinite(looks.look_statistics(even)).all()


def test_looks_begin_small_and_edges_as_any_layer() -> None:
    """Of large random weights a network learns few samples by heart."""
    for told, is_small in (("edges", False), ("looks", True)):
        section = ImageConfig(size=SIZE, encoder={"kind": "statistics", "told": told, "layers": 0})
        weight = section.build_encoder(8).layers[1].weight
        assert (weight.std().item() < 0.002) == is_small


def test_clips_are_standardised_by_their_frames() -> None:
    tree = {"size": SIZE, "frames": 3, "encoder": {"kind": "mean", "frame": {"kind": "statistics"}}}
    section = VideoConfig.model_validate(tree)
    collector, model = section.training_statistics(), section.build_encoder(8)
    clips = images(6).reshape(2, 3, SIZE, SIZE, 3)
    clips[1, 2] = 0  # not there
    collector.add(section.codec(None).to_arrow([*clips, None]))
    model.fit(collector.result())
    there = as_pixels(clips.reshape(6, SIZE, SIZE, 3)[:5]).float()
    torch.testing.assert_close(model.frames.network.mean, edge_statistics(there).mean(dim=0))
    features = model.eval()(torch.from_numpy(clips))
    assert functional.cosine_similarity(*features.tokens[:, 0], dim=0) < 1

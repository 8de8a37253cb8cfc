"""Where an image has edges of which direction, and which colours."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

DIRECTIONS = 8  # of edges, over half a turn
COARSE, FINE = 4, 8  # cells a side that edges are counted in; colours are averaged in the fine ones
COLOUR_LEVELS = 4  # of red, of green and of blue: 64 colours are counted
CLIPPED = 0.3  # most that one direction counts in a cell, after normalisation
# Edges over both grids normalised, and over the coarse one as they are; colours by place, and counted; the whole image.
SIZES = (
    DIRECTIONS * COARSE**2,
    DIRECTIONS * FINE**2,
    DIRECTIONS * COARSE**2,
    3 * FINE**2,
    COLOUR_LEVELS**3,
    6 + 2 * DIRECTIONS,
)


def edge_statistics(pixels: Tensor) -> Tensor:
    """What is told of images: edges by direction and place, colours by place, how often each colour comes.

    Args:
        pixels: float (B, 3, H, W) in 0..1.

    Returns:
        float (B, S), the groups of ``SIZES`` one after the other.

    Source:
        Dalal & Triggs 2005, "Histograms of oriented gradients for human detection": the strongest of the three
        channels' gradients, unsigned directions shared between neighbouring bins, cells normalised together with their
        neighbours and clipped. Swain & Ballard 1991, "Color indexing", for the counts of colours; square roots of
        counts as in Arandjelovic & Zisserman 2012, "Three things everyone should know to improve object retrieval".
    """
    fine = functional.adaptive_avg_pool2d(edge_histograms(pixels), FINE)
    coarse = functional.avg_pool2d(fine, FINE // COARSE)
    fine_size, coarse_size = fine.clamp(min=0).sqrt(), coarse.clamp(min=0).sqrt()
    parts = [normalised(coarse), normalised(fine), coarse_size]
    parts += [functional.adaptive_avg_pool2d(pixels, FINE), colour_counts(pixels).sqrt()]
    for planes in (pixels, fine_size):
        parts += [planes.mean(dim=(2, 3)), planes.flatten(2).std(dim=2, correction=0)]
    return torch.cat([part.flatten(1) for part in parts], dim=1)


def edge_histograms(pixels: Tensor) -> Tensor:
    """How strong an edge each pixel lies on, shared between the two directions nearest to its own.

    Args:
        pixels: float (B, C, H, W).

    Returns:
        float (B, DIRECTIONS, H, W); their sum is the length of the longest of the channels' gradients.
    """
    across, down = torch.zeros_like(pixels), torch.zeros_like(pixels)
    across[..., 1:-1] = pixels[..., 2:] - pixels[..., :-2]
    down[..., 1:-1, :] = pixels[..., 2:, :] - pixels[..., :-2, :]
    length, strongest = torch.hypot(across, down).max(dim=1, keepdim=True)
    angle = torch.atan2(down.gather(1, strongest), across.gather(1, strongest))
    place = angle / math.pi * DIRECTIONS  # of unsigned directions, DIRECTIONS is 0 again
    low = place.floor()
    share = place - low
    bins = torch.arange(DIRECTIONS, device=pixels.device)[:, None, None]
    low = low.long() % DIRECTIONS
    is_low, is_high = low == bins, (low + 1) % DIRECTIONS == bins
    return length * (is_low * (1 - share) + is_high * share)


def normalised(cells: Tensor) -> Tensor:
    """Histograms of cells over the energy of the 3 x 3 cells around each, clipped; float (B, C, H, W)."""
    energy = cells.square().sum(dim=1, keepdim=True)
    around = 9 * functional.avg_pool2d(energy, 3, stride=1, padding=1)
    return (cells / (around + 1e-3).sqrt()).clamp(max=CLIPPED)


def colour_counts(pixels: Tensor) -> Tensor:
    """The share of pixels of each colour, float (B, COLOUR_LEVELS ** 3), of float (B, 3, H, W) in 0..1."""
    level = (pixels * COLOUR_LEVELS).long().clamp(0, COLOUR_LEVELS - 1).flatten(2)
    colour = (level[:, 0] * COLOUR_LEVELS + level[:, 1]) * COLOUR_LEVELS + level[:, 2]
    counts = pixels.new_zeros(len(pixels), COLOUR_LEVELS**3)
    return counts.scatter_add(1, colour, torch.ones_like(colour, dtype=pixels.dtype)) / max(
        1, colour.shape[1]
    )

"""Small random changes to images while training."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class ImageAugmentation:
    """Rotates, scales, shifts, relights and partly erases each image of a batch by chance.

    No flips: letters, digits and many other things have a handedness.

    Attributes:
        degrees: Largest rotation, either way.
        scale: Largest change of size, as a share.
        shift: Largest shift along each axis, as a share of the image.
        light: Largest change of brightness and of contrast, as a share.
        erase: Probability that a rectangle becomes its image's mean colour.
        erase_area: Largest area of that rectangle, as a share of the image.
    """

    degrees: float = 10.0
    scale: float = 0.1
    shift: float = 0.07
    light: float = 0.1
    erase: float = 0.25
    erase_area: float = 0.2

    def __call__(self, values: Tensor, generator: torch.Generator) -> Tensor:
        """Changes a batch.

        Args:
            values: uint8 (B, H, W, 3).
            generator: On the device of ``values``; the only source of chance.

        Returns:
            uint8 (B, H, W, 3).
        """
        pixels = values.permute(0, 3, 1, 2).float()
        pixels = self._move(pixels, generator)
        pixels = self._relight(pixels, generator)
        pixels = self._erase(pixels, generator)
        return pixels.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)

    def _move(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        size = len(pixels)
        angle = _symmetric(size, generator, pixels.device) * math.radians(self.degrees)
        zoom = 1.0 + _symmetric(size, generator, pixels.device) * self.scale
        cosine, sine = angle.cos() / zoom, angle.sin() / zoom
        # grid_sample's axes run from -1 to 1, so a share of the image is twice as long.
        shift_x = _symmetric(size, generator, pixels.device) * 2 * self.shift
        shift_y = _symmetric(size, generator, pixels.device) * 2 * self.shift
        matrix = torch.stack(
            [torch.stack([cosine, -sine, shift_x], 1), torch.stack([sine, cosine, shift_y], 1)], 1
        )  # (B, 2, 3)
        grid = functional.affine_grid(matrix, list(pixels.shape), align_corners=False)
        return functional.grid_sample(
            pixels, grid, mode="bilinear", padding_mode="border", align_corners=False
        )

    def _relight(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        brightness = 255.0 * self.light * _symmetric(len(pixels), generator, pixels.device)
        contrast = 1.0 + self.light * _symmetric(len(pixels), generator, pixels.device)
        mean = pixels.mean(dim=(1, 2, 3), keepdim=True)
        return (
            (pixels - mean) * contrast[:, None, None, None] + mean + brightness[:, None, None, None]
        )

    def _erase(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        size, _, height, width = pixels.shape
        chance, area, aspect, top, left = torch.rand(
            5, size, generator=generator, device=pixels.device
        ).unbind(0)
        stretch = 2.0 ** (2.0 * aspect - 1.0)  # height : width from 1:2 to 2:1
        tall = (area * self.erase_area * stretch).sqrt().clamp(max=1.0)
        wide = (area * self.erase_area / stretch).sqrt().clamp(max=1.0)
        inside = (
            _within(height, top * (1 - tall), tall, pixels.device)[:, :, None]
            & _within(width, left * (1 - wide), wide, pixels.device)[:, None, :]
            & (chance < self.erase)[:, None, None]
        )
        return torch.where(inside[:, None], pixels.mean(dim=(2, 3), keepdim=True), pixels)


def _within(length: int, start: Tensor, extent: Tensor, device: torch.device) -> Tensor:
    """bool (B, length): which of the pixels lie in a stretch given in shares of the length."""
    position = (torch.arange(length, device=device) + 0.5) / length
    return (position >= start[:, None]) & (position < (start + extent)[:, None])


def _symmetric(size: int, generator: torch.Generator, device: torch.device) -> Tensor:
    """Uniform in -1..1, float32 (B,)."""
    return 2.0 * torch.rand(size, generator=generator, device=device) - 1.0

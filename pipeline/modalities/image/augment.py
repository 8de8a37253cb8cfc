"""Small random changes to images while training."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.modalities.chance import Chance

LUMA = (0.299, 0.587, 0.114)  # of red, green and blue; ITU-R BT.601
# Luma and two axes of colour, the NTSC's I and Q; turning these two turns the hue and keeps the luma.
YIQ = (LUMA, (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))
MAX_ASPECT = 4 / 3  # of a crop, either way


@dataclass(frozen=True, slots=True)
class ImageAugmentation:
    """Crops, mirrors, turns, scales, shifts, recolours and partly erases each image of a batch by chance.

    All that moves pixels is one affine map, so that an image is interpolated once. Attributes are those of
    :class:`pipeline.modalities.image.ImageAugmentConfig`; a change that is switched off draws no random number.

    Source:
        Szegedy et al. 2015, "Going Deeper with Convolutions", section 6 (crops of a random area and aspect). Zhong et
        al. 2017, "Random Erasing".
    """

    crop_probability: float = 0.0
    crop_area_fraction: float = 0.5
    flip_probability: float = 0.0
    rotation_degrees: float = 10.0
    zoom_fraction: float = 0.1
    shift_fraction: float = 0.07
    brightness_fraction: float = 0.1
    contrast_fraction: float = 0.1
    saturation_fraction: float = 0.0
    hue_degrees: float = 0.0
    erase_probability: float = 0.25
    erase_area_fraction: float = 0.2

    def __call__(self, values: Tensor, chance: Chance) -> Tensor:
        """Changes a batch.

        Args:
            values: uint8 (B, H, W, 3).
            chance: Of the batch's samples; nothing else is drawn from.

        Returns:
            uint8 (B, H, W, 3).
        """
        pixels = values.permute(0, 3, 1, 2).float()
        pixels = resample(pixels, self._draw_map(chance))
        pixels = self._relight(pixels, chance)
        pixels = self._recolour(pixels, chance)
        pixels = self._erase(pixels, chance)
        return pixels.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)

    def _draw_map(self, chance: Chance) -> Tensor:
        """Where each place of the result comes from, float (B, 2, 3); see :func:`resample`."""
        angle = chance.symmetric() * math.radians(self.rotation_degrees)
        zoom = 1.0 + chance.symmetric() * self.zoom_fraction
        cosine, sine = angle.cos() / zoom, angle.sin() / zoom
        # The axes run from -1 to 1, so a share of the image is twice as long.
        shift_x = chance.symmetric() * 2 * self.shift_fraction
        shift_y = chance.symmetric() * 2 * self.shift_fraction
        places = torch.stack(
            [torch.stack([cosine, -sine, shift_x], 1), torch.stack([sine, cosine, shift_y], 1)], 1
        )
        if self.flip_probability:
            mirrored = chance.uniform() < self.flip_probability
            places[mirrored, :, 0] *= -1.0
        if self.crop_probability:
            places = crop_map(places, *self._draw_crops(chance))
        return places

    def _draw_crops(self, chance: Chance) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Left, top, width and height of each crop, in shares of the image, float (B,); the whole image where none."""
        draw, area, aspect, left, top = chance.uniform(5).unbind(1)
        area = self.crop_area_fraction + area * (1.0 - self.crop_area_fraction)
        stretch = MAX_ASPECT ** (2.0 * aspect - 1.0)
        cropped = draw < self.crop_probability
        width = torch.where(cropped, (area * stretch).sqrt().clamp(max=1.0), 1.0)
        height = torch.where(cropped, (area / stretch).sqrt().clamp(max=1.0), 1.0)
        return left * (1.0 - width), top * (1.0 - height), width, height

    def _relight(self, pixels: Tensor, chance: Chance) -> Tensor:
        brightness = 255.0 * self.brightness_fraction * chance.symmetric()
        contrast = 1.0 + self.contrast_fraction * chance.symmetric()
        mean = pixels.mean(dim=(1, 2, 3), keepdim=True)
        return (
            (pixels - mean) * contrast[:, None, None, None] + mean + brightness[:, None, None, None]
        )

    def _recolour(self, pixels: Tensor, chance: Chance) -> Tensor:
        if self.saturation_fraction:
            change = self.saturation_fraction * chance.symmetric()
            pixels = saturate(pixels, 1.0 + change)
        if self.hue_degrees:
            turn = math.radians(self.hue_degrees) * chance.symmetric()
            pixels = turn_hue(pixels, turn)
        return pixels

    def _erase(self, pixels: Tensor, chance: Chance) -> Tensor:
        height, width = pixels.shape[2:]
        draw, area, aspect, top, left = chance.uniform(5).unbind(1)
        stretch = 2.0 ** (2.0 * aspect - 1.0)  # height : width from 1:2 to 2:1
        tall = (area * self.erase_area_fraction * stretch).sqrt().clamp(max=1.0)
        wide = (area * self.erase_area_fraction / stretch).sqrt().clamp(max=1.0)
        inside = (
            _within(height, top * (1 - tall), tall, pixels.device)[:, :, None]
            & _within(width, left * (1 - wide), wide, pixels.device)[:, None, :]
            & (draw < self.erase_probability)[:, None, None]
        )
        return torch.where(inside[:, None], pixels.mean(dim=(2, 3), keepdim=True), pixels)


def resample(pixels: Tensor, places: Tensor) -> Tensor:
    """Takes each pixel of the result from another place, between pixels bilinearly, outside from the border.

    Args:
        pixels: float (B, C, H, W).
        places: float (B, 2, 3), from (x, y, 1) of the result to x and y of ``pixels``; both axes run from -1 to 1
            between the image's outer edges.

    Returns:
        float (B, C, H, W).
    """
    grid = functional.affine_grid(places, list(pixels.shape), align_corners=False)
    return functional.grid_sample(
        pixels, grid, mode="bilinear", padding_mode="border", align_corners=False
    )


def crop_map(places: Tensor, left: Tensor, top: Tensor, width: Tensor, height: Tensor) -> Tensor:
    """The map that takes its places from a rectangle, given in shares of the image, rather than from the whole.

    Args:
        places: float (B, 2, 3), as :func:`resample` takes it.
        left: float (B,), as the others.
        top: See ``left``.
        width: See ``left``.
        height: See ``left``.
    """
    scale = torch.stack([width, height], 1)[:, :, None]
    centre = torch.stack([2 * left + width - 1, 2 * top + height - 1], 1)
    cropped = places * scale
    cropped[:, :, 2] += centre
    return cropped


def saturate(pixels: Tensor, factor: Tensor) -> Tensor:
    """Moves colours away from grey of the same luma, or towards it.

    Args:
        pixels: float (B, 3, H, W).
        factor: float (B,): 0 is grey, 1 changes nothing.
    """
    luma = torch.tensor(LUMA, device=pixels.device)[None, :, None, None]
    grey = (pixels * luma).sum(dim=1, keepdim=True)
    return grey + (pixels - grey) * factor[:, None, None, None]


def turn_hue(pixels: Tensor, radians: Tensor) -> Tensor:
    """Turns colours about the axis of greys, in YIQ; luma stays.

    Args:
        pixels: float (B, 3, H, W).
        radians: float (B,).
    """
    to_yiq = torch.tensor(YIQ, device=pixels.device)
    turn = torch.zeros(len(pixels), 3, 3, device=pixels.device)
    turn[:, 0, 0] = 1.0
    turn[:, 1, 1] = turn[:, 2, 2] = radians.cos()
    turn[:, 1, 2] = -radians.sin()
    turn[:, 2, 1] = radians.sin()
    return torch.einsum("bij,bjhw->bihw", torch.linalg.inv(to_yiq) @ turn @ to_yiq, pixels)


def _within(length: int, start: Tensor, extent: Tensor, device: torch.device) -> Tensor:
    """bool (B, length): which of the pixels lie in a stretch given in shares of the length."""
    position = (torch.arange(length, device=device) + 0.5) / length
    return (position >= start[:, None]) & (position < (start + extent)[:, None])

"""Small random changes to clips while training."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.modalities.chance import Chance
from pipeline.modalities.image.augment import ImageAugmentation
from pipeline.modalities.video.encoders.frames import are_there, choose
from pipeline.modalities.video.frames import BLACK


@dataclass(frozen=True)
class VideoAugmentation:
    """Chooses the frames that are seen by chance, and changes all frames of a clip as one image would be.

    Args:
        frames: T, that the network sees.
        image: Changes images; those of a clip have the chance of the clip, so that nothing flickers.

    Source:
        Wang et al. 2016, "Temporal segment networks", section 3.1: one frame by chance of each of T stretches.
    """

    frames: int
    image: ImageAugmentation

    def __call__(self, values: Tensor, chance: Chance) -> Tensor:
        """Changes a batch.

        Args:
            values: uint8 (B, T * k, H, W, 3), zeros where there is no frame.
            chance: Of the batch's samples; nothing else is drawn from.

        Returns:
            uint8 (B, T, H, W, 3), zeros where there is no frame.
        """
        if values.shape[1] != self.frames:
            draws = chance.stream("frames").uniform(self.frames)
            values = choose(values, self.frames, draws)
        real = are_there(values)
        seeds = chance.stream("changes").seeds.repeat_interleave(self.frames)
        changed = self.image(values.flatten(0, 1), Chance(seeds)).view(values.shape)
        changed = torch.where(real[..., None, None, None], changed, torch.zeros_like(changed))
        # What has become black all over is still there.
        black = (real & ~are_there(changed)).to(torch.uint8) * BLACK
        changed[..., 0, 0, 0] += black
        return changed

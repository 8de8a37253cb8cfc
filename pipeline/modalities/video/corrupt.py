"""How clips get worse, to see how much of it a model stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from pipeline.modalities.chance import Chance
from pipeline.modalities.facets import Corruption
from pipeline.modalities.image.corrupt import corruptions as of_images
from pipeline.modalities.video.encoders.frames import are_there
from pipeline.modalities.video.frames import BLACK


def corruptions() -> Mapping[str, Corruption]:
    """What images know, alike in all frames of a clip, and lost frames; of uint8 (B, N, H, W, 3)."""
    of_frames = {name: replace(each, change=_Frames(each)) for name, each in of_images().items()}
    return {**of_frames, "drop": Corruption("share of the frames", (0.25, 0.5, 0.75), drop)}


class _Frames:
    """Changes every frame that is there as an image; what is drawn is the clip's, so that nothing flickers.

    Args:
        of_images: How.
    """

    def __init__(self, of_images: Corruption) -> None:
        self._change = of_images.change

    def __call__(self, values: Tensor, severity: float, chance: Chance) -> Tensor:
        real = are_there(values)
        changed = torch.zeros_like(values)
        for frame in range(values.shape[1]):
            changed[:, frame] = self._change(values[:, frame], severity, Chance(chance.seeds))
        changed *= real[..., None, None, None].to(torch.uint8)
        # What has become black all over is still there.
        changed[..., 0, 0, 0] += (real & ~are_there(changed)).to(torch.uint8) * BLACK
        return changed


def drop(values: Tensor, share: float, chance: Chance) -> Tensor:
    """Takes frames away by chance; one that is there stays.

    Args:
        values: uint8 (B, N, H, W, 3), zeros where there is no frame.
        share: Of the frames.
        chance: Of the samples: which.
    """
    draws = chance.uniform(values.shape[1]) * are_there(values)
    draws.scatter_(1, draws.argmax(dim=1, keepdim=True), 1.0)
    return values * (draws >= share)[..., None, None, None].to(torch.uint8)

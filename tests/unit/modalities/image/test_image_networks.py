"""Networks of images, against torchvision's and by definition."""

from functools import partial

import pytest
import torch
from torch import nn
from torchvision.models import resnet

from pipeline.modalities.image import ImageConfig
from pipeline.modalities.image.encoders.grid import as_pixels
from pipeline.modalities.image.encoders.resnet import ImageResNet
from pipeline.modalities.image.encoders.vit import ImageViT


def test_a_residual_network_is_that_of_torchvision() -> None:
    torch.manual_seed(0)
    ours = ImageResNet(70, 8, 18, 64, small_stem=False)
    theirs = resnet.resnet18(weights=None, norm_layer=partial(nn.GroupNorm, 32))
    reference = nn.ModuleDict(
        {
            "stem": nn.Sequential(theirs.conv1, theirs.bn1, theirs.relu, theirs.maxpool),
            "stages": nn.Sequential(theirs.layer1, theirs.layer2, theirs.layer3, theirs.layer4),
        }
    )
    assert set(reference.state_dict()) == {
        name for name in ours.state_dict() if name.startswith(("stem", "stages"))
    }
    ours.load_state_dict(reference.state_dict(), strict=False)
    pixels = as_pixels(torch.randint(0, 256, (2, 70, 70, 3), dtype=torch.uint8), torch.float32)
    expected = reference["stages"](reference["stem"](pixels))
    torch.testing.assert_close(ours.stages(ours.stem(pixels)), expected)


@pytest.mark.parametrize("size", [8, 28, 225])
@pytest.mark.parametrize(
    "encoder",
    [
        {"kind": "resnet", "depth": 10, "channels": 4},
        {"kind": "resnet", "depth": 10, "channels": 6, "stem": "small"},
        {"kind": "vit", "layers": 1},
        {"kind": "vit", "layers": 1, "patch": 32, "heads": 3, "head_channels": 4},
    ],
)
def test_images_of_any_size_become_a_small_grid(size: int, encoder: dict[str, object]) -> None:
    network = ImageConfig(size=size, encoder=encoder).build_encoder(32)
    tokens, mask = network(torch.randint(0, 256, (1, size, size, 3), dtype=torch.uint8))
    assert tokens.shape == (1, mask.shape[1], 32)
    assert mask.shape[1] <= 49
    assert mask.all()


def test_a_patch_becomes_a_token_by_definition() -> None:
    model = ImageViT(10, 8, patch=4, layers=1, heads=1, inner=6, dropout=0.0)
    image = torch.randint(0, 256, (1, 10, 10, 3), dtype=torch.uint8)
    patches = torch.full((3, 3, 4, 4, 3), 127.5)
    for row in range(10):
        for column in range(10):
            patches[row // 4, column // 4, row % 4, column % 4] = image[0, row, column]
    weights = model.embed.weight.permute(2, 3, 1, 0).flatten(0, 2)  # (patch * patch * 3, inner)
    expected = (patches.flatten(2) / 127.5 - 1.0) @ weights + model.embed.bias
    seen: list[torch.Tensor] = []
    model.blocks[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model(image)
    torch.testing.assert_close(seen[0][0], expected.flatten(0, 1) + model.position)

from __future__ import annotations

import pytest
import torch

from pipeline.modalities.audio.encoders.cnn import AudioEncoder
from pipeline.modalities.audio.encoders.spectrogram import level_and_contrast
from pipeline.modalities.image.encoders.cnn import ImageEncoder
from pipeline.modalities.text.encoders.transformer import TextEncoder


@pytest.mark.parametrize("size", [8, 28, 64, 225])
def test_image_encoder_takes_any_size(size: int) -> None:
    images = torch.randint(0, 256, (1, size, size, 3), dtype=torch.uint8)
    tokens, mask = ImageEncoder(size=size, width=32)(images)
    assert tokens.shape == (1, 16, 32)
    assert mask.all()


@pytest.mark.parametrize(
    ("num_mels", "num_frames"), [(40, 51), (64, 101), (80, 1001), (8, 3), (8, 2)]
)
def test_audio_encoder_bounds_its_tokens(num_mels: int, num_frames: int) -> None:
    encoder = AudioEncoder(num_mels=num_mels, num_frames=num_frames, width=32)
    tokens, mask = encoder((-80 * torch.rand(1, num_mels, num_frames)).half())
    assert tokens.shape == (1, encoder.num_tokens, 32)
    assert encoder.num_tokens <= 16
    assert mask.shape == (1, encoder.num_tokens)
    assert mask.all()


def test_audio_encoder_does_not_hear_loudness() -> None:
    torch.manual_seed(0)
    encoder = AudioEncoder(num_mels=16, num_frames=20, width=32).eval()
    sound = (-80 * torch.rand(2, 16, 20)).round().half()
    torch.testing.assert_close(encoder(sound).tokens, encoder(sound + 12).tokens)


def test_steady_noise_leaves_no_contrast() -> None:
    noise = -60 * torch.rand(2, 16, 1, generator=torch.Generator().manual_seed(0))
    sound = noise.repeat(1, 1, 20)
    sound[:, :, 14:] = sound.amax(dim=(1, 2), keepdim=True) - 80  # padding
    sound[0, 5, 3] += 10.0
    level, contrast = level_and_contrast(sound).unbind(1)
    assert (contrast[1].abs() < 1e-4).all()
    assert (contrast[:, :, 14:] == 0).all()
    # One of 14 frames is 10 dB louder, so the background is 10 / 14 dB higher; 20 dB are 1.
    assert contrast[0, 5, 3].item() == pytest.approx((10 - 10 / 14) / 20, abs=1e-4)
    assert level.amax().item() == pytest.approx(1.0)


def test_audio_encoder_takes_silence() -> None:
    encoder = AudioEncoder(num_mels=16, num_frames=20, width=32)
    assert torch.isfinite(encoder(torch.zeros(2, 16, 20).half()).tokens).all()


def test_text_encoder_does_not_see_padding() -> None:
    torch.manual_seed(0)
    encoder = TextEncoder(vocab_size=50, max_tokens=8, width=32).eval()
    short = torch.tensor([[4, 9, 7, 0, 0]])
    long = torch.tensor([[4, 9, 7, 0, 0, 0, 0, 0]])
    features = encoder(short)
    assert features.mask.tolist() == [[True, True, True, False, False]]
    torch.testing.assert_close(features.tokens[:, :3], encoder(long).tokens[:, :3])
    assert torch.isfinite(encoder(torch.zeros_like(short)).tokens).all()


def test_text_encoder_knows_order() -> None:
    torch.manual_seed(0)
    encoder = TextEncoder(vocab_size=50, max_tokens=8, width=32).eval()
    forward, backward = encoder(torch.tensor([[4, 9, 7], [7, 9, 4]])).tokens
    assert not torch.allclose(forward, backward.flip(0), atol=1e-4)

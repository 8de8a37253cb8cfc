"""Augmentation and encoders of clips: what is masked changes nothing, and chance is the sample's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.fft import dct
from support.chances import chances
from support.encoder_cases import vit

from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.chance import Chance
from pipeline.modalities.image.augment import ImageAugmentation
from pipeline.modalities.image.encoders.statistics import DESCRIPTIONS
from pipeline.modalities.video import VideoConfig
from pipeline.modalities.video.augment import VideoAugmentation
from pipeline.modalities.video.encoders.frames import are_there, as_many, choose
from pipeline.modalities.video.encoders.statistics import NUM_COSINES, clip_statistics

WIDTH = 32


def values(count: int = 3, frames: int = 4, size: int = 16, seed: int = 0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.integers(1, 256, (count, frames, size, size, 3), dtype=np.uint8))


def encoder(kind: str, frames: int = 4, candidates: int = 1) -> torch.nn.Module:
    tree = {"frames": frames, "candidates": candidates, "size": 16, "encoder": {"kind": kind}}
    torch.manual_seed(0)
    config = ModalitiesConfig.model_validate({"video": tree}).by_name()["video"]
    return config.build_encoder(WIDTH).eval()


@pytest.mark.parametrize("kind", ["mean", "attention"])
def test_a_frame_that_is_not_there_changes_nothing(kind: str) -> None:
    network = encoder(kind)
    batch = values()
    batch[0, 2:] = 0
    features = network(batch)
    whole = network(values())
    assert features.mask[1].all()
    torch.testing.assert_close(features.tokens[1:], whole.tokens[1:])
    if kind == "attention":
        assert features.mask[0].tolist() == [True, True, False, False]
    else:
        # The mean of two frames alone, by hand.
        frames = network.frames.network(values()[0, :2])
        by_hand = network.norm(frames.tokens.mean(dim=0))
        torch.testing.assert_close(features.tokens[0], by_hand)
    # What stands behind a mask is told by the frames alone: those of others in its place are none of its business.
    longer = encoder(kind)
    noise = longer.frames.network
    handle = noise.register_forward_hook(lambda _, __, out: _with_noise(out, batch))
    disturbed = longer(batch)
    handle.remove()
    torch.testing.assert_close(disturbed.clean(), features.clean())


def _with_noise(features, batch):
    gone = ~are_there(batch).flatten()
    tokens = features.tokens.clone()
    tokens[gone] = 1e3 * torch.randn_like(tokens[gone])
    return features._replace(tokens=tokens)


def test_statistics_of_clips_by_definition() -> None:
    batch = values(frames=5)
    batch[1, 3:] = 0  # not there
    batch[2, 1:] = 0
    description = DESCRIPTIONS["looks"]
    rows = clip_statistics(batch, description, torch.float64).numpy()
    for row, clip, count in zip(rows, batch, (5, 3, 1), strict=True):
        pixels = clip[:count].permute(0, 3, 1, 2).double() / 255
        told = description.of(pixels).numpy()  # (T, S)
        steps = np.abs(np.diff(told, axis=0))
        changes = steps.mean(axis=0) if count > 1 else np.zeros(description.size)
        waves = np.zeros((NUM_COSINES, description.size))
        course = dct(told, axis=0)[1 : NUM_COSINES + 1] / (2 * count)
        waves[: len(course)] = course
        expected = np.concatenate([told.mean(axis=0), changes, *waves])
        np.testing.assert_allclose(row, expected, atol=1e-9)


def test_statistics_of_clips_are_standardised_by_the_training_set() -> None:
    section = VideoConfig(frames=4, candidates=3, size=16, encoder={"kind": "statistics"})
    network, collector = section.build_encoder(WIDTH), section.training_statistics()
    clips = values(5, 12)
    clips[0, 6:] = 0
    column = section.codec(None).to_arrow([*clips.numpy(), None])
    collector.add(column[:2])
    collector.add(column[2:])
    network.fit(collector.result())
    seen = network.description, torch.float32
    rows = clip_statistics(as_many(clips, 4), *seen)
    torch.testing.assert_close(network.mean, rows.mean(dim=0), atol=1e-5, rtol=1e-4)


def test_statistics_tell_which_way_a_thing_goes() -> None:
    clips = values(1, 4)
    forth, back = network_of_statistics(clips), network_of_statistics(clips.flip(1))
    size = forth.shape[1] // 4
    torch.testing.assert_close(forth[:, : 2 * size], back[:, : 2 * size])
    first = slice(2 * size, 3 * size)
    torch.testing.assert_close(forth[:, first], -back[:, first], atol=1e-6, rtol=1e-4)
    assert forth[:, first].abs().max() > 0.01


def network_of_statistics(clips: torch.Tensor) -> torch.Tensor:
    return clip_statistics(clips, DESCRIPTIONS["edges"], torch.float32)


def test_attention_knows_the_order_and_the_mean_does_not() -> None:
    batch, backwards = values(), values().flip(1)
    mean, attention = encoder("mean"), encoder("attention")
    torch.testing.assert_close(mean(batch).tokens, mean(backwards).tokens)
    assert not torch.allclose(
        attention(batch).tokens, attention(backwards).tokens.flip(1), atol=1e-4
    )


@pytest.mark.parametrize("kind", ["mean", "attention", "statistics"])
def test_of_candidates_the_middle_ones_are_seen(kind: str) -> None:
    batch = values(frames=12)
    torch.testing.assert_close(
        encoder(kind, candidates=3)(batch).tokens, encoder(kind)(batch[:, 1::3]).tokens
    )


def test_choosing_against_a_loop() -> None:
    batch = values(count=5, frames=12)
    batch[torch.rand(5, 12, generator=torch.Generator().manual_seed(0)) < 0.5] = 0
    draws = torch.rand(5, 4, generator=torch.Generator().manual_seed(1))
    chosen = choose(batch, 4, draws)
    for row in range(5):
        for place in range(4):
            stretch = batch[row, 3 * place : 3 * place + 3]
            real = [frame for frame in stretch if frame.any()]
            expected = (
                real[int(draws[row, place] * len(real))] if real else torch.zeros_like(stretch[0])
            )
            assert torch.equal(chosen[row, place], expected)


def test_training_takes_another_of_the_candidates_in_each_epoch() -> None:
    batch = values(count=8, frames=12)
    still = ImageAugmentation(
        rotation_degrees=0, zoom_fraction=0, shift_fraction=0, brightness_fraction=0,
        contrast_fraction=0, erase_probability=0,
    )  # fmt: skip
    augment = VideoAugmentation(4, still)
    first, again, other = (augment(batch.clone(), chances(batch, seed)) for seed in (1, 1, 2))
    assert first.shape == (8, 4, 16, 16, 3)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    stretches = batch.unflatten(1, (4, 3))
    matches = (stretches == first[:, :, None]).flatten(3).all(dim=3)
    assert (matches.sum(dim=2) == 1).all(), "each is one of its stretch"
    alone = augment(batch[5:].clone(), Chance(chances(batch, 1).seeds[5:]))
    assert torch.equal(alone, first[5:])


def test_all_frames_of_a_clip_change_alike_and_what_is_missing_stays_missing() -> None:
    batch = values()[:, :1].expand(-1, 4, -1, -1, -1).clone()
    batch[1, 3] = 0
    changed = VideoAugmentation(4, ImageAugmentation())(batch, chances(batch, 3))
    assert torch.equal(changed[0, 0], changed[0, 3])
    assert not torch.equal(changed[0, 0], batch[0, 0])
    assert are_there(changed).tolist() == are_there(batch).tolist()
    dark = torch.ones_like(batch)
    darker = VideoAugmentation(4, ImageAugmentation(brightness_fraction=1.0))(
        dark, chances(dark, 3)
    )
    assert are_there(darker).all(), "a frame that has become black is still one"


def test_a_pretrained_network_of_frames_decides_their_size_and_goes_into_the_bundle() -> None:
    tree = {"frames": 2, "encoder": {"kind": "mean", "frame": {"kind": "pretrained", **vit()}}}
    config = ModalitiesConfig.model_validate({"video": tree}).by_name()["video"]
    inputs = config.encoder.frame.inputs
    assert config.codec(None).shape == (2, inputs.size, inputs.size, 3)
    values_there = values(frames=2, size=inputs.size)
    features = config.build_encoder(WIDTH).eval()(values_there)
    assert features.tokens.shape == (3, 1, WIDTH)
    assert config.encoder.decoding() == config.encoder.frame.decoding()
    sealed = config.encoder.sealed()
    assert sealed.frame.description is not None
    assert sealed.frame.weights is None
    assert sealed.identity() == config.encoder.identity()
    assert config.encoder.identity()["frame"] == config.encoder.frame.identity()
    again = config.model_copy(update={"encoder": sealed}).build_encoder(WIDTH)
    assert [*again.state_dict()] == [*config.build_encoder(WIDTH).state_dict()]

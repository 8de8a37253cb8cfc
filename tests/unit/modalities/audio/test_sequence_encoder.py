"""The encoder of what is said: when its tokens are, and that silence behind a sound reaches none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from support.tones import wav

from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.facets import Timed

CONTEXTS = ("lstm", "gru", "transformer")


def audio(seconds: float, **encoder: Any) -> Any:
    section = {"sample_rate_hz": 8000, "max_seconds": seconds, "num_mels": 16}
    tree = {"audio": {**section, "encoder": {"kind": "sequence", **encoder}}}
    return ModalitiesConfig.model_validate(tree).by_name()["audio"]


def heard(config: Any, *sounds: bytes) -> torch.Tensor:
    codec = config.codec(None)
    return torch.from_numpy(np.stack([codec.decode(memoryview(sound), "wav") for sound in sounds]))


def built(config: Any, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return config.build_encoder(32).eval()


@pytest.mark.parametrize("context", CONTEXTS)
def test_a_longer_silence_behind_a_sound_changes_nothing(context: str) -> None:
    network = built(audio(0.5, context=context))
    random = np.random.default_rng(0)
    sound = torch.from_numpy(random.uniform(-70, 0, (1, 16, 37)).astype(np.float16))
    tokens, mask = network(sound)
    count = 10
    assert mask.tolist() == [[True] * count], "37 frames, four of them a token"
    for frames in (1, 2, 60):
        silence = torch.full((1, 16, frames), -80.0, dtype=torch.float16)
        more, more_mask = network(torch.cat([sound, silence], dim=2))
        assert more_mask[0].tolist() == [True] * count + [False] * (more.shape[1] - count)
        torch.testing.assert_close(tokens[0], more[0, :count], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("milliseconds", [10, 20, 40, 80])
def test_tokens_are_as_long_as_the_setting_says(milliseconds: int) -> None:
    config = audio(1.0, token_ms=milliseconds)
    timing = config.encoder.timing(config)
    assert timing.seconds == pytest.approx(milliseconds / 1000)
    features = built(config)(heard(config, wav(500.0, seconds=0.5), wav(500.0, seconds=1.0)))
    assert features.tokens.shape[1] == timing.tokens
    shorter, whole = features.mask.sum(dim=1).tolist()
    assert shorter * timing.seconds == pytest.approx(0.5, abs=0.02 + timing.seconds)
    assert whole == timing.tokens


@pytest.mark.parametrize("kind", ["sequence", "crnn", "patches"])
def test_a_sound_reaches_the_tokens_of_its_time(kind: str) -> None:
    """A click that is moved changes the tokens about both of its places most: what an encoder says of times is so."""
    tree = {"sample_rate_hz": 8000, "max_seconds": 2.0, "num_mels": 16}
    encoder = {"kind": kind, "layers": 1}
    config = ModalitiesConfig.model_validate({"audio": {**tree, "encoder": encoder}}).by_name()
    audio = config["audio"]
    assert isinstance(audio.encoder, Timed)
    timing = audio.encoder.timing(audio)
    values = torch.full((2, 16, 201), -40.0, dtype=torch.float16)
    for sound, frame in zip(values, (48, 144), strict=True):
        sound[:, frame : frame + 4] = -10
    first, second = built(audio)(values).tokens
    assert len(first) == timing.tokens
    change = (first - second).norm(dim=1)
    half = timing.tokens // 2
    for start, end, seconds in ((0, half, 0.5), (half, timing.tokens, 1.46)):
        middle = (start + int(change[start:end].argmax()) + 0.5) * timing.seconds
        assert middle == pytest.approx(seconds, abs=1.1 * timing.seconds)

"""What every modality keeps to whose values networks can make: a new one is tested the moment it is listed."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
import torch
from support.chances import chances
from support.encoder_cases import TOKENIZER, cases

from pipeline.modalities import kinds
from pipeline.modalities.base import ModalityConfig
from pipeline.modalities.rendering.base import Rendering

WIDTH = 32
# Modalities whose values no network here makes.
NOT_MADE = {"video"}
# Modalities that are written by what is looked for, so that reading gives them back nearly.
NEARLY = {"audio"}


def config(name: str) -> ModalityConfig:
    return cases()[name].config()


def rendering_of(name: str) -> Rendering:
    rendering = config(name).rendering(TOKENIZER)
    assert rendering is not None
    return rendering


def batch_of(name: str) -> torch.Tensor:
    """Two samples, and between them one without the modality."""
    case, codec = cases()[name], config(name).codec(TOKENIZER)
    first, second = (codec.decode(memoryview(data), case.field) for data in case.members[:2])
    return torch.from_numpy(codec.collate(codec.to_arrow([first, None, second])).values.copy())


RENDERED = [name for name in kinds() if name not in NOT_MADE]
each_rendering = pytest.mark.parametrize("name", RENDERED)


def test_the_others_say_that_none_can() -> None:
    for name in NOT_MADE:
        assert config(name).rendering(None) is None


@each_rendering
def test_a_network_can_model_what_a_codec_gives(name: str) -> None:
    rendering = pickle.loads(pickle.dumps(rendering_of(name)))
    torch.manual_seed(0)
    network = rendering.build(WIDTH)
    values, real = network.prepare(batch_of(name))
    assert values.shape == (3, *rendering.shape)
    assert torch.isfinite(values).all()
    assert real is None or (real.shape == values.shape and real.dtype == torch.bool)
    if rendering.symbols is not None:
        assert values.dtype == torch.int64
        assert 0 <= int(values.min()) <= int(values.max()) < rendering.symbols
    if rendering.bounded:
        assert 0 <= float(values.min()) < float(values.max()) <= 1
    latent = torch.randn(3, WIDTH)
    made = network(latent)
    symbols = () if rendering.symbols is None else (rendering.symbols,)
    assert made.shape == (3, *rendering.shape, *symbols)
    torch.testing.assert_close(network(latent[1:]), made[1:], rtol=1e-4, atol=1e-5)
    made.square().mean().backward()
    for weight_name, weight in network.named_parameters():
        assert weight.grad is not None, weight_name
        assert torch.isfinite(weight.grad).all(), weight_name


@each_rendering
def test_what_is_written_can_be_read_by_the_codec_and_is_the_value(name: str) -> None:
    rendering, codec = rendering_of(name), config(name).codec(TOKENIZER)
    network = rendering.build(WIDTH)
    statistics = config(name).training_statistics()
    if statistics is not None:
        codec_values = [
            codec.decode(memoryview(data), cases()[name].field) for data in cases()[name].members
        ]
        statistics.add(codec.to_arrow(codec_values))
        network.fit(json.loads(json.dumps(statistics.result())))
    values = batch_of(name)
    finished = network.finish(network.prepare(values).values, chances(values, 1))
    assert finished.dtype == torch.float32
    assert len(finished) == 3
    column = rendering.encode(finished.numpy())
    assert column.type == rendering.type
    for row in (0, 2):
        cell = column[row].as_py()
        data, field = rendering.member(cell)
        read = codec.collate(codec.to_arrow([codec.decode(memoryview(data), field)])).values[0]
        again, value = read.astype(np.float64), values[row].numpy().astype(np.float64)
        if name in NEARLY:
            assert np.corrcoef(again.ravel(), value.ravel())[0, 1] > 0.9
        else:
            np.testing.assert_allclose(again, value, rtol=1e-4, atol=1e-4)
        shown = rendering.show(cell)
        assert shown.medium == config(name).MEDIUM
        assert shown.content
    assert rendering.encode(finished.numpy()[:0]).type == rendering.type


@each_rendering
def test_wild_values_are_written_all_the_same(name: str) -> None:
    rendering = rendering_of(name)
    if rendering.symbols is not None:
        wild = torch.randint(0, rendering.symbols, (4, *rendering.shape))
    else:
        wild = torch.full((4, *rendering.shape), 1e30)
        wild[1::2] *= -1
    finished = rendering.build(WIDTH).finish(wild, chances(wild, 1))
    assert torch.isfinite(finished).all()
    assert rendering.encode(finished.numpy()).null_count == 0


@each_rendering
def test_chance_is_a_samples_own(name: str) -> None:
    network, values = rendering_of(name).build(WIDTH), batch_of(name)
    prepared = network.prepare(values).values
    together = network.finish(prepared, chances(values, 1))
    alone = network.finish(prepared[2:], type(chances(values, 1))(chances(values, 1).seeds[2:]))
    torch.testing.assert_close(alone, together[2:], rtol=1e-3, atol=1e-3)


def test_nothing_imports_torch_before_a_network_is_built() -> None:
    program = (
        "import sys; from pipeline.modalities import ModalitiesConfig\n"
        "import numpy as np\n"
        "image = ModalitiesConfig.model_validate({'image': {'size': 8}}).by_name()['image']\n"
        "image.rendering(None).encode(np.zeros((1, 8, 8, 3), np.float32))\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_texts_end_where_the_first_empty_place_is() -> None:
    rendering = rendering_of("text")
    codec = config("text").codec(TOKENIZER)
    [ids] = codec.tokenize(["a tone"])
    values = np.zeros((1, *rendering.shape), np.float32)
    values[0, : len(ids)] = ids
    assert rendering.encode(values).to_pylist() == ["a tone"]
    values[0, 0] = 0
    assert rendering.encode(values) == pa.array([""])

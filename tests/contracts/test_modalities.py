"""What every modality of the configuration keeps to: a new one is tested the moment it is listed."""

import pickle

import numpy as np
import pyarrow as pa
import pytest
import torch
from support.tones import png, wav
from support.vectors import npy, wave

from pipeline.errors import SampleError
from pipeline.modalities import ModalitiesConfig, kinds
from pipeline.modalities.base import ModalityConfig
from pipeline.modalities.text.codec import train_tokenizer
from pipeline.models.batch import to_tensors

# A member of each modality, and the settings that keep its test quick.
MEMBERS = {
    "image": ("png", png(), {"size": 32}),
    "text": ("txt", "a tone 音".encode(), {"max_tokens": 8, "vocab_size": 300}),
    "audio": ("wav", wav(), {"sample_rate_hz": 8000, "max_seconds": 0.5, "num_mels": 16}),
    "vector": ("npy", npy(wave(3, 0)), {"shape": [64, 2], "augment": {"noise_fraction": 0.1}}),
}
TOKENIZER = train_tokenizer(["a tone"], 300)
NAMES = list(kinds())


def config(name: str) -> ModalityConfig:
    settings = MEMBERS[name][2]
    return ModalitiesConfig.model_validate({name: settings}).by_name()[name]


@pytest.mark.parametrize("name", NAMES)
def test_from_bytes_to_features(name: str) -> None:
    field, data, _ = MEMBERS[name]
    codec = pickle.loads(pickle.dumps(config(name).codec(TOKENIZER)))
    value = codec.decode(memoryview(data), field)
    again = codec.decode(memoryview(data), field)
    np.testing.assert_array_equal(value, again)
    column = codec.to_arrow([value, None, value])
    assert column.type == codec.column.type
    table = pa.Table.from_arrays([column], schema=pa.schema([codec.column.with_name(name)]))
    batch = to_tensors(table, {name: codec})
    assert batch[f"{name}_present"].tolist() == [True, False, True]
    assert not batch[name][1].any(), "what is missing is zeros behind a mask"
    features = config(name).build_encoder(32)(batch[name])
    assert features.tokens.shape[0] == 3
    assert features.tokens.shape[2] == 32
    assert features.mask.shape == features.tokens.shape[:2]
    assert torch.isfinite(features.tokens).all()


@pytest.mark.parametrize("name", NAMES)
def test_augmentation_keeps_shape_and_follows_its_seed(name: str) -> None:
    field, data, _ = MEMBERS[name]
    codec = config(name).codec(TOKENIZER)
    column = codec.to_arrow([codec.decode(memoryview(data), field)] * 4)
    values = torch.from_numpy(codec.collate(column).values.copy())
    augment = config(name).augmentation()
    results = [augment(values.clone(), torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert results[0].shape == values.shape
    assert results[0].dtype == values.dtype
    assert torch.equal(results[0], results[1])


@pytest.mark.parametrize("name", NAMES)
def test_what_cannot_be_decoded_is_a_sample_error(name: str) -> None:
    codec = config(name).codec(TOKENIZER)
    with pytest.raises(SampleError) as caught:
        codec.decode(memoryview(b"\xff\xfe\xfd" * 40), MEMBERS[name][0])
    assert caught.value.field == MEMBERS[name][0]


@pytest.mark.parametrize("name", NAMES)
def test_shown_is_text_or_bytes(name: str) -> None:
    field, data, _ = MEMBERS[name]
    shown = config(name).codec(TOKENIZER).show(memoryview(data), field)
    assert isinstance(shown, str | bytes)
    assert shown

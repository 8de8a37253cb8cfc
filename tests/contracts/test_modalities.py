"""What every modality of the configuration keeps to: a new one is tested the moment it is listed."""

import json
import pickle

import numpy as np
import pyarrow as pa
import pytest
import torch
from support.chances import chances
from support.clips import clip
from support.tones import png, wav
from support.vectors import npy, wave

from pipeline.cleaning import CleaningConfig
from pipeline.errors import SampleError
from pipeline.metrics.statistics import Measure, add_sums, statistics
from pipeline.modalities import ModalitiesConfig, kinds
from pipeline.modalities.base import ModalityConfig
from pipeline.modalities.chance import Chance
from pipeline.modalities.content import Content, sniff
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.modalities.decoding.naming import under_name
from pipeline.modalities.facets import ProbeRules
from pipeline.modalities.shown import Film, MarkedText, Shown
from pipeline.modalities.text.codec import train_tokenizer
from pipeline.models.batch import to_tensors
from pipeline.sample import Field, Sample

# A member of each modality, and the settings that keep its test quick.
MEMBERS = {
    "image": ("png", png(), {"size": 32}),
    "text": ("txt", "a tone 音".encode(), {"max_tokens": 8, "vocab_size": 300}),
    "audio": ("wav", wav(), {"sample_rate_hz": 8000, "max_seconds": 0.5, "num_mels": 16}),
    "video": ("mp4", clip(), {"size": 16, "frames": 4, "max_minutes": 1}),
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
    results = [augment(values.clone(), chances(values, seed)) for seed in (1, 1, 2)]
    assert results[0].shape == values.shape
    assert results[0].dtype == values.dtype
    assert torch.equal(results[0], results[1])
    alone = augment(values[3:].clone(), Chance(chances(values, 1).seeds[3:]))
    assert torch.equal(alone, results[0][3:]), "its chance is a sample's own, whatever its batch"


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


@pytest.mark.parametrize("name", NAMES)
def test_its_medium_says_how_what_it_shows_is_shown(name: str) -> None:
    field, data, _ = MEMBERS[name]
    shown = config(name).codec(TOKENIZER).show(memoryview(data), field)
    beginnings = {"picture": b"\x89PNG", "plot": b"\x89PNG", "sound": b"RIFF"}
    medium = config(name).MEDIUM
    if medium == "film":
        assert isinstance(shown, bytes)
        film = Film.from_bytes(shown)
        assert sniff(film.strip) == "png"
        assert sniff(film.player) == "matroska"
        return
    assert isinstance(shown, str) if medium == "text" else shown.startswith(beginnings[medium])


@pytest.mark.parametrize("name", NAMES)
def test_a_value_that_was_not_changed_is_shown_or_says_that_it_cannot_be(name: str) -> None:
    field, data, _ = MEMBERS[name]
    codec = config(name).codec(TOKENIZER)
    [value] = codec.collate(codec.to_arrow([codec.decode(memoryview(data), field)])).values
    shown = config(name).show_augmented(codec, value, value)
    assert shown is None or isinstance(shown, Shown | MarkedText)
    if isinstance(shown, MarkedText):
        assert all(is_there for _, is_there in shown.pieces)


@pytest.mark.parametrize("name", NAMES)
def test_a_header_of_a_good_member_has_no_fault_and_its_notes_have_words(name: str) -> None:
    field, data, _ = MEMBERS[name]
    content = Content(len(data), memoryview(data))
    rules = ProbeRules(read_bytes=1 << 20, verify="full")
    facts = config(name).probe(content, field, sniff(data), rules)
    assert facts.fault is None
    assert set(facts.notes) <= set(config(name).remarks())
    assert all(np.isfinite(number) for number in facts.ranges.values())


@pytest.mark.parametrize("name", NAMES)
def test_a_member_is_alike_itself(name: str) -> None:
    field, data, _ = MEMBERS[name]
    likeness = pickle.loads(pickle.dumps(config(name).likeness()))
    if likeness is None:
        return
    nearness = getattr(CleaningConfig(), likeness.setting)
    row = likeness.sign(config(name).codec(TOKENIZER), memoryview(data), field)
    assert (row.shape, row.dtype) == ((likeness.num_bytes,), np.uint8)
    comparison = likeness.compare(np.stack([row, row]), nearness)
    assert comparison.alike(np.array([0]), np.array([1])).all()
    assert all(keys[0] == keys[1] for keys in comparison.tables())


@pytest.mark.parametrize("name", NAMES)
def test_sums_of_parts_add_up_to_those_of_the_whole(name: str) -> None:
    """Whatever is measured, or nothing: ``preprocess`` goes through, and its statistics are JSON without NaN."""
    field, data, _ = MEMBERS[name]
    decoder = Decoder.build(ModalitiesConfig.model_validate({name: MEMBERS[name][2]}), TOKENIZER)
    samples = [
        Sample(f"k{index}", "x.tar", index, {field: Field(memoryview(data), 0, len(data))})
        for index in range(3)
    ]
    columns = {name: pickle.loads(pickle.dumps(config(name).measure()))}
    measure = Measure(columns)
    parts = [measure(decoder.decode(part, "{}")) for part in (samples[:1], samples[1:])]
    whole = measure(decoder.decode(samples, "{}"))
    assert add_sums(*parts) == add_sums({}, whole)
    described = statistics(whole, decoder.schema, columns)["modalities"][name]
    assert described["present"] == 3
    json.dumps(described, allow_nan=False)


@pytest.mark.parametrize("name", NAMES)
def test_it_may_have_another_name_and_a_fault_names_the_setting_of_that_name(name: str) -> None:
    field, data, settings = MEMBERS[name]
    limit = config(name).LIMITS[0]
    tree = {"kind": name, **settings, "fields": [f"other.{field}"]}
    modalities = ModalitiesConfig.model_validate({"other": tree})
    decoder = Decoder.build(modalities, TOKENIZER)
    good = Sample("k", "x.tar", 0, {f"other.{field}": Field(memoryview(data), 0, len(data))})
    table = decoder.decode([good], "{}")
    assert table.schema.names[-1] == "other"
    assert table["modalities"].to_pylist() == [["other"]]
    fault = SampleError("over", reason="too_large", setting=f"modalities.{name}.{limit}")
    assert under_name(fault, "other").setting == f"modalities.other.{limit}"


def test_a_fault_of_decoding_says_the_configured_name() -> None:
    tree = {"title": {"kind": "text", "fields": ["txt"], "vocab_size": 300, "max_bytes": 4}}
    decoder = Decoder.build(ModalitiesConfig.model_validate(tree), TOKENIZER)
    long = Sample("k", "x.tar", 0, {"txt": Field(memoryview(b"too long"), 0, 8)})
    error = decoder.decode([long], "{}")["error"].to_pylist()[0]
    assert error["setting"] == "modalities.title.max_bytes"
    assert "modalities.title.max_bytes is 4" in error["detail"]


def test_all_texts_of_a_sample_train_the_one_tokenizer() -> None:
    tree = {
        "title": {"kind": "text", "fields": ["title"], "vocab_size": 300},
        "text": {"vocab_size": 300},
    }
    modalities = ModalitiesConfig.model_validate(tree)
    members = {"txt": memoryview(b"a body"), "title": memoryview(b"a title")}
    assert list(modalities.training_texts(members)) == ["a body", "a title"]
    assert list(modalities.training_texts({"txt": memoryview(b"\xff")})) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_cheap_model_sees_a_few_numbers_of_it(name: str) -> None:
    field, data, _ = MEMBERS[name]
    features = pickle.loads(pickle.dumps(config(name).cheap_features()))
    value = features.codec.decode(memoryview(data), field)
    values, present = features.codec.collate(features.codec.to_arrow([value, None, value]))
    kept = features.extract(values)
    assert len(kept) == 3
    assert features.name
    seen = features.vectorizer().fit_transform(kept[np.flatnonzero(present)])
    assert seen.shape[0] == 2
    assert seen.shape[1] < 5000
    assert np.isfinite(seen.toarray() if hasattr(seen, "toarray") else seen).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_gets_worse_step_by_step_by_its_own_chance(name: str) -> None:
    field, data, _ = MEMBERS[name]
    codec = config(name).codec(TOKENIZER)
    column = codec.to_arrow([codec.decode(memoryview(data), field)] * 4)
    values = torch.from_numpy(codec.collate(column).values.copy())
    if name == "image":  # of one colour, which no blur changes
        values = torch.arange(values.numel()).remainder(251).to(values.dtype).view(values.shape)
    corruptions = config(name).corruptions(codec)
    assert corruptions
    for corruption in corruptions.values():
        assert corruption.unit
        distances = []
        for severity in corruption.severities:
            before = values.clone()
            changed, again = (
                corruption.change(values, severity, chances(values, 1)) for _ in range(2)
            )
            assert torch.equal(values, before), "what it is given stays as it is"
            assert (changed.shape, changed.dtype) == (values.shape, values.dtype)
            assert torch.isfinite(changed.float()).all()
            assert torch.equal(changed, again)
            alone = corruption.change(values[3:], severity, Chance(chances(values, 1).seeds[3:]))
            assert torch.equal(alone, changed[3:]), "whatever its batch"
            distances.append(float((changed.double() - values.double()).abs().mean()))
        assert distances[-1] > distances[0]
        assert distances == sorted(distances) or name == "text", "ids move with what is dropped"

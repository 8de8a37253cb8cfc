"""What losses and weights of classes do to a classifier of few and many samples."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from pipeline.modalities.text.encoders.transformer import TextEncoder
from pipeline.objectives.classify import ClassifyConfig
from pipeline.objectives.classify.labels import LabelSurvey
from pipeline.objectives.classify.model import Classifier
from pipeline.objectives.losses import (
    effective_number_weights,
    focal_loss,
    inverse_frequency_weights,
)
from pipeline.training.optimization.optimizers import build_optimizer

CLASSES = ("common", "rare")
PLAIN = {
    "width": 32,
    "dropout": 0.0,
    "modality_dropout": 0.0,
    "label_smoothing": 0.0,
    "unimodal_weight": 0.0,
}
IMBALANCE = (
    {},
    {"loss": "focal"},
    {"loss": "focal", "gamma": 0.5, "label_smoothing": 0.1},
    {"class_weights": "balanced"},
    {"class_weights": "effective", "beta": 0.99, "loss": "focal"},
)


def learned(config: ClassifyConfig, labels: list[str]) -> dict[str, Any]:
    return dict(config.learn(LabelSurvey("cls", Counter(labels))))


def build(labels: list[str], **settings: Any) -> Classifier:
    torch.manual_seed(0)
    config = ClassifyConfig.model_validate({**PLAIN, **settings})
    return config.build({"text": TextEncoder(30, 6, 32)}, learned(config, labels))


def texts_of(labels: list[str], seed: int) -> torch.Tensor:
    """Six tokens of each sample; 21 to 25 are more frequent in the rare class, and do not give it away."""
    rng = np.random.default_rng(seed)
    share = np.where(np.array(labels) == "rare", 0.3, 0.1)[:, None]
    telling = rng.random((len(labels), 6)) < share
    tokens = np.where(
        telling, rng.integers(21, 26, telling.shape), rng.integers(1, 21, telling.shape)
    )
    return torch.from_numpy(tokens)


def batch_of(model: Classifier, texts: torch.Tensor, labels: list[str]) -> dict[str, torch.Tensor]:
    present = torch.ones(len(labels), dtype=torch.bool)
    return {"text": texts, "text_present": present, **model.targets(labels)}


def fit(model: Classifier, batch: dict[str, torch.Tensor], steps: int, rate: float) -> None:
    optimizer = build_optimizer(model, rate, 0.0)
    model.train()
    for _ in range(steps):
        loss, _ = model(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()


@pytest.mark.parametrize("settings", IMBALANCE)
def test_overfits_one_batch(settings: dict[str, Any]) -> None:
    labels = ["common"] * 6 + ["rare"] * 2
    model = build(labels, **settings)
    batch = batch_of(model, texts_of(labels, 0), labels)
    fit(model, batch, 60, 3e-3)
    predicted = model.predict(batch)["probabilities"].argmax(dim=1)
    assert torch.equal(predicted, batch["label"])


def test_losses_are_weighed_by_the_class_of_the_sample() -> None:
    labels = ["common"] * 6 + ["rare"] * 2
    plain = build(labels).eval()
    batch = batch_of(plain, texts_of(labels, 0), labels)
    logits = plain.answer(batch).outputs
    expected = {
        "balanced": inverse_frequency_weights([6, 2]),
        "effective": effective_number_weights([6, 2], 0.5),
    }
    for kind, weights in expected.items():
        model = build(labels, class_weights=kind, beta=0.5).eval()
        losses = model.losses(logits, batch)
        assert torch.allclose(losses, plain.losses(logits, batch) * weights[batch["label"]])
        assert set(model.state_dict()) == set(plain.state_dict()), "a bundle's weights are the same"


def test_the_focal_loss_is_used_where_it_is_asked_for() -> None:
    labels = ["common"] * 6 + ["rare"] * 2
    model = build(labels, loss="focal", gamma=1.5, label_smoothing=0.1).eval()
    batch = batch_of(model, texts_of(labels, 0), labels)
    logits = model.answer(batch).outputs
    assert torch.equal(model.losses(logits, batch), focal_loss(logits, batch["label"], 1.5))
    model.train()
    smoothed = focal_loss(logits, batch["label"], 1.5, 0.1)
    assert torch.equal(model.losses(logits, batch), smoothed)


def test_counts_are_learned_only_where_they_are_used() -> None:
    labels = ["common"] * 3 + ["rare"]
    assert learned(ClassifyConfig(), labels) == {"classes": ["common", "rare"]}
    for settings in ({"class_weights": "balanced"}, {"balanced_sampling": 0.5}):
        config = ClassifyConfig(classes=["rare", "common", "absent"], **settings)
        assert learned(config, labels) == {
            "classes": ["rare", "common", "absent"],
            "counts": [1, 3, 0],
        }


def rare_recall(**settings: Any) -> float:
    """Recall of a class with one in ten samples, on samples that were not trained on."""
    labels = ["common"] * 360 + ["rare"] * 40
    model = build(labels, **settings)
    texts = texts_of(labels, 1)
    rows = np.arange(len(labels))
    config = ClassifyConfig.model_validate(settings)
    repeats = config.repeats(learned(config, labels), 0)
    if repeats is not None:
        table = pa.table({"key": list(map(str, rows)), "shard": ["a"] * 400, "label": labels})
        rows = rows.repeat(repeats(table, 0))
    batch = batch_of(model, texts[rows], [labels[row] for row in rows])
    fit(model, batch, 40, 1e-3)
    unseen = ["rare"] * 400
    predicted = model.predict(batch_of(model, texts_of(unseen, 2), unseen))["probabilities"]
    return float((predicted.argmax(dim=1) == 1).float().mean())


def test_weights_and_repeats_raise_the_recall_of_a_rare_class() -> None:
    plain, balanced = rare_recall(), rare_recall(class_weights="balanced")
    assert balanced > plain + 0.2
    assert plain + 0.05 < rare_recall(class_weights="effective", beta=0.99) < balanced
    assert rare_recall(balanced_sampling=1.0) > plain + 0.03

"""What keeps one modality from drowning another: coefficients by hand, and what they do to loss and gradients."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from pipeline.config import Config
from pipeline.engine.plans.checks import Needs, check
from pipeline.errors import ConfigError
from pipeline.modalities import ModalitiesConfig
from pipeline.objectives.classify import ClassifyConfig
from pipeline.objectives.fused.balance import (
    GradientBlending,
    blending_weights,
    modulation,
)
from pipeline.objectives.fused.gradients import slow
from pipeline.objectives.regress import RegressConfig
from pipeline.objectives.sealed import build

MODALITIES = ModalitiesConfig.model_validate(
    {"image": {"size": 8}, "text": {"vocab_size": 300, "max_tokens": 4}}
)
STILL: dict[str, Any] = {"width": 32, "dropout": 0.0, "modality_dropout": 0.0}
B = 6


def network(**settings: Any) -> Any:
    torch.manual_seed(0)
    config = ClassifyConfig.model_validate(
        {**STILL, "fusion": {"kind": "mean", "dropout": 0.0}, "label_smoothing": 0.0, **settings}
    )
    return build(config, MODALITIES, {"classes": ["a", "b"]})


def batch() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "image": torch.randint(0, 256, (B, 8, 8, 3), generator=generator, dtype=torch.uint8),
        "text": torch.randint(1, 50, (B, 4), generator=generator),
        "image_present": torch.ones(B, dtype=torch.bool),
        "text_present": torch.ones(B, dtype=torch.bool),
        "label": torch.arange(B) % 2,
    }


BEFORE = {"train_loss": 1.0, "val_loss": 1.2, "train_loss_image": 2.0, "val_loss_image": 2.1}
AFTER = {"train_loss": 0.4, "val_loss": 0.8, "train_loss_image": 0.5, "val_loss_image": 1.9}
BEFORE |= {"train_loss_text": 1.5, "val_loss_text": 1.5}
AFTER |= {"train_loss_text": 1.0, "val_loss_text": 1.6}


def test_blending_is_generalisation_over_overfitting_squared() -> None:
    fused = (1.2 - 0.8) / ((0.8 - 0.4) - (1.2 - 1.0)) ** 2
    image = (2.1 - 1.9) / ((1.9 - 0.5) - (2.1 - 2.0)) ** 2
    weights = blending_weights(BEFORE, AFTER, ["image", "text"])
    assert weights["fused"] == pytest.approx(fused / (fused + image))
    assert weights["image"] == pytest.approx(image / (fused + image))
    assert weights["text"] == 0.0, "its validation loss rose"
    assert blending_weights(AFTER, BEFORE, ["image"]) == {}, "nothing has got better"
    assert blending_weights({}, AFTER, ["image"]) == {}


def test_blending_compares_the_ends_of_whole_stretches() -> None:
    balance = GradientBlending(epochs=2)
    rows = [
        {**BEFORE, "val_loss": 1.2 - 0.1 * i, "val_loss_image": 2.1 - 0.01 * i} for i in range(6)
    ]
    names = ["image"]
    assert balance.loss_weights(rows[:1], names) == {}
    assert balance.loss_weights(rows[:2], names) == blending_weights(rows[0], rows[1], names)
    for done in (4, 5):
        assert balance.loss_weights(rows[:done], names) == blending_weights(rows[1], rows[3], names)
    worse = [*rows[:4], rows[0], rows[0]]
    assert balance.loss_weights(worse, names) == blending_weights(rows[1], rows[3], names), (
        "nothing has got better since: they stay, also for who has seen no more than the log"
    )


def test_shares_weigh_the_losses() -> None:
    model = network(unimodal_weight=0.5, balance={"kind": "gradient_blending"}).eval()
    loss, sums = model(batch())
    alone = (sums["loss_image"] + sums["loss_text"]) / B
    assert loss.item() == pytest.approx((sums["loss"] / B + 0.5 * alone).item(), rel=1e-5)
    model.weigh({"fused": 0.5, "image": 0.3, "text": 0.2})
    blended, _ = model(batch())
    parts = 0.5 * sums["loss"] + 0.3 * sums["loss_image"] + 0.2 * sums["loss_text"]
    assert blended.item() == pytest.approx((1.5 * parts / B).item(), rel=1e-5)
    assert model.monitored({name: float(value) for name, value in sums.items()}) == {
        f"loss_{name}": pytest.approx(float(sums[f"loss_{name}"]) / B) for name in ("image", "text")
    }
    model.weigh({})
    assert model(batch())[0].item() == blended.item(), "no news"
    assert not any("shares" in name for name in model.state_dict())


def test_of_many_modalities_one_stands_for_all_unless_they_answer_by_themselves() -> None:
    """Training shows one modality of each sample alone, drawn at random, or all of them."""
    weights = {"fused": 0.2, "image": 0.4, "text": 0.4}
    for fusion, views, factor in (("concat", 2, 2), ("mean", 3, 1)):
        model = network(fusion={"kind": fusion}, balance={"kind": "gradient_blending"}).train()
        present = torch.tensor([[True, True], [True, False]])
        shown = model._views(present)
        assert shown.shape == (views, 2, 2)
        assert (shown[1:].sum(dim=(0, 2)) == torch.tensor([views - 1, 1])).all()
        assert not (shown & ~present).any()
        model.weigh(weights)
        expected = [0.4, factor * 0.8, factor * 0.8]
        assert model.shares.tolist() == pytest.approx(expected)


def test_a_modality_has_a_weight_of_its_own() -> None:
    plain, heavier = network().eval(), network(unimodal_weights={"text": 3.0}).eval()
    loss, sums = plain(batch())
    more = heavier(batch())[0] - loss
    assert more.item() == pytest.approx((2 * sums["loss_text"] / B).item(), rel=1e-4)


def test_modulation_by_hand() -> None:
    two = modulation({"image": 0.9, "text": 0.3}, 0.5)
    assert two == {"image": pytest.approx(1 - math.tanh(0.5 * 0.9 / 0.3)), "text": 1.0}
    three = modulation({"image": 0.6, "text": 0.5, "audio": 0.1}, 0.2)
    assert three["image"] == pytest.approx(1 - math.tanh(0.2 * 0.6 / 0.3))
    assert three["text"] == pytest.approx(1 - math.tanh(0.2 * 0.5 / 0.35))
    assert three["audio"] == 1.0
    assert modulation({"image": 0.9}, 0.5) == {"image": 1.0}, "there is no other"
    assert modulation({}, 0.5) == {}
    assert 0 <= modulation({"image": 0.9, "text": 0.0}, 0.5)["image"] < 1e-6


def gradients(model: Any) -> dict[str, torch.Tensor]:
    return {name: weight.grad.clone() for name, weight in model.named_parameters()}


def test_only_the_encoder_that_is_ahead_is_slowed() -> None:
    model = network(balance={"kind": "ogm_ge", "alpha": 0.4, "noise": False}).eval()
    loss, sums = model(batch())
    loss.backward()
    before = gradients(model)
    probabilities = {}
    for name, other in (("image", "text"), ("text", "image")):
        alone = {**batch(), f"{other}_present": torch.zeros(B, dtype=torch.bool)}
        right = model.predict(alone)["probabilities"].gather(1, batch()["label"][:, None])
        probabilities[name] = right.mean().item()
        assert (sums[f"confidence_{name}"] / B).item() == pytest.approx(
            probabilities[name], rel=1e-4
        )
    model.modulate({name: float(value) for name, value in sums.items()}, seed=0)
    ahead, behind = sorted(probabilities, key=probabilities.get, reverse=True)
    coefficient = 1 - math.tanh(0.4 * probabilities[ahead] / probabilities[behind])
    for name, gradient in gradients(model).items():
        factor = coefficient if name.startswith(f"encoders.{ahead}.") else 1.0
        torch.testing.assert_close(gradient, factor * before[name], rtol=1e-3, atol=1e-9)


def test_noise_has_the_gradients_deviation_and_is_the_seeds() -> None:
    parameter = torch.nn.Parameter(torch.zeros(400, 50))
    untouched = torch.nn.Parameter(torch.zeros(3))
    torch.manual_seed(0)
    gradient = 5.0 + 2.0 * torch.randn(400, 50)
    noises = []
    for seed in (1, 1, 2):
        parameter.grad = gradient.clone()
        slow([parameter, untouched], 0.25, torch.Generator().manual_seed(seed))
        noises.append(parameter.grad - 0.25 * gradient)
    assert torch.equal(noises[0], noises[1])
    assert not torch.equal(noises[0], noises[2])
    assert noises[0].std().item() == pytest.approx(gradient.std().item(), rel=0.03)
    assert abs(noises[0].mean().item()) < 0.05
    assert untouched.grad is None
    parameter.grad = gradient.clone()
    slow([parameter], 1.0, torch.Generator().manual_seed(1))
    assert torch.equal(parameter.grad, gradient), "who is not ahead has no noise"


def test_an_objective_without_probabilities_is_as_sure_as_its_loss_says() -> None:
    config = RegressConfig.model_validate({**STILL, "balance": {"kind": "ogm_ge"}})
    model = build(config, MODALITIES, {"mean": [0.0], "deviation": [1.0]}).eval()
    values = {**batch(), "target": torch.zeros(B, 1)}
    sums = model(values)[1]
    alone = {**values, "text_present": torch.zeros(B, dtype=torch.bool)}
    squares = model.predict(alone)["prediction"].square()
    assert (sums["confidence_image"] / B).item() == pytest.approx(
        squares.neg().exp().mean().item(), rel=1e-4
    )


def test_settings_that_would_leave_modalities_untrained_are_refused() -> None:
    for wrong in (
        {"fusion": {"kind": "stacking"}},
        {"balance": {"kind": "gradient_blending"}},
    ):
        with pytest.raises(ValidationError, match="objective.unimodal_weight must be more than 0"):
            ClassifyConfig.model_validate({"unimodal_weight": 0.0, **wrong})
    assert ClassifyConfig(unimodal_weight=0.0).balance.kind == "none", "off unless asked for"
    section = {"run": "r", "modalities": {"text": {}}}
    with pytest.raises(ValidationError, match="names image, and the modalities are text"):
        Config.model_validate({**section, "objective": {"unimodal_weights": {"image": 2.0}}})


def test_gradient_blending_without_a_validation_split_is_refused_with_the_configuration() -> None:
    section = {"run": "r", "modalities": {"text": {}}}
    blending = {"label": "cls", "balance": {"kind": "gradient_blending"}}
    config = Config.model_validate({**section, "objective": blending})
    with pytest.raises(ConfigError, match="nothing is validated"):
        check(config, Needs(objective=True))
    validated = {**section, "input": {"val": "y.tar"}, "objective": blending}
    check(Config.model_validate(validated), Needs(objective=True))
    check(config, Needs())  # what a model makes of samples needs no such split


def test_outputs_are_joined_only_where_the_objective_says_how() -> None:
    model = network()
    config = model.settings.fusion
    with pytest.raises(ConfigError, match="does not say how outputs"):
        config.head(32, 2, ("image", "text"), None)

"""What the players are after, by brute force, and that neither moves the other."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Any, cast

import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

from pipeline.errors import ConfigError
from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.chance import CHANCE, Chance
from pipeline.objectives import ObjectiveConfig
from pipeline.objectives.gan import GanConfig
from pipeline.objectives.gan.augment import CUT, SHIFT, diff_augment
from pipeline.objectives.gan.losses import (
    discriminator_losses,
    generator_losses,
    gradient_penalties,
    reconstruction_losses,
)
from pipeline.objectives.gan.model import DISCRIMINATOR, GENERATOR, AdversarialPair
from pipeline.objectives.gan.networks.players import held
from pipeline.objectives.gan.networks.spectral import spectral_norm
from pipeline.objectives.gan.networks.warped import moved
from pipeline.objectives.network import Batch, Turn
from pipeline.objectives.sealed import build
from pipeline.training.loop import Training
from pipeline.training.recipe import Recipe
from pipeline.training.steps import Steps

B, SIZE = 8, 8
MODALITIES = ModalitiesConfig.model_validate(
    {"image": {"fields": ["png"], "size": SIZE}, "text": {"vocab_size": 300, "max_tokens": 4}}
)


def config(**settings: Any) -> GanConfig:
    tree = {"kind": "gan", "width": 32, "channels": 8, "noise": 4, "label": "cls", **settings}
    return cast(GanConfig, TypeAdapter(ObjectiveConfig).validate_python(tree))


def pair(seed: int = 0, **settings: Any) -> AdversarialPair:
    section = config(**settings)
    torch.manual_seed(seed)
    values = {"values": {place: ["a", "b"] for place in section.label}}
    learned = {**values, **section.about_inputs(MODALITIES.by_name())}
    return cast(AdversarialPair, build(section, MODALITIES, learned))


def batch_of(network: AdversarialPair, seed: int = 0) -> dict[str, Tensor]:
    """Pictures of a are dark, of b light; the last sample has none."""
    generator = torch.Generator().manual_seed(seed)
    labels = ["a", "b"] * (B // 2)
    levels = torch.tensor([40.0 if label == "a" else 210.0 for label in labels])
    noise = 5 * torch.randn(B, SIZE, SIZE, 3, generator=generator)
    batch = {
        "image": (levels[:, None, None, None] + noise).clamp(0, 255).to(torch.uint8),
        "text": torch.randint(1, 50, (B, 4), generator=generator),
        CHANCE: torch.arange(B) + 1000 * seed,
        "image_present": torch.arange(B) < B - 1,
        "text_present": torch.arange(B) > 0,
    }
    return batch | network.targets([f'{{"cls": ["{label}"]}}' for label in labels])


class Feed:
    """The same batch, a few times an epoch, with chance of its own each time; nobody goes on within one."""

    position, order, keys = 0, dict[str, int](), None

    def __init__(self, network: AdversarialPair, steps: int = 3) -> None:
        self.batch, self.steps, self.samples = batch_of(network), steps, 0

    def num_batches(self, epoch: int) -> int:
        return self.steps

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        for step in range(start, self.steps):
            yield {**self.batch, CHANCE: torch.arange(B) + 100 * (epoch * self.steps + step)}


def trained(network: AdversarialPair, steps: int = 3, **recipe: Any) -> Training:
    settings = {"learning_rate": 2e-3, "max_gradient_norm": 100.0, **recipe}
    training = Training(network, Feed(network, steps), Recipe(1, **settings))
    training.run()
    return training


@pytest.mark.parametrize("kind", ["hinge", "non_saturating"])
def test_losses_are_their_definitions(kind: Any) -> None:
    real, fake = torch.tensor([-2.0, 0.3, 4.0]), torch.tensor([1.5, -0.2, -3.0])
    for row, (r, f) in enumerate(zip(real.tolist(), fake.tolist(), strict=True)):
        chances = [1 / (1 + math.exp(-logit)) for logit in (r, f)]
        expected = {
            "hinge": (max(0, 1 - r) + max(0, 1 + f), -f),
            "non_saturating": (
                -math.log(chances[0]) - math.log(1 - chances[1]),
                -math.log(chances[1]),
            ),
        }[kind]
        assert float(discriminator_losses(real, fake, kind)[row]) == pytest.approx(expected[0])
        assert float(generator_losses(fake, kind)[row]) == pytest.approx(expected[1])


def test_the_penalty_is_the_squared_norm_of_each_values_own_gradient() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 1)).double()
    values = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    penalties = gradient_penalties(network(values)[:, 0], values)
    for row in range(3):
        slopes = []
        for place in range(5):
            moved = [values[row].detach().clone() for _ in range(2)]
            moved[0][place] += 1e-5
            moved[1][place] -= 1e-5
            slopes.append((network(moved[0]) - network(moved[1])).item() / 2e-5)
        assert penalties[row].item() == pytest.approx(sum(s * s for s in slopes), rel=1e-6)
    penalties.sum().backward()
    assert network[0].weight.grad is not None, "it is differentiated once more"


def test_the_loss_of_making_values_again_is_that_of_laplace_noise_by_brute_force() -> None:
    torch.manual_seed(0)
    real, again = (
        torch.randn(3, 2, 5, dtype=torch.float64),
        torch.randn(3, 2, 5, dtype=torch.float64),
    )
    location, log_scale = (
        torch.randn(3, 4, dtype=torch.float64),
        torch.randn(3, 4, dtype=torch.float64),
    )
    scale, numbers = 0.7, 10
    losses = reconstruction_losses(real, again, location, log_scale, scale)
    prior = torch.distributions.Normal(0.0, 1.0)
    for row in range(3):
        noise = torch.distributions.Laplace(again[row], scale)
        likelihood = float(noise.log_prob(real[row]).sum())
        nats = 0.0
        for place in range(4):
            told = torch.distributions.Normal(location[row, place], log_scale[row, place].exp())
            nats += float(torch.distributions.kl_divergence(told, prior))
        bound = nats - likelihood - numbers * math.log(2 * scale)
        assert float(losses[row]) == pytest.approx(bound * scale / numbers)


def test_noise_comes_to_stand_for_what_values_of_one_label_differ_in() -> None:
    """Every other sample of each label is darker by 30; its noise says which, and drawn noise makes both."""
    network = pair(reconstruction=10.0, reconstruction_scale=0.05, augment=[], noise=1).train()
    batch = batch_of(network)
    darker = (torch.arange(B) // 2 % 2)[:, None, None, None] * 30
    batch |= {"image": (batch["image"].int() - darker).clamp(0).to(torch.uint8)}
    batch["text_present"] = torch.zeros(B, dtype=torch.bool)
    optimizer = torch.optim.Adam(network.generator.parameters(), 5e-3)
    losses = []
    for step in range(100):
        loss, sums = network.loss({**batch, CHANCE: torch.arange(B) + 100 * step}, GENERATOR)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(sums["reconstruction"] / sums["generated"]))
    assert losses[-1] < 0.3 * losses[0]
    network.eval()
    made = torch.stack([
        network.predict({**batch, CHANCE: torch.arange(B) + 10**6 + B * time})["generated_image"]
        for time in range(16)
    ]).mean(dim=(2, 3, 4))  # fmt: skip
    # 2 to 9 by the number of threads; 0.1 where noise tells nothing of values.
    assert float(made[:, 0::2].std()) > 1
    assert float(made[:, 1::2].std()) > 1


def test_maps_are_moved_and_stretched_by_brute_force() -> None:
    maps = torch.randn(4, 2, 5, 9)
    across, down = torch.tensor([0.0, 2 / 9, -0.3, 0.1]), torch.tensor([0.0, -2 / 5, 0.2, 0.0])
    squeeze = torch.tensor([1.0, 1.0, 1.4, 0.6])
    seen = moved(maps, across, down, squeeze)
    torch.testing.assert_close(seen[0], maps[0])
    torch.testing.assert_close(
        seen[1][:, 1:, :-1], maps[1][:, :-1, 1:], msg="a pixel left and down"
    )
    for row, image in enumerate(maps):
        for y in range(5):
            for x in range(9):
                middle = float(squeeze[row]) * ((x + 0.5) / 4.5 - 1) + float(across[row])
                column = min(max((middle + 1) * 4.5 - 0.5, 0.0), 8.0)
                line = min(max(y + 2.5 * float(down[row]), 0.0), 4.0)
                left, top = int(column), int(line)
                right, bottom = min(left + 1, 8), min(top + 1, 4)
                a, b = column - left, line - top
                above = (1 - a) * image[:, top, left] + a * image[:, top, right]
                below = (1 - a) * image[:, bottom, left] + a * image[:, bottom, right]
                expected = (1 - b) * above + b * below
                torch.testing.assert_close(seen[row, :, y, x], expected, rtol=1e-4, atol=1e-5)


def test_what_differs_in_place_alone_is_one_map_to_a_warped_generator() -> None:
    """A bar that stands anywhere is made again where it stands, and as sharp as it is."""
    network = pair(network="warped", reconstruction=10.0, reconstruction_scale=0.05, augment=[])
    network.train()
    batch = batch_of(network)
    image = torch.full((B, SIZE, SIZE, 3), 30, dtype=torch.uint8)
    for row in range(B):
        image[row, :, row % 4 + 2] = 220
    batch |= {"image": image, "text_present": torch.zeros(B, dtype=torch.bool)}
    optimizer = torch.optim.Adam(network.generator.parameters(), 5e-3)
    for step in range(60):
        loss, sums = network.loss({**batch, CHANCE: torch.arange(B) + 100 * step}, GENERATOR)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(sums["reconstruction"] / sums["generated"]) < 0.15
    places = network.generator.network.place.weight.grad
    assert places is not None
    assert places.abs().sum() > 0


def test_augmentation_is_by_brute_force_and_lets_gradients_through() -> None:
    maps = torch.randn(6, 3, 16, 12, requires_grad=True)
    chance = Chance(torch.arange(6))
    drawn = Chance(torch.arange(6)).stream("colour").uniform(3)
    coloured = diff_augment(maps, ["colour"], chance)
    shifted = diff_augment(maps, ["translation"], chance)
    cut = diff_augment(maps, ["cutout"], chance)
    for row, original in enumerate(maps.detach()):
        brightness, saturation, contrast = drawn[row].tolist()
        bright = original + brightness - 0.5
        grey = bright.mean(0)
        saturated = grey + (bright - grey) * 2 * saturation
        expected = saturated.mean() + (saturated - saturated.mean()) * (contrast + 0.5)
        torch.testing.assert_close(coloured[row], expected, rtol=1e-4, atol=1e-5)
        limits = [round(SHIFT * side) for side in (16, 12)]
        moves = [
            (down, right)
            for down in range(-limits[0], limits[0] + 1)
            for right in range(-limits[1], limits[1] + 1)
        ]
        padded = nn.functional.pad(original, (4, 4, 4, 4))
        views = [padded[:, 4 - d : 20 - d, 4 - r : 16 - r] for d, r in moves]
        assert sum(torch.equal(shifted[row], view) for view in views) == 1
        hidden = (cut[row] == 0).all(0)
        assert 0 < int(hidden.sum()) <= int(16 * CUT) * int(12 * CUT)
        rows, columns = hidden.any(1).nonzero(), hidden.any(0).nonzero()
        assert hidden.sum() == len(rows) * len(columns), "one rectangle"
        assert torch.equal(cut[row][:, ~hidden], original[:, ~hidden])
    everything = diff_augment(maps, ["colour", "translation", "cutout"], chance)
    everything.square().sum().backward()
    assert maps.grad is not None
    assert maps.grad.abs().sum() > 0
    again = diff_augment(maps[2:4].detach(), ["colour", "cutout"], Chance(torch.arange(2, 4)))
    both = diff_augment(maps.detach(), ["colour", "cutout"], Chance(torch.arange(6)))
    assert torch.allclose(again, both[2:4]), "a sample's own chance"


def test_the_discriminator_projects_and_its_layers_do_not_stretch() -> None:
    network = pair().train()
    judge = network.discriminator
    for _ in range(30):
        judge(torch.randn(4, 3, SIZE, SIZE), torch.randn(4, 32))
    judge.eval()
    values, condition = torch.randn(5, 3, SIZE, SIZE), torch.randn(5, 32)
    judge.requires_grad_(False)
    features = judge.network(values)
    for row in range(5):
        projected = sum(
            float(condition[row, i] * judge.projection.weight[j, i] * features[row, j])
            for i in range(32)
            for j in range(features.shape[1])
        )
        realness = float(judge.realness(features[row : row + 1]))
        assert float(judge(values, condition)[row]) == pytest.approx(projected + realness, abs=1e-4)
    for module in judge.network.modules():
        if isinstance(module, nn.Conv2d):
            largest = torch.linalg.svdvals(module.weight.flatten(1))[0]
            assert float(largest) == pytest.approx(1.0, abs=0.05)


def test_an_average_of_a_layer_does_not_stretch_either() -> None:
    """Averages of turning singular vectors shrink, and no longer belong to the average of the weights."""
    torch.manual_seed(0)
    layer = spectral_norm(nn.Conv2d(3, 8, 3)).eval()
    state = layer.state_dict()
    for values in state.values():
        if values.dim() == 1:
            values.mul_(0.01).add_(0.003 * torch.randn(len(values)))
        else:
            values.add_(0.05 * torch.randn(values.shape))
    before = copy.deepcopy(state)
    largest = torch.linalg.svdvals(layer.weight.flatten(1))[0]
    assert float(largest) == pytest.approx(1.0, abs=0.1)
    assert all(torch.equal(values, before[name]) for name, values in layer.state_dict().items())


@pytest.mark.parametrize(
    "settings",
    [{}, {"label": (), "augment": []}, {"r1": 1.0}, {"reconstruction": 1.0, "network": "warped"}],
)
def test_a_players_turn_leaves_the_other_bitwise_untouched(settings: dict[str, Any]) -> None:
    for name, other in ((DISCRIMINATOR, GENERATOR), (GENERATOR, DISCRIMINATOR)):
        network = pair(**settings)
        before = copy.deepcopy(network.state_dict())
        [turn] = [turn for turn in network.turns if turn.name == name]
        training = Training(network, Feed(network), Recipe(1, learning_rate=1e-2))
        optimizer = training.state.optimizers[(DISCRIMINATOR, GENERATOR).index(name)]
        steps = Steps(network, [turn], [optimizer], training.ranks, training.device, Recipe(1))
        for batch in training.feed.batches(0):
            steps.take(batch, 0)
        after = network.state_dict()
        moved = {key for key, value in after.items() if not torch.equal(value, before[key])}
        assert moved
        assert all(key.startswith(f"{name}.") for key in moved), moved
        assert {id(weight) for weight in turn.parameters}.isdisjoint(
            id(weight) for weight in getattr(network, other).parameters()
        )


def test_who_is_held_learns_again_afterwards() -> None:
    network = pair().train()
    with held(network.discriminator):
        assert not any(weight.requires_grad for weight in network.discriminator.parameters())
        assert not network.discriminator.training
    assert all(weight.requires_grad for weight in network.discriminator.parameters())
    assert network.discriminator.training


def test_each_player_has_its_own_rate_and_memory() -> None:
    network = pair(discriminator_rate=4.0)
    training = Training(network, Feed(network), Recipe(1, learning_rate=1e-3))
    rates = [
        {group["lr"] for group in optimizer.param_groups if group["params"]}
        for optimizer in training.state.optimizers
    ]
    assert rates == [{4e-3}, {1e-3}]
    for optimizer in training.state.optimizers:
        assert {group["betas"] for group in optimizer.param_groups} == {(0.0, 0.98)}
    weights = [weight for turn in network.turns for weight in turn.parameters]
    learned = [weight for weight in network.parameters() if weight.requires_grad]
    assert {id(weight) for weight in weights} == {id(weight) for weight in learned}


@pytest.mark.parametrize("loss", ["hinge", "non_saturating"])
def test_it_overfits_a_batch(loss: str) -> None:
    network = pair(loss=loss, r1=0.0 if loss == "hinge" else 0.1, augment=[])
    trained(network, steps=120, learning_rate=1e-2, schedule="constant")
    network.eval()
    made = network.predict(batch_of(network, seed=3))["generated_image"].mean(dim=(1, 2, 3))
    assert (made[0::2] < 90).all(), made
    assert (made[1::2] > 160).all(), made


class Broken(AdversarialPair):
    """One player's loss is NaN in the second step."""

    def __init__(self, player: str, *given: Any) -> None:
        super().__init__(*given)
        self.player, self.calls = player, 0

    def loss(self, batch: Batch, turn: str = DISCRIMINATOR) -> tuple[Tensor, dict[str, Tensor]]:
        loss, sums = super().loss(batch, turn)
        self.calls += turn == self.player
        return (loss * math.nan if turn == self.player and self.calls == 2 else loss), sums


@pytest.mark.parametrize("player", [DISCRIMINATOR, GENERATOR])
def test_a_loss_that_is_no_number_ends_training_and_names_the_player(player: str) -> None:
    network = pair()
    broken = copy.deepcopy(network)
    broken.__class__ = type("Made", (Broken,), {})
    broken.player, broken.calls = player, 0  # type: ignore[assignment]
    with pytest.raises(ConfigError, match=f"not finite, that of the {player} first"):
        trained(broken)


def test_without_a_present_value_nothing_is_learned_and_nothing_breaks() -> None:
    network = pair().train()
    batch = batch_of(network)
    batch["image_present"] = torch.zeros(B, dtype=torch.bool)
    for turn in (DISCRIMINATOR, GENERATOR):
        loss, sums = network.loss(batch, turn)
        assert float(loss) == 0.0
        assert all(float(value) == 0.0 for value in sums.values())


def test_training_hides_some_of_what_values_are_made_from_and_never_all() -> None:
    network = pair(modality_dropout=0.5).train()
    batch = batch_of(network)
    rows = dict.fromkeys(("text", "label", "both"), 0)
    for seed in range(40):
        shown = network._shown(batch, Chance(torch.arange(B) + 100 * seed))
        text, label = shown["text_present"], shown["condition"].any(dim=1)
        assert (text | label).all()
        assert not (text & ~batch["text_present"]).any()
        assert torch.equal(shown["condition"][label], batch["condition"][label])
        rows["text"] += int((text & ~label).sum())
        rows["label"] += int((label & ~text)[1:].sum())
        rows["both"] += int((text & label).sum())
    assert min(rows.values()) > 40, rows
    assert network.eval()._shown(batch, Chance(torch.arange(B))) is batch


def test_turns_are_named_in_the_order_they_are_taken() -> None:
    assert [turn.name for turn in pair().turns] == [DISCRIMINATOR, GENERATOR]
    assert Turn("model", ()).betas == (0.9, 0.98), "of all other objectives"

"""What a step does with numbers that are not finite, with float16, and how each optimizer moves weights."""

from __future__ import annotations

import copy
import logging
import math
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pyarrow as pa
import pytest
import torch
from test_loop import SPLITS, Share, Small, ThreadRanks
from torch import Tensor, nn

from pipeline.errors import ConfigError
from pipeline.objectives.network import Objective, Turn
from pipeline.sample import KEY, SHARD
from pipeline.training.feed import Batch
from pipeline.training.loop import Training
from pipeline.training.optimization.optimizers import Together, build_optimizer
from pipeline.training.ranks import LocalRanks
from pipeline.training.recipe import Recipe
from pipeline.training.steps import Steps

RECIPE = Recipe(2, learning_rate=1e-2, weight_decay=0.1)
PRECISIONS = [torch.float32, torch.float16]


class Spoilt(Share):
    """Batches of 20, of which one row of one batch of the first epoch is no number; the rows have keys."""

    def __init__(self, first: int = 0, end: int = 20, *, step: int = 1, row: int = 7) -> None:
        super().__init__(first, end)
        self.step, self.row = step, row

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        for step, batch in enumerate(super().batches(epoch, start), start // 20):
            names = [f"s{step}-{row}" for row in range(self.first, self.end)]
            self.keys = pa.table({KEY: names, SHARD: ["a.tar"] * len(names)})
            if (epoch, step) == (0, self.step) and self.first <= self.row < self.end:
                batch["x"][self.row - self.first, 0] = math.nan
            yield batch


class Normed(Small):
    """With a layer that keeps running means."""

    def __init__(self) -> None:
        super().__init__()
        self.body.insert(1, nn.BatchNorm1d(8))


def test_a_loss_that_is_no_number_ends_the_training_at_once_and_names_the_samples() -> None:
    training = Training(Small(), Spoilt(), RECIPE)
    with pytest.raises(ConfigError, match="has diverged") as error:
        training.run()
    assert "epoch 1, batch 2 shard=a.tar keys=s1-0, s1-1, s1-2, s1-3, s1-4 and 15 more" in str(
        error.value
    )
    assert training.feed.position == 40, "the third batch was not asked for"


def test_where_the_device_is_asked_seldom_the_batch_is_named_all_the_same() -> None:
    training = Training(Small(), Spoilt(step=0), RECIPE)
    training.look_every = 3
    with pytest.raises(ConfigError, match="has diverged") as error:
        training.run()
    assert training.feed.position == 60
    assert "epoch 1, batch 1 shard=a.tar keys=s0-0" in str(error.value)


@pytest.mark.parametrize("spoilt", ["loss", "gradient"])
def test_workers_end_in_the_same_step_whichever_has_the_bad_row(spoilt: str) -> None:
    class Rooted(Small):
        """The loss is finite, and its gradient is not, where a value is 0."""

        def loss(self, batch: Batch, turn: str = "model") -> tuple[Tensor, dict[str, Tensor]]:
            loss, counted = super().loss({"x": batch["x"].nan_to_num()}, turn)
            if spoilt == "gradient":
                zeros = torch.where(batch["x"].isnan().any(), 0.0, 1.0)
                return loss + (zeros * self.body[0].weight.sum()).abs().sqrt(), counted
            return loss + batch["x"].sum() * 0, counted

    together, barrier = [[] for _ in range(2)], threading.Barrier(2)

    def train(rank: int) -> str:
        feed = Spoilt(*SPLITS[2][rank])
        training = Training(Rooted(), feed, RECIPE, ranks=ThreadRanks(rank, together, barrier))
        with pytest.raises(ConfigError, match="has diverged") as error:
            training.run()
        assert feed.position == 40
        return str(error.value)

    with ThreadPoolExecutor(2) as pool:
        told = list(pool.map(train, range(2)))
    assert "keys=s1-0" in told[0]
    assert "keys=s1-13" in told[1]


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_step_that_is_left_out_changes_nothing_and_is_counted(
    workers: int, precision: torch.dtype, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = replace(RECIPE, on_nan="skip", precision=precision)
    seen: list[list[Tensor]] = [[] for _ in range(workers)]
    networks = [Normed() for _ in range(workers)]

    def train(rank: int) -> Training:
        ranks = ThreadRanks(rank, together, barrier) if workers > 1 else LocalRanks()
        network = networks[rank]
        training = Training(network, Spoilt(*SPLITS[workers][rank]), recipe, ranks=ranks)
        take = training._steps.take

        def watched(*args, **options):
            taken = take(*args, **options)
            state = [value.flatten().double() for value in network.state_dict().values()]
            seen[rank].append(torch.cat(state))
            return taken

        training._steps.take = watched  # type: ignore[method-assign]
        training.run()
        return training

    together, barrier = [[] for _ in range(workers)], threading.Barrier(workers)
    with caplog.at_level(logging.WARNING), ThreadPoolExecutor(workers) as pool:
        trainings = list(pool.map(train, range(workers)))
    for training, states in zip(trainings, seen, strict=True):
        first, second = training.state.history
        assert (first["steps_left_out"], second["steps_left_out"]) == (1, 0)
        assert first["rows_train"] == 60, "its samples were given all the same"
        assert math.isfinite(first["train_error"])
        assert torch.equal(states[0], states[1]), "neither weights nor running means"
        assert not torch.equal(states[1], states[2])
        assert all(torch.isfinite(state).all() for state in states)
    assert "epoch 1, batch 2 shard=a.tar keys=s1-0" in caplog.text


def test_an_epoch_without_a_step_ends_the_training() -> None:
    class Hopeless(Small):
        def loss(self, batch: Batch, turn: str = "model") -> tuple[Tensor, dict[str, Tensor]]:
            loss, counted = super().loss(batch, turn)
            return loss * math.nan, counted

    with pytest.raises(ConfigError, match="loss of epoch 1 is not finite"):
        Training(Hopeless(), Share(), replace(RECIPE, on_nan="skip")).run()


def test_the_count_of_what_is_left_out_survives_an_interruption() -> None:
    recipe = replace(RECIPE, epochs=1, on_nan="skip")
    whole = Training(Small(), Spoilt(), recipe)
    whole.run()
    first = Training(Small(), Spoilt(), recipe)
    first.wants_checkpoint = False
    stops: list[dict] = []

    class Stop:
        def __getattr__(self, name: str):
            return lambda *_: None

        def step_ended(self, training: Training, epochs: float) -> None:
            training.wants_checkpoint = training.feed.position == 20

        def checkpoint(self, training: Training) -> None:
            stops.append(training.state.snapshot())

    first.callbacks = [Stop()]
    first.run()
    second = Training(Small(), Spoilt(), recipe)
    second.state.load(stops[0])
    assert second.state.position.left_out == 1
    second.run()
    row = second.state.history[0]
    assert row["steps_left_out"] == whole.state.history[0]["steps_left_out"] == 1
    assert row["train_error"] == whole.state.history[0]["train_error"]


def test_float16_scales_gradients_that_it_could_not_hold() -> None:
    """Gradients below the least number of float16, which it would take for 0, move weights all the same."""

    class Faint(Objective):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 1, bias=False)
            nn.init.ones_(self.layer.weight)

        def loss(self, batch: Batch, turn: str = "model") -> tuple[Tensor, dict[str, Tensor]]:
            made = self.layer(batch["x"])
            assert made.dtype == torch.float16
            return made.float().mul(1e-9).mean(), {}

        def metrics(self, sums) -> dict[str, float]:
            return {}

        def targets(self, texts) -> dict[str, Tensor]:
            return {}

        def predict(self, batch: Batch, seed: int = 0) -> dict[str, Tensor]:
            return {}

    network = Faint()
    optimizer = torch.optim.SGD(network.parameters(), lr=1.0)
    recipe = Recipe(1, precision=torch.float16, max_gradient_norm=1e9)
    turn = Turn("model", list(network.parameters()))
    steps = Steps(network, [turn], [optimizer], LocalRanks(), torch.device("cpu"), recipe)
    steps.take({"x": torch.ones(2, 4)}, 0)
    moved = 1.0 - network.layer.weight.detach().double()
    torch.testing.assert_close(moved, torch.full((1, 4), 1e-9).double(), rtol=0.2, atol=1e-7)
    gradient = network.layer.weight.grad
    assert gradient is not None
    torch.testing.assert_close(gradient, torch.full((1, 4), 1e-9), rtol=0.1, atol=1e-11)


def test_the_scale_of_float16_goes_on_from_a_checkpoint() -> None:
    recipe = replace(RECIPE, epochs=1, precision=torch.float16)
    training = Training(Small(), Share(), recipe)
    training.run()
    scaler = training.state.scaler
    scaler.update(128.0)
    again = Training(Small(), Share(), recipe)
    again.state.load(training.state.snapshot())
    assert again.state.scaler.get_scale() == 128.0
    plain = Training(Small(), Share(), replace(recipe, precision=torch.float32))
    plain.state.load(training.state.snapshot())


# Batches in pieces


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("at_once", [1, 6, 19, 20])
def test_a_batch_in_pieces_trains_as_the_whole(workers: int, at_once: int) -> None:
    """Shares of 0, 3 and 17 rows come in other numbers of pieces on each worker."""
    seen: list[int] = []

    class Watched(Small):
        def loss(self, batch: Batch, turn: str = "model") -> tuple[Tensor, dict[str, Tensor]]:
            seen.append(len(batch["x"]))
            return super().loss(batch, turn)

    together, barrier = [[] for _ in range(workers)], threading.Barrier(workers)
    networks = [Watched() for _ in range(workers)]

    def train(rank: int) -> Training:
        ranks = ThreadRanks(rank, together, barrier) if workers > 1 else LocalRanks()
        recipe = replace(RECIPE, rows_at_once=at_once)
        training = Training(networks[rank], Share(*SPLITS[workers][rank]), recipe, ranks=ranks)
        training.run()
        return training

    with ThreadPoolExecutor(workers) as pool:
        trainings = list(pool.map(train, range(workers)))
    assert max(seen) == min(at_once, max(end - first for first, end in SPLITS[workers]))
    assert sum(seen) == 6 * 20
    whole = Training(Small(), Share(), RECIPE)
    whole.run()
    for training in trainings:
        torch.testing.assert_close(
            training.network.state_dict(), whole.network.state_dict(), rtol=1e-4, atol=1e-6
        )
        for row, expected in zip(training.state.history, whole.state.history, strict=True):
            assert row["train_error"] == pytest.approx(expected["train_error"], rel=1e-5)


def test_a_loss_of_whole_batches_is_not_computed_in_pieces() -> None:
    class Coupled(Small):
        divisible = False

    Training(Coupled(), Share(), RECIPE)
    with pytest.raises(ConfigError, match=r"train\.rows_at_once"):
        Training(Coupled(), Share(), replace(RECIPE, rows_at_once=4))


# Optimizers


def step_of(name: str, model: nn.Module, rate: float, decay: float) -> None:
    optimizer = build_optimizer(model, rate, decay, name=name)  # type: ignore[arg-type]
    for _ in range(2):
        optimizer.zero_grad()
        model(torch.arange(6.0).reshape(2, 3) / 6).square().sum().backward()
        optimizer.step()


class Layers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.symbols = nn.Embedding(3, 3)
        self.layer = nn.Linear(3, 3)
        self.kernel = nn.Conv1d(1, 1, 2)

    def forward(self, values: Tensor) -> Tensor:
        made = self.layer(values) + self.symbols(torch.tensor([0, 2]))
        return self.kernel(made.unsqueeze(1))


def test_sgd_is_that_of_sutskever_with_decay_of_weights_alone() -> None:
    model = Layers()
    twin = copy.deepcopy(model)
    step_of("sgd", model, 0.1, 0.5)
    velocity = {name: torch.zeros_like(value) for name, value in twin.named_parameters()}
    for _ in range(2):
        twin.zero_grad()
        twin(torch.arange(6.0).reshape(2, 3) / 6).square().sum().backward()
        with torch.no_grad():
            for name, value in twin.named_parameters():
                decays = name in ("layer.weight", "kernel.weight")
                gradient = value.grad + (0.5 * value if decays else 0)
                velocity[name] = 0.9 * velocity[name] + gradient
                value -= 0.1 * (gradient + 0.9 * velocity[name])
    torch.testing.assert_close(model.state_dict(), twin.state_dict())


def test_muon_moves_matrices_of_linear_layers_alike_along_all_directions() -> None:
    torch.manual_seed(2)
    gradient = torch.randn(16, 16)
    spread = {}
    for name in ("muon", "adamw"):
        model = nn.ModuleList([nn.Linear(16, 16), nn.Embedding(16, 16), nn.Conv1d(16, 16, 1)])
        before = [weight.detach().clone() for weight in model.parameters()]
        optimizer = build_optimizer(model, 1e-3, 0.0, name=name)  # type: ignore[arg-type]
        for weight in model.parameters():
            shaped = gradient.reshape(weight.shape) if weight.ndim > 1 else torch.ones(16)
            weight.grad = shaped.clone()
        optimizer.step()
        steps = [old - new.detach() for old, new in zip(before, model.parameters(), strict=True)]
        matrix, _, symbols, kernel, _ = (step.flatten().reshape(-1, 16) for step in steps)
        singular = torch.linalg.svdvals(matrix)
        spread[name] = float(singular.min() / singular.max())
        for other in (symbols, kernel):
            torch.testing.assert_close(other, 1e-3 * gradient.sign(), rtol=1e-3, atol=1e-7)
        if name == "muon":
            size = float(matrix.square().mean().sqrt())
            assert size == pytest.approx(0.2e-3, rel=0.15), "as large as Liu et al. make it"
    assert spread["muon"] > 0.5 > 0.1 > spread["adamw"]


def test_several_optimizers_as_one_keep_their_rates_and_their_memory() -> None:
    model = Layers()
    optimizer = build_optimizer(model, 1e-2, 0.1, name="muon")
    assert isinstance(optimizer, Together)
    held = [id(weight) for group in optimizer.param_groups for weight in group["params"]]
    assert sorted(held) == sorted(map(id, model.parameters()))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step)
    model(torch.ones(2, 3)).sum().backward()
    optimizer.step()
    schedule.step()
    rates = {group["lr"] for each in optimizer.optimizers for group in each.param_groups}
    assert rates == {5e-3}
    again = build_optimizer(copy.deepcopy(model), 1e-2, 0.1, name="muon")
    again.load_state_dict(optimizer.state_dict())
    for copied, original in zip(again.optimizers, optimizer.optimizers, strict=True):  # type: ignore[attr-defined]
        moments, expected = copied.state_dict()["state"], original.state_dict()["state"]
        assert moments
        torch.testing.assert_close(moments, expected)
    again.param_groups[0]["lr"] = 7.0
    assert again.optimizers[0].param_groups[0]["lr"] == 7.0  # type: ignore[attr-defined]
    with pytest.raises(KeyError):
        again.load_state_dict(build_optimizer(model, 1e-2, 0.1).state_dict())

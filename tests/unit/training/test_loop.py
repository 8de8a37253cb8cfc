"""The training loop without Ray: shares of any size train as the whole batch, and turns move their own weights."""

from __future__ import annotations

import copy
import math
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from torch import Tensor, multiprocessing, nn

from pipeline.modalities.chance import CHANCE
from pipeline.models.record import ROWS
from pipeline.objectives.network import Objective, Turn
from pipeline.training.callbacks.base import Callback
from pipeline.training.feed import Batch
from pipeline.training.loop import Training
from pipeline.training.ranks import LocalRanks, Ranks, TorchRanks
from pipeline.training.recipe import Recipe

SPLITS = {1: [[0, 20]], 2: [[0, 13], [13, 20]], 3: [[0, 0], [0, 3], [3, 20]]}  # of each batch of 20


class Small(Objective):
    """Estimates a sum; one of its weights is used only where a batch says so."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, 1))
        self.unused = nn.Linear(2, 2)

    def loss(self, batch: Batch, turn: str = "model") -> tuple[Tensor, dict[str, Tensor]]:
        error = (self.body(batch["x"]).squeeze(1) - batch["x"].sum(1)).square()
        return error.mean(), {
            "error": error.detach().double().sum(),
            "n": torch.tensor(len(error)).double(),
        }

    def metrics(self, sums: Mapping[str, float]) -> dict[str, float]:
        return {"error": sums["error"] / sums["n"]}

    def targets(self, texts: Sequence[str]) -> dict[str, Tensor]:
        return {}

    def predict(self, batch: Batch, seed: int = 0) -> dict[str, Tensor]:
        return {}


class Share:
    """Six lines of a feed: a worker's rows of each of three batches of 20."""

    def __init__(self, first: int = 0, end: int = 20) -> None:
        self.first, self.end, self.samples, self.position = first, end, 0, 0
        self.order: dict[str, int] = {}
        self.keys: pa.Table | None = None

    def num_batches(self, epoch: int) -> int:
        return 3

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        self.samples = 0
        for step in range(start // 20, 3):
            self.position = 20 * (step + 1)
            x = torch.randn(20, 3, generator=torch.Generator().manual_seed(10 * epoch + step))
            rows = slice(self.first, self.end)
            self.samples += self.end - self.first
            yield {"x": x[rows], CHANCE: torch.arange(20)[rows]} if self.end > self.first else {}


RECIPE = Recipe(3, learning_rate=1e-2, weight_decay=0.1, warmup_fraction=0.2, average_decay=0.9)


def train(
    feed: Share, ranks: Ranks | None = None, network: Small | None = None, recipe: Recipe = RECIPE
) -> Training:
    training = Training(network or Small(), feed, recipe, ranks=ranks)
    training.run()
    return training


def without_times(history: list[dict[str, float]]) -> list[dict[str, float]]:
    return [
        {name: row[name] for name in row if "seconds" not in name and "per_second" not in name}
        for row in history
    ]


class ThreadRanks:
    """Workers that are threads of one process."""

    def __init__(self, rank: int, together: list[list], barrier: threading.Barrier) -> None:
        self.rank, self.size = rank, len(together)
        self.together, self.barrier = together, barrier

    def _gather(self, mine: list) -> list[list]:
        self.together[self.rank] = mine
        self.barrier.wait(60)
        gathered = list(self.together)
        self.barrier.wait(60)
        return gathered

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        gathered = self._gather([tensor.clone() for tensor in tensors])
        for tensor, values in zip(tensors, zip(*gathered, strict=True), strict=True):
            tensor.copy_(torch.stack(values).sum(0))

    def merge(self, counts: Mapping[str, float]) -> dict[str, float]:
        gathered = [mine[0] for mine in self._gather([counts])]
        return {name: sum(c.get(name, 0) for c in gathered) for name in set().union(*gathered)}


@pytest.mark.parametrize("size", [2, 3])
def test_workers_with_unequal_shares_train_as_one(size: int) -> None:
    """The shares are 13 and 7 rows; and 0, 3 and 17: one of three workers never has a row."""
    together, barrier = [[] for _ in range(size)], threading.Barrier(size)
    with ThreadPoolExecutor(size) as pool:
        ranks = [ThreadRanks(rank, together, barrier) for rank in range(size)]
        shares = [Share(*ends) for ends in SPLITS[size]]
        networks = [Small() for _ in range(size)]
        trainings = list(pool.map(train, shares, ranks, networks))
    alone = train(Share())
    for training in trainings:
        torch.testing.assert_close(
            training.network.state_dict(), alone.network.state_dict(), rtol=1e-5, atol=1e-6
        )
        for row, expected in zip(
            without_times(training.state.history), without_times(alone.state.history), strict=True
        ):
            assert row == pytest.approx(expected, rel=1e-5)
    assert alone.state.history[0][f"{ROWS}train"] == 60
    assert torch.equal(alone.network.unused.weight, Small().unused.weight), "no loss uses it"


def add_up(rank: int, port: int, folder: str) -> None:
    torch.distributed.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2
    )
    tensors = [
        torch.full((2, 3), rank + 1.0),
        torch.arange(5) * rank,
        torch.ones(()),
        torch.ones(7),
    ]
    ranks = TorchRanks()
    ranks.add_up(tensors)
    counts = ranks.merge({"both": rank + 1.0, f"only {rank}": 5.0})
    training = train(Share(0, 20) if rank else Share(0, 0), ranks)  # worker 0 never has a row
    network = training.network.state_dict()
    torch.save({"tensors": tensors, "counts": counts, "network": network}, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_workers_of_torch_add_up_what_they_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And train as one, where one of them never has a row."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    multiprocessing.spawn(add_up, (port, str(tmp_path)), nprocs=2)
    alone = train(Share()).network.state_dict()
    for rank in range(2):
        state = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        expected = [
            torch.full((2, 3), 3.0),
            torch.arange(5),
            torch.tensor(2.0),
            torch.full((7,), 2.0),
        ]
        torch.testing.assert_close(state["tensors"], expected)
        assert state["counts"] == {"both": 3.0, "only 0": 5.0, "only 1": 5.0}
        torch.testing.assert_close(state["network"], alone, rtol=1e-5, atol=1e-6)


def test_it_is_the_plain_loop() -> None:
    """Against the same steps written down one after the other."""
    network, decay = Small(), 0.9
    twin = copy.deepcopy(network)
    optimizer = torch.optim.AdamW(
        [
            {"params": [twin.body[0].weight, twin.body[3].weight], "weight_decay": 0.1},
            {"params": [twin.body[0].bias, twin.body[3].bias], "weight_decay": 0.0},
        ],
        betas=(0.9, 0.98),
    )
    mean = twin.body[0].weight.detach().clone()
    for step in range(9):
        [x] = [b["x"] for n, b in enumerate(Share().batches(step // 3)) if n == step % 3]
        warm = int(9 * 0.2)
        done = (step - warm) / (9 - warm)
        rising = (step + 1) / warm
        rate = 1e-2 * (rising if step < warm else 0.5 * (1 + math.cos(math.pi * done)))
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad()
        twin.loss({"x": x})[0].backward()
        torch.nn.utils.clip_grad_norm_(twin.parameters(), 1.0)
        optimizer.step()
        kept = min(decay, (step + 1) / (step + 10))
        mean = kept * mean + (1 - kept) * twin.body[0].weight.detach()
    training = train(Share())
    torch.testing.assert_close(training.network.state_dict(), twin.state_dict())
    torch.testing.assert_close(training.average.module.body[0].weight.detach(), mean)


class Modulated(Small):
    """Scales its gradients by the error over the global batch, and its loss by the course of the training."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = 1.0
        self.seeds: list[int] = []

    @property
    def modulates(self) -> bool:
        return True

    def modulate(self, sums: Mapping[str, float], seed: int) -> None:
        assert sums["n"] == 20, "of the global batch"
        noise = torch.randn(3, generator=torch.Generator().manual_seed(seed))
        self.seeds.append(seed)
        self.body[0].weight.grad.mul_(1e-3 * sums["error"]).add_(1e-3 * noise)

    def monitored(self, sums: Mapping[str, float]) -> dict[str, float]:
        return {"sum": sums["error"]}

    def loss_weights(self, history: Sequence[Mapping[str, float]]) -> dict[str, float]:
        return {"all": 1 + history[-1]["train_sum"] / 100} if history else {}

    def weigh(self, weights: Mapping[str, float]) -> None:
        self.weight = weights.get("all", self.weight)

    def loss(self, batch: Batch, turn: str = "model") -> tuple[Tensor, dict[str, Tensor]]:
        loss, sums = super().loss(batch, turn)
        return self.weight * loss, sums


def test_workers_change_gradients_and_weigh_losses_as_one() -> None:
    # Gradients far below the largest norm: clipping would hide their scale.
    recipe = Recipe(3, learning_rate=1e-2, max_gradient_norm=1e6)
    together, barrier = [[] for _ in range(2)], threading.Barrier(2)
    with ThreadPoolExecutor(2) as pool:
        ranks = [ThreadRanks(rank, together, barrier) for rank in range(2)]
        shares = [Share(*ends) for ends in SPLITS[2]]
        networks = [Modulated() for _ in range(2)]
        trainings = list(pool.map(lambda *a: train(*a, recipe=recipe), shares, ranks, networks))
    alone = train(Share(), network=Modulated(), recipe=recipe)
    for training in trainings:
        assert training.network.weight == pytest.approx(alone.network.weight, rel=1e-5)
        assert training.network.seeds == alone.network.seeds
        torch.testing.assert_close(
            training.network.state_dict(), alone.network.state_dict(), rtol=1e-4, atol=1e-5
        )
    assert len(set(alone.network.seeds)) == 9
    assert alone.network.weight > 1.0
    plain = train(Share(), recipe=recipe)
    assert not torch.equal(alone.network.body[0].weight, plain.network.body[0].weight)


class TwoTurns(Small):
    """Two losses: the first moves the first layer, by an optimizer of its own, the second the last one."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = list(self.body[0].parameters()), list(self.body[3].parameters())
        self.optimizer = torch.optim.SGD(self.first, lr=0.5)

    @property
    def turns(self) -> Sequence[Turn]:
        return [Turn("first", self.first, self.optimizer), Turn("second", self.last)]

    def loss(self, batch: Batch, turn: str = "model") -> tuple[Tensor, dict[str, Tensor]]:
        loss, sums = super().loss(batch, turn)
        return (loss if turn == "first" else 100 * loss), {
            f"{turn}_{n}": v for n, v in sums.items()
        }

    def metrics(self, sums: Mapping[str, float]) -> dict[str, float]:
        return dict(sums)


def test_turns_move_their_own_weights_with_their_own_optimizers_and_limits() -> None:
    network = TwoTurns()
    before = copy.deepcopy(network.state_dict())
    recipe = Recipe(1, learning_rate=1e-3, max_gradient_norm=0.25)
    steps: list[Tensor] = []

    def weights() -> Tensor:
        return torch.cat([p.detach().flatten() for p in network.first])

    class Watch(Callback):
        def begin(self, training: Training) -> None:
            self.start = weights()

        def step_ended(self, training: Training, epochs: float) -> None:
            steps.append(weights() - self.start)
            self.start = weights()

    training = Training(network, Share(), recipe, callbacks=[Watch()])
    training.run()
    rates = [0.5 * 0.5 * (1 + math.cos(math.pi * n / 3)) for n in range(3)]
    for step, rate in zip(steps, rates, strict=True):
        assert step.norm() == pytest.approx(0.25 * rate, rel=1e-3), (
            "clipped alone, and moved by SGD"
        )
    moved = {n for n, v in network.state_dict().items() if not torch.equal(v, before[n])}
    assert moved == {"body.0.weight", "body.0.bias", "body.3.weight", "body.3.bias"}
    assert {"train_first_n", "train_second_n"} <= set(training.state.history[0])


def test_augmentation_is_drawn_from_the_samples_own_chance() -> None:
    seen: list[Tensor] = []

    def noise(values: Tensor, chance) -> Tensor:
        seen.append(chance.uniform(3))
        return values + 0 * seen[-1]

    for ends in ([0, 20], [0, 8], [8, 20]):
        Training(Small(), Share(*ends), Recipe(1), augment={"x": noise}).run()
    for step in range(3):
        whole, head, tail = seen[step], seen[3 + step], seen[6 + step]
        assert torch.equal(whole, torch.cat([head, tail]))


def test_a_networks_own_chance_is_that_of_the_step() -> None:
    """So that an epoch that begins in the middle, or after other things were drawn, is the same."""
    curves = []
    for spoil in (0, 5):
        training = Training(Small(dropout=0.5), Share(), Recipe(2), ranks=LocalRanks())
        torch.rand(spoil)
        training.run()
        curves.append([row["train_error"] for row in training.state.history])
    assert curves[0] == curves[1]

"""The losses of a shared space against loops in NumPy: pairs, hubs, copies, groups, what is missing, and workers."""

from __future__ import annotations

import copy
import itertools
import math
import socket
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, multiprocessing, nn

from pipeline.modalities.layers import Features
from pipeline.models.batch import row_digests
from pipeline.objectives.contrast import ContrastConfig
from pipeline.objectives.contrast.model import SharedSpace
from pipeline.training.loop import Training
from pipeline.training.ranks import LocalRanks, TorchRanks
from pipeline.training.recipe import Recipe

B, WIDTH = 9, 32
NAMES = ("left", "middle", "right")
LOSSES = ("infonce", "sigmoid")


class Tokens(nn.Module):
    """An encoder of five numbers: one token."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(5, WIDTH)

    def forward(self, values: Tensor) -> Features:
        tokens = torch.tanh(self.linear(values))[:, None]
        return Features(tokens, torch.ones(len(values), 1, dtype=torch.bool))


def network(**settings: object) -> SharedSpace:
    torch.manual_seed(0)
    config = ContrastConfig.model_validate({"width": WIDTH, "dropout": 0.0, **settings})
    return SharedSpace(config, {name: Tokens() for name in NAMES})


def make_batch(seed: int = 0, missing: float = 0.3, size: int = B) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    batch = {}
    for name in NAMES:
        batch[name] = torch.randn(size, 5, generator=generator)
        batch[f"{name}_present"] = torch.rand(size, generator=generator) >= missing
    return batch


def embedded(space: SharedSpace, batch: Mapping[str, Tensor]) -> np.ndarray:
    predicted = space.eval().predict(batch)
    space.train()
    return np.stack([predicted[f"{name}_embedding"].numpy() for name in NAMES], axis=1)


def brute_force(
    space: SharedSpace,
    batch: Mapping[str, Tensor],
    same: np.ndarray,
    pairs: Sequence[tuple[int, int]],
) -> float:
    """The mean over the pairs of modalities that a sample has; ``same`` (B, B) is what is not told apart."""
    values = embedded(space, batch).astype(np.float64)
    has = np.stack([batch[f"{name}_present"].numpy() for name in NAMES], axis=1)
    scale = math.exp(space.log_scale.item())
    losses = []
    for a, b in pairs:
        both = [i for i in range(len(values)) if has[i, a] and has[i, b]]
        if not both:
            continue
        total = 0.0
        for (query, found), i in itertools.product(((a, b), (b, a)), both):
            logits = {
                j: scale
                * sum(x * y for x, y in zip(values[i, query], values[j, found], strict=True))
                for j in range(len(values))
                if has[j, found] and (j == i or not same[i, j])
            }
            if space.bias is None:
                total += math.log(sum(math.exp(v) for v in logits.values())) - logits[i]
            else:
                for j, logit in logits.items():
                    sign = 1 if i == j else -1
                    total += math.log1p(math.exp(-sign * (logit + space.bias.item())))
        losses.append(total / (2 * len(both)))
    return sum(losses) / len(losses) if losses else 0.0


def nothing_same() -> np.ndarray:
    return np.eye(B, dtype=bool)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("hub", [None, "middle"])
def test_losses_by_brute_force(loss: str, hub: str | None) -> None:
    space = network(loss=loss, hub=hub)
    pairs = [(0, 1), (0, 2), (1, 2)] if hub is None else [(0, 1), (1, 2)]
    for seed, missing in ((0, 0.0), (1, 0.3), (2, 0.8)):
        batch = make_batch(seed, missing)
        value, counted = space.loss(batch)
        assert value.item() == pytest.approx(
            brute_force(space, batch, nothing_same(), pairs), rel=1e-5
        )
        assert counted["loss"].item() == pytest.approx(B * value.item())


@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_are_those_of_differences(loss: str) -> None:
    """In double precision, of a direction through all weights."""
    space, batch = network(loss=loss).double(), make_batch()
    batch = {name: v.double() if v.is_floating_point() else v for name, v in batch.items()}
    space.loss(batch)[0].backward()
    generator = torch.Generator().manual_seed(1)
    weights = list(space.parameters())
    steps = [torch.randn(weight.shape, generator=generator).double() for weight in weights]
    along = sum(
        float((weight.grad * step).sum()) for weight, step in zip(weights, steps, strict=True)
    )
    values = []
    for sign in (1, -1):
        moved = copy.deepcopy(space)
        with torch.no_grad():
            for weight, step in zip(moved.parameters(), steps, strict=True):
                weight += sign * 1e-6 * step
        values.append(moved.loss(batch)[0].item())
    assert (values[0] - values[1]) / 2e-6 == pytest.approx(along, rel=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
def test_copies_and_groups_are_not_told_apart(loss: str) -> None:
    space, batch = network(loss=loss), make_batch(missing=0.2)
    if space.bias is not None:
        space.bias.data.zero_()  # with the first one, no negative counts for much
    batch["left_present"][:4] = True
    batch["left"][1] = batch["left"][0]
    batch["left"][3] = batch["left"][2]
    batch["right"][5] = batch["right"][6]
    batch["right_present"][5] = False  # what is missing is equal to nothing
    texts = ['{"group": "g"}' if i in (4, 7) else "{}" for i in range(B)]
    batch |= space.targets(texts) | space.identified(batch)
    same = nothing_same()
    for i, j in ((0, 1), (2, 3), (4, 7)):
        same[i, j] = same[j, i] = True
    every = [(0, 1), (0, 2), (1, 2)]
    told = space.loss(batch)[0].item()
    assert told == pytest.approx(brute_force(space, batch, same, every), rel=1e-5)
    assert told != pytest.approx(brute_force(space, batch, nothing_same(), every), rel=1e-3)
    changed = {**batch, "left": batch["left"] + 1e-3 * torch.randn(B, 5)}
    again = brute_force(space, changed, same, every)
    assert space.loss(changed)[0].item() == pytest.approx(again, rel=1e-5), (
        "as they were before chance changed them"
    )


def test_what_is_missing_everywhere_makes_no_nan() -> None:
    for loss, hub in itertools.product(LOSSES, (None, "middle")):
        space, batch = network(loss=loss, hub=hub), make_batch(missing=0.0)
        batch["middle_present"][:] = False
        batch["middle"][:] = torch.nan if hub is None else 0.0
        if hub is None:
            batch["middle"][:] = 1e30
        value, counted = space.loss(batch)
        value.backward()
        assert math.isfinite(value.item())
        for name, weight in space.named_parameters():
            assert weight.grad is None or torch.isfinite(weight.grad).all(), name
        if hub is not None:
            assert value.item() == 0.0, "nothing can be paired"
            assert counted["queries"].item() == 0
            assert not any(
                weight.grad.any() for weight in space.parameters() if weight.grad is not None
            )
            assert math.isfinite(space.metrics({k: v.item() for k, v in counted.items()})["loss"])


def test_it_counts_what_is_found_in_a_batch() -> None:
    space, batch = network(), make_batch(missing=0.3)
    _, counted = space.loss(batch)
    values = embedded(space, batch)
    has = np.stack([batch[f"{name}_present"].numpy() for name in NAMES], axis=1)
    ranks = []
    for a, b in itertools.permutations(range(3), 2):
        for i in range(B):
            if has[i, a] and has[i, b]:
                similar = values[i, a] @ values[:, b].T
                ranks.append(
                    1 + sum(similar[j] >= similar[i] for j in range(B) if has[j, b] and j != i)
                )
    assert counted["queries"].item() == len(ranks)
    assert counted["first"].item() == sum(rank == 1 for rank in ranks)
    assert counted["precision"].item() == pytest.approx(sum(1 / rank for rank in ranks))


def test_a_temperature_is_learned_and_kept_within_bounds() -> None:
    space, batch = network(temperature=0.02, min_temperature=0.015), make_batch(missing=0.0)
    assert math.exp(-space.log_scale.item()) == pytest.approx(0.02)
    optimizer = torch.optim.SGD([space.log_scale], 10.0)
    seen = []
    for target in (-1.0, 1.0):
        for _ in range(5):
            optimizer.zero_grad()
            space.loss(batch)[0].backward()
            assert space.log_scale.grad.item() != 0
            space.log_scale.grad.fill_(target)
            optimizer.step()
            space.loss(batch)
            seen.append(math.exp(-space.log_scale.item()))
    assert min(seen) == pytest.approx(0.015)
    assert max(seen) == pytest.approx(10.0, rel=1e-5)


def test_predictions_have_length_one_or_are_missing() -> None:
    space, batch = network(embedding_width=7), make_batch()
    batch["left_present"][0] = batch["middle_present"][0] = batch["right_present"][0] = False
    predicted = space.eval().predict(batch)
    own = [predicted[f"{name}_embedding"].numpy() for name in NAMES]
    for name, values in zip(NAMES, own, strict=True):
        assert values.shape == (B, 7)
        lengths = np.linalg.norm(values, axis=1)
        assert lengths == pytest.approx(batch[f"{name}_present"].numpy().astype(float), abs=1e-6)
    mean = np.sum(own, axis=0)
    lengths = np.linalg.norm(mean, axis=1, keepdims=True)
    expected = np.divide(mean, lengths, out=np.zeros_like(mean), where=lengths > 0)
    np.testing.assert_allclose(predicted["embedding"].numpy(), expected, atol=1e-6)


def test_validation_looks_among_all_samples_whatever_the_batches() -> None:
    space = network().eval()
    batch = make_batch(size=24)
    batch["left"][5] = batch["left"][6]
    batch |= space.identified(batch)
    shares = [slice(0, 24)], [slice(0, 10), slice(10, 24)]
    found = []
    for cuts in shares:
        seen = [space.observed({name: v[cut] for name, v in batch.items()}) for cut in cuts]
        found.append(
            space.judged(
                {k: torch.cat([s[k] for s in seen]).numpy() for k in ("embeddings", "identities")}
            )
        )
    assert found[0] == pytest.approx(found[1])
    assert {"recall_at_1", "recall_at_5", "mean_average_precision", "median_rank"} <= set(found[0])
    assert found[0]["mean_average_precision"] < 0.5, "of an untrained network"


def test_digests_are_those_of_values() -> None:
    values = np.random.default_rng(0).integers(0, 2, (40, 2, 3)).astype(np.uint8)
    present = np.arange(40) % 5 > 0
    digests = row_digests(values, present)
    for i, j in itertools.product(range(40), repeat=2):
        if present[i] and present[j]:
            assert (digests[i] == digests[j]) == np.array_equal(values[i], values[j])
    assert (digests[~present] == 0).all()


class Share:
    """A worker's rows of each of two batches of nine; nobody goes on within an epoch."""

    position, order, keys = 0, dict[str, int](), None

    def __init__(self, cuts: Sequence[tuple[int, int]]) -> None:
        self.cuts, self.samples = cuts, 0

    def num_batches(self, epoch: int) -> int:
        return 2

    def batches(self, epoch: int, start: int = 0) -> Iterator[dict[str, Tensor]]:
        for number, (first, end) in enumerate(self.cuts):
            batch = make_batch(number, 0.3)
            batch["left"][2] = batch["left"][7]
            yield {name: v[first:end] for name, v in batch.items()} if end > first else {}


CUTS = ([(0, 6), (0, 9)], [(6, 9), (9, 9)])  # of the second batch one worker has nothing


def work(rank: int, port: int, folder: str) -> None:
    torch.distributed.init_process_group(
        "gloo",
        init_method=f"tcp://127.0.0.1:{port}",
        rank=rank,
        world_size=2,
        timeout=timedelta(seconds=120),
    )
    for loss in LOSSES:
        torch.save(trained(loss, CUTS[rank], TorchRanks()), f"{folder}/{loss}-{rank}.pt")
    torch.distributed.destroy_process_group()


def trained(loss: str, cuts: Sequence[tuple[int, int]], ranks: object) -> dict[str, object]:
    """What one share of a batch gives, and where two steps lead."""
    space = network(loss=loss)
    share = next(Share(cuts).batches(0))
    value, counted = space.loss(share)
    (value * len(share["left"])).backward()
    gradients = [weight.grad.clone() for weight in space.parameters()]
    recipe = Recipe(epochs=1, learning_rate=1e-2, max_gradient_norm=1e9)
    training = Training(space, Share(cuts), recipe, ranks=ranks)  # type: ignore[arg-type]
    training.run()
    return {
        "rows": len(share["left"]),
        "loss": value.item(),
        "counted": {name: number.item() for name, number in counted.items()},
        "gradients": gradients,
        "weights": [weight.detach().clone() for weight in space.parameters()],
        "row": training.state.history[0]["train_loss"],
    }


def test_two_workers_are_one_on_the_joint_batch(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    other = multiprocessing.spawn(work, (port, str(tmp_path)), nprocs=1, join=False)
    work(1, port, str(tmp_path))  # this process has imported all of it already
    while not other.join():
        pass
    for loss in LOSSES:
        alone = trained(loss, [(0, 9), (0, 9)], LocalRanks())
        shares = [torch.load(tmp_path / f"{loss}-{rank}.pt", weights_only=True) for rank in (0, 1)]
        together = sum(share["loss"] * share["rows"] for share in shares) / B
        assert together == pytest.approx(alone["loss"], abs=1e-6)
        for name, number in alone["counted"].items():
            total = sum(share["counted"][name] for share in shares)
            assert total == pytest.approx(number, rel=1e-6), name
        for place, gradient in enumerate(alone["gradients"]):
            total = sum(share["gradients"][place] for share in shares)
            torch.testing.assert_close(total, gradient, atol=1e-5 * B, rtol=1e-5)
            torch.testing.assert_close(total / B, gradient / B, atol=1e-6, rtol=0)
        for share in shares:
            torch.testing.assert_close(share["weights"], alone["weights"], atol=1e-5, rtol=1e-4)
            assert share["row"] == pytest.approx(alone["row"], abs=1e-6)

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from pipeline.modalities.layers import TransformerBlock
from pipeline.training.optimization.average import build_average
from pipeline.training.optimization.optimizers import build_optimizer
from pipeline.training.optimization.schedule import build_schedule, rate_factor


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 32)
        self.position = nn.Parameter(torch.zeros(3, 32))
        self.conv = nn.Conv1d(32, 32, 1)
        self.block = TransformerBlock(32, 1, 0.0)
        self.counter: torch.Tensor
        self.register_buffer("counter", torch.tensor(0))


def test_only_weights_of_linear_and_convolution_layers_decay() -> None:
    model = Small()
    decayed, free = build_optimizer(model, 1e-3, 0.1).param_groups
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert decayed["weight_decay"] == 0.1
    assert free["weight_decay"] == 0.0
    assert {names[id(p)] for p in decayed["params"]} == {
        "conv.weight",
        "block.query.weight",
        "block.key_value.weight",
        "block.project.weight",
        "block.perceptron.0.weight",
        "block.perceptron.2.weight",
    }
    every = [id(p) for group in (decayed, free) for p in group["params"]]
    assert sorted(every) == sorted(names)


def test_frozen_weights_are_left_out() -> None:
    model = Small()
    model.conv.requires_grad_(False)
    groups = build_optimizer(model, 1e-3, 0.1).param_groups
    assert sum(len(g["params"]) for g in groups) == len(list(model.parameters())) - 2


def test_only_the_parameters_that_are_meant_are_optimized() -> None:
    model = Small()
    decayed, free = build_optimizer(model, 1e-3, 0.1, model.conv.parameters()).param_groups
    assert [id(p) for p in decayed["params"]] == [id(model.conv.weight)]
    assert [id(p) for p in free["params"]] == [id(model.conv.bias)]


def test_learning_rate_rises_then_falls_to_zero() -> None:
    factors = [rate_factor(step, 100, 10) for step in range(101)]
    assert factors[:10] == pytest.approx([0.1 * (i + 1) for i in range(10)])
    for step in range(10, 101):
        assert factors[step] == pytest.approx(0.5 + 0.5 * math.cos(math.pi * (step - 10) / 90))
    assert factors[100] == pytest.approx(0.0)
    assert rate_factor(500, 100, 10) == pytest.approx(0.0)
    assert rate_factor(0, 1, 0) == 1.0
    constant = [rate_factor(step, 100, 10, "constant") for step in range(101)]
    assert constant == [*factors[:10], *[1.0] * 91]


@pytest.mark.parametrize("done", [0, 7, 42])
def test_a_schedule_begins_anywhere_and_keeps_the_proportions_of_the_groups(done: int) -> None:
    weights = [nn.Parameter(torch.zeros(1)) for _ in range(2)]
    optimizer = torch.optim.SGD(
        [{"params": [weights[0]], "lr": 2.0}, {"params": [weights[1]], "lr": 0.5}]
    )
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
        group["lr"] = 123.0  # of an epoch before
    schedule = build_schedule(optimizer, 100, 10, done)
    for step in range(done, 100):
        for group, highest in zip(optimizer.param_groups, (2.0, 0.5), strict=True):
            assert group["lr"] == pytest.approx(highest * rate_factor(step, 100, 10))
        optimizer.step()
        schedule.step()


def test_weight_average_is_the_recurrence() -> None:
    torch.manual_seed(0)
    model = Small()
    average = build_average(model, decay=0.5)
    expected = model.conv.weight.detach().clone()
    for update in range(1, 30):
        with torch.no_grad():
            model.conv.weight.add_(torch.randn_like(model.conv.weight))
        model.counter += 1
        average.update_parameters(model)
        decay = min(0.5, update / (update + 9))
        expected = decay * expected + (1 - decay) * model.conv.weight.detach()
        averaged = average.module.state_dict()["conv.weight"]
        torch.testing.assert_close(averaged, expected, msg="the first steps count less too")
    other = Small()
    other.load_state_dict(average.module.state_dict())
    torch.testing.assert_close(other.conv.weight, expected)
    assert other.counter == 29
    assert not torch.equal(model.conv.weight, other.conv.weight)


def test_weight_average_continues_from_its_state() -> None:
    torch.manual_seed(0)
    model = Small()
    average = build_average(model, decay=0.9)
    average.update_parameters(model)
    state = copy.deepcopy(average.state_dict())
    resumed = build_average(Small(), decay=0.9)
    resumed.load_state_dict(state)
    for each in (average, resumed):
        with torch.no_grad():
            model.conv.weight.fill_(1.0)
        each.update_parameters(model)
    for name, value in average.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name])


def test_weights_that_are_not_trained_are_in_memory_once() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))
    model[0].requires_grad_(False)
    average = build_average(model, decay=0.5)
    with torch.no_grad():
        model[1].weight += 1
    before = average.module[1].weight.clone()
    average.update_parameters(model)
    assert average.module[0].weight.data_ptr() == model[0].weight.data_ptr()
    assert not average.module[1].weight.equal(before)
    assert average.module[1].weight.data_ptr() != model[1].weight.data_ptr()
    frozen = build_average(model.requires_grad_(False), decay=0.5)
    frozen.update_parameters(model)
    assert frozen.module[1].weight.equal(model[1].weight)

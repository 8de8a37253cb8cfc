from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from pipeline.modalities.layers import (
    AttentionPool,
    ConvBlock,
    Features,
    TransformerBlock,
    masked_softmax,
    stage_channels,
)


@pytest.fixture
def mask() -> torch.Tensor:
    return torch.tensor([[True, True, False], [False, True, False], [False, False, False]])


def test_masked_softmax_is_the_softmax_of_the_real_entries(mask: torch.Tensor) -> None:
    scores = torch.randn(3, 3, generator=torch.Generator().manual_seed(0))
    weights = masked_softmax(scores, mask, dim=1)
    for row in range(3):
        real = [column for column in range(3) if mask[row, column]]
        total = sum(math.exp(scores[row, column]) for column in real)
        for column in range(3):
            expected = math.exp(scores[row, column]) / total if column in real else 0.0
            assert weights[row, column].item() == pytest.approx(expected, abs=1e-6)


def test_masked_softmax_of_nothing_has_no_gradient(mask: torch.Tensor) -> None:
    scores = torch.zeros(3, 3, requires_grad=True)
    masked_softmax(scores, mask, dim=1).square().sum().backward()
    assert scores.grad is not None
    assert (scores.grad[2] == 0).all()


def test_attention_pool_is_a_weighted_mean_for_each_head(mask: torch.Tensor) -> None:
    torch.manual_seed(0)
    pool = AttentionPool(8, heads=2)
    tokens = torch.randn(3, 3, 8)
    pooled = pool(Features(tokens, mask))
    normed = nn.functional.layer_norm(tokens, (8,))
    for row in range(2):
        real = [column for column in range(3) if mask[row, column]]
        for head in range(2):
            scores = [
                (normed[row, i] @ pool.score.weight[head] + pool.score.bias[head]).item()
                for i in real
            ]
            total = sum(math.exp(score) for score in scores)
            expected = sum(
                math.exp(score) / total * pool.value(normed[row, i])[4 * head : 4 * head + 4]
                for score, i in zip(scores, real, strict=True)
            )
            torch.testing.assert_close(pooled[row, 4 * head : 4 * head + 4], expected)
    assert (pooled[2] == 0).all()


def test_transformer_block_attends_as_the_formula_says(mask: torch.Tensor) -> None:
    torch.manual_seed(0)
    block = TransformerBlock(8, heads=2, dropout=0.0).eval()
    tokens = torch.randn(3, 3, 8)
    got = block(tokens, mask)
    query, key, value = (
        block.query(block.norm_attention(tokens)),
        *block.key_value(block.norm_attention(tokens)).chunk(2, dim=-1),
    )
    attended = torch.zeros(3, 3, 8)
    for row in range(2):
        real = [i for i in range(3) if mask[row, i]]
        for head in range(2):
            part = slice(4 * head, 4 * head + 4)
            for i in range(3):
                scores = torch.stack(
                    [query[row, i, part] @ key[row, j, part] / math.sqrt(4) for j in real]
                )
                weights = scores.softmax(0)
                attended[row, i, part] = sum(
                    w * value[row, j, part] for w, j in zip(weights, real, strict=True)
                )
    hidden = tokens + block.project(attended)
    expected = hidden + block.perceptron(block.norm_perceptron(hidden))
    torch.testing.assert_close(got[:2], expected[:2], rtol=1e-4, atol=1e-5)
    assert torch.isfinite(got[2]).all()
    torch.testing.assert_close(block(tokens, mask, num_queries=2), got[:, :2])


@pytest.mark.parametrize(("height", "width"), [(28, 28), (7, 9), (1, 1)])
def test_conv_block_halves_and_rounds_up(height: int, width: int) -> None:
    maps = ConvBlock(3, 16)(torch.randn(2, 3, height, width))
    assert maps.shape == (2, 16, math.ceil(height / 2), math.ceil(width / 2))


def test_stage_channels_double_up_to_the_width() -> None:
    assert stage_channels(2, 64) == [32, 64]
    assert stage_channels(5, 64) == [16, 16, 16, 32, 64]
    assert stage_channels(4, 96) == [16, 24, 48, 96]

"""Encoders of vectors: shapes, masks, standardisation, and that each learns."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from support.vectors import wave
from torch.nn import functional

from pipeline.modalities.vector import VectorConfig
from pipeline.modalities.vector.encoders.cnn import any_of_two
from pipeline.modalities.vector.encoders.standardize import MOST_DEVIATIONS, Standardize

KINDS = ("mlp", "cnn", "transformer")


def network(shape: tuple[int, ...], kind: str, **settings: Any) -> torch.nn.Module:
    torch.manual_seed(0)
    return VectorConfig(shape=shape, encoder={"kind": kind}, **settings).build_encoder(32).eval()


def batch(shape: tuple[int, ...], values: list[np.ndarray | None], **settings: Any) -> torch.Tensor:
    codec = VectorConfig(shape=shape, **settings).codec(None)
    return torch.from_numpy(codec.collate(codec.to_arrow(values)).values)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(1,), (7,), (1, 1), (2, 5), (33, 2), (100, 3), (1025, 1)])
def test_tokens_of_any_shape(kind: str, shape: tuple[int, ...]) -> None:
    values = torch.stack([torch.randn(3, *shape), torch.ones(3, *shape)], dim=1)
    tokens, mask = network(shape, kind)(values)
    assert tokens.shape == (3, mask.shape[1], 32)
    assert mask.all()
    assert mask.shape[1] <= {"mlp": 1, "cnn": 16, "transformer": 32}[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_missing_is_masked_and_never_nan(kind: str) -> None:
    short = np.full((64, 2), np.nan, np.float32)
    short[:20] = 3e38  # the largest there are
    values = batch((64, 2), [short, None, np.ones((64, 2), np.float32)])
    model = network((64, 2), kind)
    tokens, mask = model(values)
    assert torch.isfinite(tokens).all()
    assert mask[0].any()
    assert not mask[1].any()
    assert mask[2].all()
    if kind != "mlp":
        share = mask.shape[1] * 20 / 64
        assert mask[0].sum() == pytest.approx(share, abs=1)
        assert mask[0, : int(mask[0].sum())].all(), "the beginning is real"


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_value_says_nothing(kind: str) -> None:
    """Whatever stands where a value is missing, NaN excepted, does not reach the tokens."""
    values = torch.stack([torch.randn(2, 20, 2), torch.ones(2, 20, 2)], dim=1)
    values[:, 1, 5:9, 0] = 0
    other = values.clone()
    other[:, 0, 5:9, 0] = 1e6
    model = network((20, 2), kind)
    torch.testing.assert_close(model(values).tokens, model(other).tokens, rtol=0, atol=0)


def test_mask_is_told_and_mean_is_not() -> None:
    values = torch.stack([torch.zeros(1, 4, 2), torch.ones(1, 4, 2)], dim=1)
    holed = values.clone()
    holed[0, 1, 2, 0] = 0
    gone = values.clone()
    gone[0, 1, 2:] = 0
    told, filled = Standardize((4, 2)), Standardize((4, 2), fill=True)
    assert not torch.equal(told(values).inputs, told(holed).inputs)
    assert torch.equal(filled(values).inputs, filled(holed).inputs), "the mean is 0 here"
    assert filled(gone).mask.tolist() == [[True, True, False, False]], "a series that ended"
    features = Standardize((3,), fill=True)
    mask = torch.tensor([[[0.0, 5.0, 0.0], [0.0, 1.0, 0.0]]])
    assert features(mask).mask.all()


def test_standardised_by_definition() -> None:
    rng = np.random.default_rng(0)
    rows = [
        (wave(3, phase) + rng.normal(0, 0.1, (64, 2))).astype(np.float32)
        for phase in rng.random(20)
    ]
    rows[3][50:] = np.nan
    rows[4][5, 1] = np.nan
    config = VectorConfig(shape=(64, 2))
    codec, statistics = config.codec(None), config.training_statistics()
    column = codec.to_arrow([*rows, None])
    for piece in (column[:7], column[7:8], column[8:]):
        statistics.add(piece)
    moments = statistics.result()
    for channel in range(2):
        values = [float(v) for row in rows for v in row[:, channel] if not np.isnan(v)]
        mean = sum(values) / len(values)
        deviation = (sum((v - mean) ** 2 for v in values) / len(values)) ** 0.5
        assert moments["mean"][channel] == pytest.approx(mean, rel=1e-9, abs=1e-12)
        assert moments["deviation"][channel] == pytest.approx(deviation, rel=1e-9)
        assert moments["count"][channel] == len(values)
    first = Standardize((64, 2))
    first.fit(moments)
    inputs = first(torch.from_numpy(codec.collate(column).values)).inputs
    at = (rows[2][9, 1] - moments["mean"][1]) / moments["deviation"][1]
    assert float(inputs[2, 1, 9]) == pytest.approx(at, rel=1e-4)
    assert inputs[3, :, 50:].abs().sum() == 0


def test_features_are_standardised_one_by_one() -> None:
    config = VectorConfig(shape=(3,))
    codec, statistics = config.codec(None), config.training_statistics()
    rows = [np.array(row, np.float32) for row in ([1, 5, 10], [3, 5, np.nan], [5, 5, 30])]
    statistics.add(codec.to_arrow(rows))
    moments = statistics.result()
    assert moments["mean"] == pytest.approx([3, 5, 20])
    assert moments["deviation"] == pytest.approx([(8 / 3) ** 0.5, 1, 10]), (
        "a constant is divided by 1"
    )
    assert VectorConfig(shape=(2,)).training_statistics().result()["deviation"] == [1, 1]


def test_an_outlier_is_held_back() -> None:
    inputs = Standardize((1,))(torch.tensor([[[3e38], [1.0]], [[-3e38], [1.0]]])).inputs
    assert inputs[:, 0, 0].tolist() == [MOST_DEVIATIONS, -MOST_DEVIATIONS]


def test_any_of_two_by_definition() -> None:
    for length in range(1, 8):
        for bits in range(1 << length):
            mask = torch.tensor([[bool(bits >> i & 1) for i in range(length)]])
            expected = [bool(mask[0, i : i + 2].any()) for i in range(0, length, 2)]
            assert any_of_two(mask)[0].tolist() == expected


@pytest.mark.parametrize("kind", KINDS)
def test_every_encoder_learns_a_batch_by_heart(kind: str) -> None:
    torch.manual_seed(1)
    rng = np.random.default_rng(1)
    rows: list[np.ndarray | None] = [wave(2 + 2 * (i % 3), rng.random()) for i in range(24)]
    config = VectorConfig(shape=(64, 2), encoder={"kind": kind})
    codec, statistics = config.codec(None), config.training_statistics()
    column = codec.to_arrow(rows)
    statistics.add(column)
    model = config.build_encoder(32)
    model.fit(statistics.result())
    head = torch.nn.Linear(32, 3)
    values = torch.from_numpy(codec.collate(column).values)
    labels = torch.arange(24) % 3
    weights = [*model.parameters(), *head.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=3e-3)
    for _ in range(150):
        tokens, mask = model(values)
        loss = functional.cross_entropy(head((tokens * mask[..., None]).mean(dim=1)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert all(weight.grad is not None for weight in weights), "every weight takes part"
    assert loss.item() < 0.05


@pytest.mark.parametrize("kind", KINDS)
def test_what_training_found_out_travels_with_the_weights(kind: str) -> None:
    model = network((8, 2), kind)
    model.fit({"mean": [1.0, 2.0], "deviation": [3.0, 4.0], "count": [5, 5]})
    other = network((8, 2), kind)
    other.load_state_dict(model.state_dict())
    assert other.standardize.mean.flatten().tolist() == [1.0, 2.0]
    assert other.standardize.deviation.flatten().tolist() == [3.0, 4.0]
    assert pa.types.is_float32(VectorConfig(shape=(8, 2)).codec(None).column.type.value_type)

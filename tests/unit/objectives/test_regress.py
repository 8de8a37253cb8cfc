"""Estimating numbers: which are read and which refused, how they are standardised, learned and judged."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from pydantic import TypeAdapter
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from pipeline.errors import ConfigError, SampleError
from pipeline.metrics.record import EvaluationRecord
from pipeline.modalities.image.encoders.cnn import ImageEncoder
from pipeline.objectives import ObjectiveConfig
from pipeline.objectives.base import Judging
from pipeline.objectives.regress import RegressConfig
from pipeline.objectives.regress.numbers import NumberSurvey, NumberTarget
from pipeline.sample import Field, Sample
from pipeline.training.optimization.optimizers import build_optimizer

BATCH = 12


def sample(**fields: bytes) -> Sample:
    members = {name: Field(memoryview(data), 0, len(data)) for name, data in fields.items()}
    return Sample("k", "x.tar", 0, members)


def surveyed(numbers: np.ndarray) -> NumberSurvey:
    survey = NumberSurvey(tuple(f"json.{k}" for k in range(numbers.shape[1])))
    for row in numbers:
        survey.add_text(json.dumps(row.tolist()))
    return survey


def config(**settings: Any) -> RegressConfig:
    tree = {"kind": "regress", "width": 32, "fusion": {"kind": "concat"}, **settings}
    return TypeAdapter(ObjectiveConfig).validate_python(tree)


@pytest.mark.parametrize("text", ["3", "-2.5", "+.5", "1e3", " 7.\n", "1E-3"])
def test_numbers_as_people_write_them_are_read(text: str) -> None:
    target = config().targets()
    assert target.read(sample(cls=text.encode())) == json.dumps([float(text)])


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"cls": b"warm"}, "cls is no number: 'warm'"),
        ({"cls": b"1_000"}, "no number"),
        ({"cls": "\u0663".encode()}, "no number"),
        ({"cls": b"0x10"}, "no number"),
        ({"cls": b"1,5"}, "no number"),
        ({"cls": b"nan"}, "not finite"),
        ({"cls": b"-Infinity"}, "not finite"),
        ({"cls": b"1e999"}, "larger than any number"),
        ({"cls": b" "}, "empty"),
    ],
)
def test_what_is_no_number_is_refused_with_reason_and_setting(
    fields: dict[str, bytes], what: str
) -> None:
    with pytest.raises(SampleError, match=what) as caught:
        config().targets().read(sample(**fields))
    error = caught.value
    assert (error.reason, error.field, error.setting) == ("bad_label", "cls", "objective.target")


@pytest.mark.parametrize("value", ["NaN", "true", "[1]", "null", '"x"', "1e999"])
def test_json_that_holds_no_number_is_refused(value: str) -> None:
    target = config(target=["json.a", "json.b"]).targets()
    assert target.read(sample(json=b'{"a": 1, "b": "2.5"}')) == "[1.0, 2.5]"
    with pytest.raises(SampleError) as caught:
        target.read(sample(json=f'{{"a": 1, "b": {value}}}'.encode()))
    assert (caught.value.reason, caught.value.setting) == ("bad_label", "objective.target")


def test_a_sample_without_its_number_lacks_its_label() -> None:
    for fields in ({"txt": b"x"}, {"json": b'{"b": 1}'}):
        with pytest.raises(SampleError) as caught:
            config(target="json.a").targets().read(sample(**fields))
        assert caught.value.reason == "missing_label"
        assert caught.value.setting == "objective.target"
    with pytest.raises(SampleError):
        NumberTarget(("cls",)).accept(None)


def test_mean_and_deviation_are_those_of_all_numbers_however_the_pass_was_shared() -> None:
    numbers = np.random.default_rng(0).normal([1e6, -3.0], [0.5, 20.0], (400, 2))
    whole, shared = surveyed(numbers), surveyed(numbers[:0])
    for cut in np.split(numbers, [1, 5, 5, 190]):
        shared.merge(surveyed(cut))
    for survey in (whole, shared):
        assert survey.count == 400
        scale = survey.scale()
        np.testing.assert_allclose(scale.mean, numbers.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(scale.deviation, numbers.std(axis=0), rtol=1e-9)


@pytest.mark.parametrize(
    ("numbers", "what"),
    [
        (np.zeros((0, 1)), "nowhere"),
        (np.full((7, 1), 0.1), "0.1 in all 7 training samples"),
        (np.array([[1.0, 5.0], [2.0, 5.0]]), "json.1 is 5 in all 2"),
        (np.array([[1e300], [-1e300]]), "too large"),
    ],
)
def test_numbers_that_teach_nothing_are_refused_by_name(numbers: np.ndarray, what: str) -> None:
    with pytest.raises(ConfigError, match=what) as caught:
        surveyed(numbers).scale()
    assert "objective.target" in str(caught.value)


LEARNED = {"mean": [100.0, -1.0], "deviation": [20.0, 0.5]}


def build(count: int = 2, **settings: Any) -> Any:
    torch.manual_seed(0)
    learned = {name: values[:count] for name, values in LEARNED.items()}
    places = [f"json.{k}" for k in range(count)]
    return config(target=places, **settings).build({"image": ImageEncoder(14, 32)}, learned)


def make_batch(model: Any, seed: int = 0) -> tuple[dict[str, torch.Tensor], np.ndarray]:
    random = np.random.default_rng(seed)
    numbers = random.normal([100.0, -1.0], [20.0, 0.5], (BATCH, 2))[:, : len(model.mean)]
    images = torch.from_numpy(random.integers(0, 256, (BATCH, 14, 14, 3), dtype=np.uint8))
    present = torch.ones(BATCH, dtype=torch.bool)
    targets = model.targets([json.dumps(row.tolist()) for row in numbers])
    return {"image": images, "image_present": present, **targets}, numbers


@pytest.mark.parametrize("loss", ["squared", "absolute", "huber"])
def test_overfits_one_batch(loss: str) -> None:
    model = build(loss=loss, dropout=0.0, modality_dropout=0.0).train()
    batch, numbers = make_batch(model)
    optimizer = build_optimizer(model, 3e-3, 0.0)
    for _ in range(150):
        mean, _ = model(batch)
        optimizer.zero_grad()
        mean.backward()
        optimizer.step()
    predicted = model.eval().predict(batch)["prediction"].numpy()
    assert (np.abs(predicted - numbers).mean(axis=0) < 0.15 * numbers.std(axis=0)).all()


@pytest.mark.parametrize("count", [1, 2])
def test_the_metrics_of_an_epoch_are_those_of_its_predictions(count: int) -> None:
    model = build(count).eval()
    batch, numbers = make_batch(model)
    halves = [{k: v[part] for k, v in batch.items()} for part in (slice(0, 5), slice(5, BATCH))]
    sums: dict[str, float] = {}
    for half in halves:
        for name, value in model(half)[1].items():
            sums[name] = sums.get(name, 0.0) + value.item()
    metrics = model.metrics(sums)
    predicted = model.predict(batch)["prediction"].numpy()
    assert predicted.shape == (BATCH, count)
    assert metrics["mae"] == pytest.approx(mean_absolute_error(numbers, predicted), rel=1e-5)
    assert metrics["mae_image"] == pytest.approx(metrics["mae"], rel=1e-5)
    assert metrics["rmse"] == pytest.approx(root_mean_squared_error(numbers, predicted), rel=1e-5)
    assert metrics["r2"] == pytest.approx(r2_score(numbers, predicted), rel=1e-4)


def test_r2_of_equal_targets_is_left_out() -> None:
    model = build(1).eval()
    batch, _ = make_batch(model)
    batch["target"] = torch.full_like(batch["target"], 0.3)
    sums = {name: value.item() for name, value in model(batch)[1].items()}
    assert "r2" not in model.metrics(sums)


def test_the_network_holds_no_scale_among_its_weights() -> None:
    assert not {"mean", "deviation"} & set(build().state_dict())


def test_columns_of_one_and_of_several_numbers() -> None:
    vector = pa.field("embedding", pa.list_(pa.float32(), 32))
    for places, kind in (("cls", pa.float32()), (["a", "b"], pa.list_(pa.float32(), 2))):
        objective = config(target=places)
        fields = objective.schema({})
        assert fields == [pa.field("prediction", kind), vector]
        count = len(objective.places)
        arrays = {"prediction": np.ones((3, count)), "embedding": np.ones((3, 32))}
        rows = objective.rows({k: v.astype(np.float32) for k, v in arrays.items()}, {})
        assert rows.schema == pa.schema(fields)


def judged(numbers: np.ndarray, predicted: dict[str, np.ndarray]) -> dict[str, Any]:
    objective = config(target="cls")
    learned = {"mean": [float(numbers.mean())], "deviation": [1.0]}
    evaluation = objective.evaluation(learned, Judging("test", 0, 50))
    present = {name: np.ones(len(numbers), bool) for name in ("image", "text")}
    present["text"][:3] = False
    for part in (slice(0, 4), slice(4, None)):
        tables = {
            k: pa.table({"prediction": v[part].astype(np.float32)}) for k, v in predicted.items()
        }
        texts = [json.dumps([value]) for value in numbers[part].tolist()]
        evaluation.update(texts, tables, {k: v[part] for k, v in present.items()})
    record = evaluation.compute()
    metrics = record.to_json()
    assert EvaluationRecord.from_json(json.loads(json.dumps(metrics, allow_nan=False))) == record
    return metrics | {"flat": objective.flat(record)}


def test_every_subset_is_judged_on_its_own_samples_and_against_the_whole() -> None:
    random = np.random.default_rng(0)
    numbers = random.normal(size=20)
    noise = {"image": 0.5, "text": 2.0, "image+text": 0.1}
    predicted = {k: numbers + random.normal(0, v, 20) for k, v in noise.items()}
    metrics = judged(numbers, predicted)
    for name, rows in (
        ("image", slice(None)),
        ("text", slice(3, None)),
        ("image+text", slice(None)),
    ):
        error = np.abs(predicted[name] - numbers)[rows].mean()
        whole = np.abs(predicted["image+text"] - numbers)[rows].mean()
        subset = metrics["subsets"][name]
        assert subset["mae"] == pytest.approx(error, rel=1e-5)
        assert subset["difference"] == pytest.approx(error - whole, abs=1e-6)
        assert metrics["flat"][f"mae_{name}"] == subset["mae"]
    assert metrics["subsets"]["text"]["num_samples"] == 17
    low, high = metrics["subsets"]["text"]["difference_interval"]
    assert 0 < low < high
    assert {"mae", "rmse", "r2", "spearman"} <= set(metrics["flat"])


def test_an_undefined_number_is_null_with_words() -> None:
    numbers = np.full(6, 2.5)
    metrics = judged(numbers, dict.fromkeys(("image", "text", "image+text"), numbers + 1))
    overall = metrics["overall"]
    assert overall["r2"] is None
    assert overall["undefined"]["r2"] == "all targets are equal"
    assert overall["mae"] == pytest.approx(1.0)
    assert "r2" not in metrics["flat"]


def test_what_a_mean_leaves_out_is_named_as_the_configuration_names_it() -> None:
    objective = config(target=["json.x", "json.y"])
    learned = {"mean": [0.0, 0.0], "deviation": [1.0, 1.0]}
    evaluation = objective.evaluation(learned, Judging("test", 0, 0))
    numbers = [[float(k), 7.0] for k in range(6)]
    predicted = pa.table({"prediction": pa.array(numbers, pa.list_(pa.float32(), 2))})
    present = {"image": np.ones(6, bool)}
    evaluation.update([json.dumps(pair) for pair in numbers], {"image": predicted}, present)
    undefined = evaluation.compute().overall.undefined
    assert undefined == dict.fromkeys(("r2", "spearman"), "json.y: all targets are equal")

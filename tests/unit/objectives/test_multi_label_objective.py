"""Several labels of a sample: what is read, learned, predicted and judged."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from pipeline.errors import ConfigError, SampleError
from pipeline.metrics.record import EvaluationRecord
from pipeline.metrics.thresholds import choose_thresholds
from pipeline.modalities.text.encoders.transformer import TextEncoder
from pipeline.objectives.base import Judging
from pipeline.objectives.losses import binary_focal_loss
from pipeline.objectives.multi_label import MultiLabelConfig
from pipeline.objectives.multi_label.evaluation import LabelDetails
from pipeline.objectives.multi_label.labels import LabelsTarget
from pipeline.objectives.multi_label.model import MultiLabelClassifier
from pipeline.sample import Field, Sample
from pipeline.training.optimization.optimizers import build_optimizer

CLASSES = ("cat", "dog", "emu")
LEARNED: dict[str, Any] = {"classes": list(CLASSES), "thresholds": [0.5, 0.25, 0.9]}
TEXTS = ['["cat"]', '["cat", "dog"]', "[]", '["emu"]', '["dog", "emu"]', "[]"]


def sample(**fields: str) -> Sample:
    data = {name: memoryview(text.encode()) for name, text in fields.items()}
    members = {name: Field(value, 0, len(value)) for name, value in data.items()}
    return Sample("k", "a.tar", 0, members)


def read(target: LabelsTarget, **fields: str) -> str:
    return target.read(sample(**fields))


def test_json_lists_are_read_as_sorted_sets() -> None:
    target = LabelsTarget("cls")
    assert read(target, cls='["dog", " cat ", "dog", 7]') == '["7", "cat", "dog"]'
    assert read(target, cls="[]") == "[]"
    assert read(target, cls='["cafe\\u0301"]') == '["café"]', "in Unicode's form NFC"
    tags = LabelsTarget("json.meta.tags")
    assert read(tags, json='{"meta": {"tags": ["b", "a"]}}') == '["a", "b"]'


def test_separated_texts_are_read() -> None:
    target = LabelsTarget("txt", ",")
    assert read(target, txt=" dog, cat,, dog\n") == '["cat", "dog"]'
    assert read(target, txt="  ") == "[]"
    assert read(LabelsTarget("json.tags", "|"), json='{"tags": "b|a"}') == '["a", "b"]'
    assert read(LabelsTarget("json.tags", "|"), json='{"tags": ["b|a"]}') == '["b|a"]'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cat", "not JSON"),
        ('"cat"', "not a JSON list"),
        ("null", "not a JSON list"),
        ("[true]", "not a text or a number"),
        ("[null]", "not a text or a number"),
        ('[["cat"]]', "not a text or a number"),
        ('["cat", " "]', "is empty"),
    ],
)
def test_what_is_no_list_of_labels_is_a_fault_of_the_sample(text: str, words: str) -> None:
    with pytest.raises(SampleError, match=words) as error:
        read(LabelsTarget("cls"), cls=text)
    assert error.value.reason == "bad_label"


def test_unknown_and_missing_labels_have_their_reasons() -> None:
    target = LabelsTarget("cls", None, frozenset(CLASSES))
    assert read(target, cls='["dog"]') == target.accept('["dog"]') == '["dog"]'
    for refuse in (lambda: read(target, cls='["cat", "yak"]'), lambda: target.accept('["yak"]')):
        with pytest.raises(SampleError, match="'yak' is not one") as error:
            refuse()
        assert (error.value.reason, error.value.setting) == ("unknown_label", "objective.classes")
    for refuse in (lambda: read(target, txt="x"), lambda: target.accept(None)):
        with pytest.raises(SampleError) as error:
            refuse()
        assert error.value.reason == "missing_label"


def test_classes_are_learned_and_surveys_merge() -> None:
    config = MultiLabelConfig()
    first, second = config.survey(), config.survey()
    for text in TEXTS[:3]:
        first.add_text(text)
    for text in TEXTS[3:]:
        second.add(sample(cls=text), 10)
    first.merge(second)
    assert first.count == 6
    assert first.counts() == {"cat": 2, "dog": 2, "emu": 2}
    assert config.learn(first) == {"classes": list(CLASSES)}
    few = MultiLabelConfig(classes=["dog", "cat"])
    assert few.learn(first) == {"classes": ["dog", "cat"]}
    assert first.refused(few.targets(few.learn(first))) == {"unknown_label": 2}
    empty = config.survey()
    empty.add_text("[]")
    with pytest.raises(ConfigError, match="none of the 1 training samples has a label"):
        config.learn(empty)


def test_samples_of_rare_labels_are_repeated() -> None:
    config = MultiLabelConfig(balanced_sampling=0.9)
    survey = config.survey()
    for text in ['["cat"]', '["cat"]', '["cat", "dog"]', "[]"]:
        survey.add_text(text)
    learned = config.learn(survey)
    assert learned == {"classes": ["cat", "dog"], "shares": [0.75, 0.25]}
    repeats = config.repeats(learned, 7)
    assert repeats is not None
    assert repeats.factors == {"cat": math.sqrt(0.9 / 0.75), "dog": math.sqrt(0.9 / 0.25)}
    assert repeats.classes_of('["cat", "dog"]') == ["cat", "dog"]
    assert MultiLabelConfig().repeats({"classes": ["cat"]}, 7) is None


def build(**settings: Any) -> MultiLabelClassifier:
    torch.manual_seed(0)
    plain = {"width": 32, "dropout": 0.0, "modality_dropout": 0.0, "fusion": {"kind": "concat"}}
    config = MultiLabelConfig.model_validate({**plain, **settings})
    return config.build({"text": TextEncoder(30, 6, 32)}, LEARNED)


def batch_of(model: MultiLabelClassifier, texts: list[str] = TEXTS) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(1, 30, (len(texts), 6), generator=generator)
    present = torch.ones(len(texts), dtype=torch.bool)
    return {"text": tokens, "text_present": present, **model.targets(texts)}


@pytest.mark.parametrize("settings", [{}, {"loss": "focal"}])
def test_overfits_one_batch(settings: dict[str, Any]) -> None:
    model = build(**settings)
    batch = batch_of(model)
    optimizer = build_optimizer(model, 1e-2, 0.0)
    model.train()
    for _ in range(60):
        loss, _ = model(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    probabilities = model.predict(batch)["probabilities"]
    assert torch.equal(probabilities > 0.5, batch["label"] > 0)
    _, sums = model(batch)
    metrics = model.metrics({name: value.item() for name, value in sums.items()})
    assert metrics["f1_micro"] == metrics["f1_micro_text"] == 1.0


def test_the_loss_is_binary_cross_entropy_and_sums_add_up() -> None:
    model = build(unimodal_weight=0.0).eval()
    batch = batch_of(model)
    loss, whole = model(batch)
    probabilities = model.predict(batch)["probabilities"]
    expected = torch.nn.functional.binary_cross_entropy(probabilities, batch["label"])
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    halves = [{k: v[part] for k, v in batch.items()} for part in (slice(0, 2), slice(2, 6))]
    for name, value in whole.items():
        torch.testing.assert_close(sum(model(half)[1][name] for half in halves), value)
    labels, predicted = (batch["label"] > 0).numpy(), (probabilities > 0.5).numpy()
    f1 = 2 * (labels & predicted).sum() / (labels.sum() + predicted.sum())
    metrics = model.metrics({name: value.item() for name, value in whole.items()})
    assert metrics["f1_micro"] == pytest.approx(f1)


def test_the_focal_loss_is_used_where_it_is_asked_for() -> None:
    model = build(loss="focal", gamma=1.5).eval()
    batch = batch_of(model)
    logits = model.answer(batch).outputs
    expected = binary_focal_loss(logits, batch["label"], 1.5).mean(dim=1)
    assert torch.equal(model.losses(logits, batch), expected)


def test_an_epoch_is_judged_by_the_metric_that_models_are_compared_by() -> None:
    """By hand: the mean over classes of the mean, over a class's samples by rank, of the precision up to each."""
    rng = np.random.default_rng(3)
    labels = rng.random((12, 3)) < 0.4
    labels[:, 2] = False  # no sample of it: left out of the mean
    probabilities = rng.random((12, 3)).astype(np.float32)
    precisions = []
    for k in range(2):
        order = np.argsort(-probabilities[:, k])
        hits = np.cumsum(labels[order, k])
        at = np.flatnonzero(labels[order, k])
        precisions.append(float(np.mean(hits[at] / (at + 1))))
    network = build()
    observed = {"label": labels.astype(np.float32), "probabilities": probabilities}
    score = MultiLabelConfig().score
    row = {f"val_{name}": value for name, value in network.judged(observed).items()}
    assert row[score.column(row)] == pytest.approx(np.mean(precisions), rel=1e-12)
    assert (score.name, score.direction) == (MultiLabelConfig().metric, "max")
    assert network.judged({**observed, "label": np.zeros((12, 3), np.float32)}) == {}


def test_thresholds_settle_on_what_was_observed() -> None:
    model = build().eval()
    batches = [batch_of(model), batch_of(model, TEXTS[:2])]
    parts = [model.observed(batch) for batch in batches]
    arrays = {name: torch.cat([part[name] for part in parts]).numpy() for name in parts[0]}
    labels, probabilities = arrays["label"] > 0, arrays["probabilities"].astype(np.float64)
    chosen = choose_thresholds(labels, probabilities)
    assert model.settled(arrays) == {"thresholds": list(chosen.values)}


def test_rows_hold_the_classes_that_reach_their_thresholds() -> None:
    config = MultiLabelConfig(width=32)
    probabilities = np.array([[0.6, 0.3, 0.8], [0.1, 0.2, 0.3], [0.5, 0.1, 0.95]], np.float32)
    arrays = {"probabilities": probabilities, "embedding": np.zeros((3, 32), np.float32)}
    table = config.rows(arrays, LEARNED)
    assert list(table.schema) == config.schema(LEARNED)
    assert table["prediction"].to_pylist() == [["cat", "dog"], [], ["cat", "emu"]]
    assert table["score"].to_pylist() == probabilities.max(axis=1).tolist()
    assert table["probabilities"].type == pa.list_(pa.float32(), 3)
    assert config.rows({k: v[:0] for k, v in arrays.items()}, LEARNED).num_rows == 0
    assert config.footer(LEARNED)["thresholds"] == "[0.5, 0.25, 0.9]"
    without = {"classes": list(CLASSES)}
    assert config.rows(arrays, without)["prediction"].to_pylist()[2] == ["cat", "emu"]
    truth = config.truth(pa.array(TEXTS[:3]))
    assert truth.to_pylist() == [["cat"], ["cat", "dog"], []]


def evaluate(parts: int = 1) -> EvaluationRecord:
    config = MultiLabelConfig(width=32)
    rng = np.random.default_rng(0)
    texts = TEXTS * 10
    labels = np.array([[name in json.loads(text) for name in CLASSES] for text in texts])
    present = {"image": rng.random(60) < 0.8, "text": np.ones(60, bool)}
    tables = {}
    for name, noise in (("image", 0.9), ("text", 0.6), ("image+text", 0.3)):
        values = np.clip(labels + rng.normal(0, noise, labels.shape), 0, 1).astype(np.float32)
        arrays = {"probabilities": values, "embedding": np.zeros((60, 32), np.float32)}
        tables[name] = config.rows(arrays, LEARNED)
    whole = config.evaluation(LEARNED, Judging("test", 7, 100))
    for start in range(0, 60, 60 // parts):
        rows = slice(start, start + 60 // parts)
        part = config.evaluation(LEARNED, Judging("test", 7, 100))
        part.update(
            texts[rows],
            {name: table.slice(start, 60 // parts) for name, table in tables.items()},
            {name: column[rows] for name, column in present.items()},
        )
        whole.merge(part)
    return whole.compute()


def test_an_evaluation_judges_subsets_and_is_ready_for_json() -> None:
    record = evaluate()
    evaluation: dict[str, Any] = record.to_json()
    assert json.loads(json.dumps(evaluation, allow_nan=False)) == evaluation
    assert EvaluationRecord.from_json(evaluation) == record
    assert evaluate(parts=3) == record
    scores = LabelDetails.of(record).per_class["cat"]
    low, high = evaluation["overall"]["per_class"]["cat"]["interval"]
    assert low < scores.average_precision.value < high
    assert scores.average_precision.interval == (low, high)
    assert scores.to_json() == evaluation["overall"]["per_class"]["cat"]
    overall, subsets = evaluation["overall"], evaluation["subsets"]
    assert overall["mean_average_precision"] == pytest.approx(
        np.mean([row["average_precision"] for row in overall["per_class"].values()])
    )
    assert [row["threshold"] for row in overall["per_class"].values()] == [0.5, 0.25, 0.9]
    assert subsets["image"]["num_samples"] < 60 == subsets["text"]["num_samples"]
    assert subsets["image+text"]["difference"] == 0
    assert subsets["text"]["difference"] == pytest.approx(
        subsets["text"]["mean_average_precision"] - overall["mean_average_precision"]
    )
    assert set(overall["pr"]) == set(CLASSES)
    flat = MultiLabelConfig().flat(record)
    assert flat["mean_average_precision_text"] == subsets["text"]["mean_average_precision"]
    assert {"f1_micro", "f1_macro", "subset_accuracy", "hamming_loss"} <= set(flat)

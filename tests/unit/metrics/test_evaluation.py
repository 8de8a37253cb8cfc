"""The evaluation of one split: subsets, their samples, and the flat summary."""

import json
from dataclasses import replace

import numpy as np
import pytest

from pipeline.metrics.evaluation import compare_model, evaluate_predictions, summary_metrics
from pipeline.metrics.record import EvaluationRecord

CLASSES = ("cat", "dog", "owl")


@pytest.fixture
def made():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 200)
    present = {"image": rng.random(200) < 0.8, "text": rng.random(200) < 0.7}

    def probabilities(skill):
        logits = rng.normal(size=(200, 3))
        logits[np.arange(200), labels] += skill
        return (np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)).astype(np.float32)

    subsets = {
        "image": probabilities(1),
        "text": probabilities(0.5),
        "image+text": probabilities(2),
    }
    subsets["image"][~present["image"]] = np.nan  # nothing to look at: never read
    return {"classes": CLASSES, "labels": labels, "probabilities": subsets, "present": present}


def test_a_subset_is_judged_on_the_samples_it_can_see(made):
    result = evaluate_predictions(**made, seed=7).to_json()
    seen = made["present"]["image"]
    correct = made["probabilities"]["image"][seen].argmax(axis=1) == made["labels"][seen]
    assert result["subsets"]["image"]["num_samples"] == seen.sum()
    assert result["subsets"]["image"]["accuracy"] == pytest.approx(correct.mean())
    full = made["probabilities"]["image+text"][seen].argmax(axis=1) == made["labels"][seen]
    difference = correct.mean() - full.mean()
    assert result["subsets"]["image"]["difference"] == pytest.approx(difference)
    low, high = result["subsets"]["image"]["interval"]
    assert low < correct.mean() < high


def test_the_full_subset_is_the_overall_one(made):
    result = evaluate_predictions(**made, seed=7).to_json()
    assert result["subsets"]["image+text"]["accuracy"] == result["overall"]["accuracy"]
    assert result["subsets"]["image+text"]["f1_macro"] == pytest.approx(
        result["overall"]["f1_macro"]
    )
    assert result["subsets"]["image+text"]["difference"] == 0
    low, high = result["overall"]["intervals"]["f1_macro"]
    assert low < result["overall"]["f1_macro"] < high


def test_result_is_strict_json_and_repeats(made):
    result = evaluate_predictions(**made, seed=7).to_json()
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    record = evaluate_predictions(**made, seed=7)
    assert record.to_json() == result
    assert EvaluationRecord.from_json(result) == record, "read as it was written"


def test_summary_is_flat(made):
    metrics = summary_metrics(evaluate_predictions(**made, seed=7))
    assert {"accuracy", "f1_macro", "roc_auc", "accuracy_image", "accuracy_image+text"} <= set(
        metrics
    )
    assert all(isinstance(value, float) for value in metrics.values())


def test_subsets_must_be_made_of_the_modalities_in_order(made):
    swapped = {**made["probabilities"], "text+image": made["probabilities"]["image+text"]}
    with pytest.raises(ValueError, match="in that order"):
        evaluate_predictions(**{**made, "probabilities": swapped}, seed=7)
    del made["probabilities"]["image+text"]
    with pytest.raises(ValueError, match="no predictions for all"):
        evaluate_predictions(**made, seed=7)


def test_a_split_without_samples():
    nothing = {"image": np.zeros((0, 3), np.float32)}
    record = evaluate_predictions(
        CLASSES, np.zeros(0, np.int64), nothing, {"image": np.zeros(0, bool)}, seed=0
    )
    result = record.to_json()
    assert result["overall"]["accuracy"] is None
    assert result["overall"]["intervals"] == {}
    assert result["subsets"]["image"]["interval"] is None
    json.dumps(result, allow_nan=False)
    assert summary_metrics(record) == {}


def test_another_model_is_one_row(made):
    row = compare_model(
        "text alone", ["text"], CLASSES, made["labels"], made["probabilities"]["text"], seed=1
    )
    assert (row.name, row.modalities, row.num_samples) == ("text alone", ("text",), 200)
    assert row.interval[0] < row.metrics["accuracy"] < row.interval[1]
    assert row.difference is None


def test_every_key_of_the_file_stands_where_it_did(made):
    """Other programs read these keys."""
    record = evaluate_predictions(**made, seed=7)
    other = compare_model(
        "text alone", ["text"], CLASSES, made["labels"], made["probabilities"]["text"], seed=1
    )
    record = replace(record, comparison=(other,), seen_in_training={"train": 1, "of": 2})
    tree = record.to_json()
    names = "split classes modalities overall subsets comparison seen_in_training"
    assert set(tree) == set(names.split())
    assert "seen_in_training" not in evaluate_predictions(**made, seed=7).to_json()
    metrics = "accuracy balanced_accuracy log_loss precision_macro recall_macro f1_macro roc_auc"
    details = "per_class confusion roc pr calibration intervals num_samples average_precision"
    assert set(tree["overall"]) == {*metrics.split(), *details.split()}
    row = "accuracy f1_macro num_samples interval difference difference_interval"
    assert set(tree["subsets"]["text"]) == set(row.split())
    assert set(tree["comparison"][0]) == {*row.split(), "name", "modalities"}
    scores = "precision recall f1 support roc_auc average_precision"
    assert set(tree["overall"]["per_class"]["cat"]) == set(scores.split())
    bins = tree["overall"]["calibration"]["bins"]
    assert set(bins[0]) == {"low", "high", "count", "confidence", "accuracy"}
    assert EvaluationRecord.from_json(tree) == record


def test_what_an_earlier_version_wrote_is_read_and_what_is_missing_is_empty():
    record = EvaluationRecord.from_json(
        {"overall": {"accuracy": 0.5, "confusion": [[1]]}, "subsets": {"text": {"accuracy": None}}}
    )
    assert record.overall.metrics == {"accuracy": 0.5}
    assert record.overall.details == {"confusion": [[1]]}
    assert record.overall.interval_of("accuracy") is None
    assert record.subsets["text"].metrics == {"accuracy": None}
    assert (record.split, record.comparison, record.seen_in_training) == ("test", (), None)

"""The evaluation of one split: subsets, their samples, and the flat summary."""

import json

import numpy as np
import pytest

from pipeline.metrics.evaluation import compare_model, evaluate_predictions, summary_metrics

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
    result = evaluate_predictions(**made, seed=7)
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
    result = evaluate_predictions(**made, seed=7)
    assert result["subsets"]["image+text"]["accuracy"] == result["overall"]["accuracy"]
    assert result["subsets"]["image+text"]["f1_macro"] == pytest.approx(
        result["overall"]["f1_macro"]
    )
    assert result["subsets"]["image+text"]["difference"] == 0
    low, high = result["overall"]["intervals"]["f1_macro"]
    assert low < result["overall"]["f1_macro"] < high


def test_result_is_strict_json_and_repeats(made):
    result = evaluate_predictions(**made, seed=7)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert evaluate_predictions(**made, seed=7) == result


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
    result = evaluate_predictions(
        CLASSES, np.zeros(0, np.int64), nothing, {"image": np.zeros(0, bool)}, seed=0
    )
    assert result["overall"]["accuracy"] is None
    assert result["overall"]["intervals"] == {}
    assert result["subsets"]["image"]["interval"] is None
    json.dumps(result, allow_nan=False)
    assert summary_metrics(result) == {}


def test_another_model_is_one_row(made):
    row = compare_model(
        "text alone", ["text"], CLASSES, made["labels"], made["probabilities"]["text"], seed=1
    )
    assert (row["name"], row["modalities"], row["num_samples"]) == ("text alone", ["text"], 200)
    assert row["interval"][0] < row["accuracy"] < row["interval"][1]

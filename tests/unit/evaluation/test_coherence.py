"""Whether made values say what they should: scores of a judge, by what they were made of, and of nothing."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from pipeline.evaluation.coherence import Judge
from pipeline.objectives.base import Judging
from pipeline.objectives.classify import ClassifyConfig
from pipeline.objectives.generated.coherence import coherence_view, coherences
from pipeline.objectives.made import ITSELF, NOTHING, TARGET, column_of
from pipeline.objectives.regress import RegressConfig

JUDGING = Judging("test", 0, 50)
TRUTHS = ["a", "b", None, "a"]
PRESENT = {"image": np.array([True, True, True, False]), "text": np.array([True] * 4)}


def said(*answers: str) -> pa.StructArray:
    return pa.StructArray.from_arrays([pa.array(answers)], ["prediction"])


def table() -> pa.Table:
    return pa.table(
        {
            column_of("image", "text"): said("a", "a", "b", "b"),
            column_of("image", "label"): pa.array(["a", "b", "b", "b"]),
            column_of("text", "text"): said("a", "b", "b", "a"),
            column_of("text", "label"): pa.array(["b", "a", "b", "b"]),
            column_of(NOTHING, "text"): said("a", "b", "b", "a"),
            column_of(NOTHING, "label"): pa.array(["a", "a", "b", "b"]),
            column_of(TARGET, "text"): said("a", "b", "a", "b"),
            column_of(TARGET, "label"): pa.array(["a", "b", "b", "b"]),
            column_of(ITSELF, "text"): said("a", "a", "b", "a"),
        }
    )


def values(found: dict[str, dict[str, float]]) -> dict[str, float]:
    return {name: score["value"] for name, score in found.items()}


def test_scores_are_of_samples_with_all_that_was_given_and_with_a_truth() -> None:
    judge = Judge("demo", ClassifyConfig(), JUDGING, TRUTHS)
    found = judge.coherence(table(), PRESENT, ["image", "text"])
    assert values(found["conditional"]["image"]) == {"text": 0.5, "label": 1.0}
    assert found["conditional"]["image"]["text"]["num_samples"] == 2
    assert values(found["conditional"]["text"]) == {"text": 1.0, "label": 0.0}
    assert values(found["conditional"][TARGET]) == pytest.approx({"text": 2 / 3, "label": 2 / 3})
    assert values(found["real"]) == pytest.approx({"text": 2 / 3})
    assert values(found["joint"]) == {"text+label": 0.5}
    assert found["metric"] == "accuracy"
    numbers = coherences({"coherence": found})
    assert numbers["coherence_image_to_text"] == 0.5
    assert numbers["joint_coherence_text+label"] == 0.5
    view = coherence_view({"coherence": found})
    assert view is not None
    assert view["names"] == ["text", "label"]


def test_all_that_was_made_of_nothing_must_say_the_same() -> None:
    third = table().append_column(column_of(NOTHING, "image"), said("a", "b", "b", "b"))
    third = third.append_column(column_of(TARGET, "image"), said("a", "b", "b", "b"))
    judge = Judge("demo", ClassifyConfig(), JUDGING, TRUTHS)
    found = judge.coherence(third, PRESENT, [])
    assert values(found["joint"]) == {
        "text+label": 0.5,
        "text+image": 0.75,
        "label+image": 0.75,
        "all": 0.5,
    }


def test_a_judge_of_numbers_scores_by_its_own_measure_and_compares_no_answers() -> None:
    judge = Judge("numbers", RegressConfig(target="n"), JUDGING, ["1.0", "2.0"])
    column = pa.StructArray.from_arrays([pa.array([1.5, 4.0], pa.float32())], ["prediction"])
    names = (column_of(name, "text") for name in ("text", NOTHING))
    found = judge.coherence(
        pa.table(dict.fromkeys(names, column)), {"text": np.array([True, True])}, ["text"]
    )
    assert values(found["conditional"]["text"]) == pytest.approx({"text": 1.25})
    assert found["joint"] == {}


def test_without_a_judge_there_is_nothing_to_tell() -> None:
    assert coherences({"examples": []}) == {}
    assert coherences(None) == {}
    assert coherence_view({"examples": []}) is None

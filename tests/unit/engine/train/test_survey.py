"""Targets are judged before the first epoch: whether they are there, and whether they are what the objective is for."""

from collections import Counter
from pathlib import Path

import pytest
from support.tones import make_samples, write_tar

from pipeline.config import Config, validate
from pipeline.engine.train.survey import check_targets, survey_parts
from pipeline.errors import BadDataError, ConfigError
from pipeline.objectives.classify.labels import LabelSurvey, doubtful_classes
from pipeline.shards.planning.plan import expand, plan


def config(**objective: object) -> Config:
    tree = {"run": "r", "modalities": {"image": {"fields": ["png"]}}}
    return validate({**tree, "objective": {"kind": "classify", "label": "cls", **objective}})


@pytest.mark.parametrize(
    ("labels", "doubt"),
    [
        ([f"{i}" for i in range(10)] * 5, ""),
        ([f"{i}" for i in range(10)], ""),
        ([f"{i}" for i in range(60)], "looks like a number to be estimated (regression)"),
        ([f"{i}.0" for i in range(60)], "looks like a number"),
        ([f"{i / 7:.3f}" for i in range(5)] * 20, "looks like a number"),
        ([f"{i}" for i in range(100)] * 3, ""),
        ([f"name {i}" for i in range(60)], ""),
        (["1.5", "2.5", "other"] * 9, ""),
        (['["cat", "dog"]', '["cat"]', "[]"] * 9, "JSON lists or objects, such as [\"cat\", \"dog\"]"),
        (['{"a": 1}', "b"] * 9, "1 of the 2 labels are JSON"),
        (["[cat]", "nan", "inf"] * 9, ""),
    ],
)  # fmt: skip
def test_labels_that_are_no_classes_are_doubted(labels: list[str], doubt: str) -> None:
    found = doubtful_classes(Counter(labels))
    assert (doubt in found) if doubt else (found == "")


def test_doubtful_classes_are_confirmed_by_naming_them() -> None:
    survey = LabelSurvey("cls", Counter(f"{i / 3:.2f}" for i in range(30)))
    with pytest.raises(ConfigError, match="objective.classes"):
        config().require_objective().learn(survey)
    names = sorted(survey.labels)
    assert config(classes=names).require_objective().learn(survey) == {"classes": names}


def test_too_many_samples_without_a_label_end_it_before_it_begins(tmp_path: Path) -> None:
    samples = make_samples(20, seed=1)
    for number, sample in enumerate(samples.values()):
        if number < 8:
            del sample["cls"]
        elif number < 10:
            sample["cls"] = b"new"
    write_tar(tmp_path / "x.tar", samples)
    settings = config()
    objective, parts = settings.require_objective(), plan(expand(f"{tmp_path}/x.tar"))
    surveys = {"train": survey_parts(parts, objective, settings.limits)}
    assert surveys["train"].samples == 20
    labels = surveys["train"].targets.labels
    with pytest.raises(BadDataError, match="8 of 20 samples have no label") as refused:
        check_targets(settings, surveys, {"classes": sorted(labels)})
    assert refused.value.exit_code == 3
    assert refused.value.reasons == {"missing_label": 8}
    known = {"classes": sorted(labels.keys() - {"new"})}
    with pytest.raises(BadDataError, match="10 of 20") as refused:
        check_targets(settings, surveys, known)
    assert refused.value.reasons == {"missing_label": 8, "unknown_label": 2}
    many = settings.model_copy(
        update={"input": settings.input.model_copy(update={"max_bad_fraction": 0.5})}
    )
    check_targets(many, surveys, known)

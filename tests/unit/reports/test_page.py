"""The page as a document: complete, self-contained, accessible, and safe with hostile data."""

import re
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from page_reader import PageReader, structural_problems
from report_fixture import CLASSES
from support.tones import png

from pipeline.metrics.evaluation import evaluate_predictions
from pipeline.metrics.record import EvaluationRecord, OtherScores
from pipeline.modalities.shown import Shown
from pipeline.objectives.classify.section import ClassSection
from pipeline.reports.content import Example, QuarantineRow, ReportData, SplitCounts
from pipeline.reports.page import interval, number, percent, points, render

HOSTILE = "</title></style><script>alert(1)</script><img src=x onerror=alert(1)>\"'&$x$ {{ 7*7 }}"
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def page(report_data):
    return render(report_data)


def test_finished_run_is_complete_and_self_contained(page):
    assert structural_problems(page) == []
    reader = PageReader(page)
    assert [a["id"] for a in reader.all("section")] == [
        "modalities",
        "data",
        "training",
        "metrics",
        "predictions",
        "configuration",
    ]
    assert len(reader.all("svg")) == 8
    assert len(reader.all("h1")) == 1
    assert "No " not in [line.strip()[:3] for line in reader.text.splitlines()]
    assert len(page.encode()) <= 3_000_000


def test_headline_says_the_numbers(page, report_data):
    text = re.sub(r"[ \n]+", " ", PageReader(page).text)
    overall = report_data.evaluation.overall.metrics
    assert percent(overall["accuracy"]) in text
    assert interval(report_data.evaluation.overall.interval_of("accuracy")) in text
    assert number(overall["f1_macro"]) in text
    assert number(overall["roc_auc"]) in text
    assert "142.7" in text
    best = max(row.metrics["accuracy"] for row in report_data.evaluation.comparison)
    assert f"{100 * (overall['accuracy'] - best):.1f} points above" in text


def with_best(report_data, **single):
    """The page where one model of a single modality is the strongest, with these numbers."""
    evaluation = report_data.evaluation.to_json()
    row = {"name": "image alone", "modalities": ["image"], "num_samples": 500, "f1_macro": 0.9}
    evaluation["comparison"] = [{**row, "accuracy": 0.99, "interval": [0.98, 0.995], **single}]
    page = render(replace(report_data, evaluation=EvaluationRecord.from_json(evaluation)))
    return re.sub(r"[ \n]+", " ", PageReader(page).text)


def test_only_a_difference_that_is_no_chance_is_told_in_points(report_data):
    text = with_best(report_data, difference=-0.021, difference_interval=[-0.03, -0.01])
    assert "2.1 points above the best single modality" in text
    text = with_best(report_data, difference=0.021, difference_interval=[0.01, 0.03])
    assert "2.1 points below the best single modality" in text
    for chance in ([-0.03, 0.001], [-0.001, 0.03], [0.0, 0.02]):
        text = with_best(report_data, difference=-0.012, difference_interval=chance)
        assert "not clearly better or worse than the best single modality" in text
        assert "points above" not in text
        assert "points below" not in text
    # Without pairs, intervals that meet may be chance.
    low, high = report_data.evaluation.overall.interval_of("accuracy")
    assert "points above" not in with_best(
        report_data, accuracy=low, interval=[low - 0.1, low + 0.001]
    )
    above = with_best(report_data, accuracy=low - 0.05, interval=[low - 0.1, low - 0.001])
    assert "points above" in above
    below = with_best(report_data, accuracy=high + 0.05, interval=[high + 0.001, high + 0.1])
    assert "points below" in below


def test_differences_of_subsets_that_may_be_chance_are_not_clear(report_data):
    subsets = {
        name: replace(scores, difference=-0.0444, difference_interval=(-0.09, 0.01))
        for name, scores in report_data.evaluation.subsets.items()
    }
    evaluation = replace(report_data.evaluation, subsets=subsets)
    text = PageReader(render(replace(report_data, evaluation=evaluation))).text
    assert "−4.4" not in text
    assert "not clear" in text


def test_the_kept_epoch_is_marked(report_data):
    kept = {"epoch": 6, "of": 8, "chosen_by": "val_accuracy"}
    page = render(replace(report_data, kept=kept, evaluation=None))
    text = re.sub(r"[ \n]+", " ", PageReader(page).text)
    assert "Kept: epoch 6 of 8, the best by the validation split." in text
    assert "kept epoch 6 of 8" in text
    assert page.count("The dotted line marks epoch 6, which was kept.") >= 3
    unmarked = render(replace(report_data, evaluation=None))
    assert "which was kept" not in unmarked
    chosen = render(replace(report_data, kept={**kept, "chosen_by": "train_accuracy"}))
    assert "chosen on the training data" in chosen


def test_a_model_that_is_judged_on_what_it_has_seen_says_so(report_data):
    seen = {"train": 2, "val": 1, "of": 3}
    evaluation = replace(report_data.evaluation, seen_in_training=seen)
    page = render(replace(report_data, evaluation=evaluation))
    text = re.sub(r"[ \n]+", " ", PageReader(page).text)
    assert (
        "2 of the 3 shards were in its training set and 1 of the 3 shards chose its epoch" in text
    )
    assert "Beware" not in render(report_data)


def test_every_example_can_be_seen_and_heard(page, report_data):
    reader = PageReader(page)
    images = sum("image" in e.shown for e in report_data.examples)
    sounds = sum("audio" in e.shown for e in report_data.examples)
    assert len(reader.all("img")) == images
    assert len(reader.all("audio")) == sounds
    for example in report_data.examples:
        assert example.key in reader.text
        assert "text" not in example.shown or example.shown["text"].content in reader.text


def test_two_pictures_of_one_sample_are_told_apart_by_their_names(report_data):
    pictures = {name: Shown("picture", png()) for name in ("left", "right")}
    example = Example("k", "s", "train", "a", shown=pictures | {"title": Shown("text", "a title")})
    page = render(replace(report_data, examples=[example]))
    assert structural_problems(page) == []
    alts = [image["alt"] for image in PageReader(page).all("img")]
    assert alts == [f"Image {name} of sample k, label a" for name in pictures]
    assert "a title" in PageReader(page).text


def test_wrong_examples_come_before_right_ones_surest_first(page, report_data):
    wrong = [
        e for e in report_data.examples if e.prediction is not None and e.prediction != e.label
    ]
    wrong.sort(key=lambda e: -e.score)
    text = PageReader(page).text
    places = [text.index(e.key) for e in wrong]
    assert places == sorted(places)
    assert "✗ wrong" in text
    assert "✓ right" in text


def test_same_data_same_bytes(page, report_data):
    assert render(report_data) == page


def test_an_empty_run_names_the_commands():
    page = render(ReportData("empty", "now", config_path="my.yaml"))
    assert structural_problems(page) == []
    text = PageReader(page).text
    for job in ("lint", "train", "evaluate"):
        assert f"python -m jobs.{job} my.yaml" in text


def test_a_run_that_only_trained(report_data):
    page = render(replace(report_data, evaluation=None, examples=()))
    assert structural_problems(page) == []
    text = PageReader(page).text
    assert "Validation accuracy" in text
    assert "python -m jobs.evaluate jobs/configs/demo.yaml" in text
    assert "python -m jobs.train" not in text


def test_probabilities_have_the_names_of_all_classes_those_without_a_sample_too():
    labels, classes = np.array([0, 2, 2]), ("a", "b", "c")
    probabilities = np.array([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.2, 0.1, 0.7]])
    evaluation = evaluate_predictions(
        classes, labels, {"text": probabilities}, {"text": np.ones(3, bool)}, 0
    )
    predicted = pa.table(
        {
            "key": ["k0", "k1", "k2"],
            "shard": ["s"] * 3,
            "label": ["a", "c", "c"],
            "prediction": ["a", "b", "c"],
            "score": probabilities.max(axis=1),
            "probabilities": probabilities.tolist(),
        }
    )
    mistake, *_ = ClassSection().choose(predicted, evaluation, 2)
    assert (mistake.key, mistake.probabilities) == ("k1", {"b": 0.6, "c": 0.3, "a": 0.1})


def test_an_evaluation_without_samples():
    nothing = evaluate_predictions(
        CLASSES,
        np.zeros(0, np.int64),
        {"image": np.zeros((0, 10))},
        {"image": np.zeros(0, bool)},
        0,
    )
    page = render(ReportData("none", "now", section=ClassSection(), evaluation=nothing))
    assert structural_problems(page) == []
    assert "python -m jobs.evaluate" in PageReader(page).text


def hostile_data():
    rng = np.random.default_rng(0)
    classes = (HOSTILE, "b")
    labels = rng.integers(0, 2, 40)
    probabilities = rng.dirichlet([1, 1], 40)
    evaluation = evaluate_predictions(
        classes, labels, {"image": probabilities}, {"image": np.ones(40, bool)}, 0
    )
    other = OtherScores(
        name=HOSTILE, modalities=("image",), metrics={"accuracy": 0.5}, interval=(0.4, 0.6)
    )
    row = QuarantineRow(HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE)
    media = {
        HOSTILE: Shown("text", HOSTILE),
        "image": Shown("picture", b'"><script>'),
        "audio": Shown("sound", b"RIFF"),
    }
    example = Example(
        HOSTILE, HOSTILE, HOSTILE, HOSTILE, media, "b", 0.5, {HOSTILE: 0.5, "b": 0.5}
    )  # fmt: skip
    return ReportData(
        title=HOSTILE,
        generated=HOSTILE,
        config_path=HOSTILE,
        summary={HOSTILE: HOSTILE},
        splits={
            HOSTILE: SplitCounts(1, {HOSTILE: 1}, {HOSTILE: 1}),
        },
        quarantine=[row],
        examples=[example, replace(example, prediction=None), replace(example, label=None)],
        history=[{"epoch": 1, HOSTILE: HOSTILE, "val_loss": HOSTILE, "train_loss": 1.0}],
        section=ClassSection(),
        evaluation=replace(evaluation, comparison=(other,)),
        config_yaml=HOSTILE,
        environment={HOSTILE: HOSTILE},
    )


def test_hostile_text_is_only_text():
    page = render(hostile_data())
    assert structural_problems(page) == []
    assert "<script" not in page
    assert PageReader(page).text.count("<script>alert(1)</script>") > 20
    assert "{{ 7*7 }}" in page


def test_text_that_is_no_unicode_does_not_make_the_page_unwritable():
    broken = "key-\udc80\x00\x1b[31m"
    data = ReportData(
        broken,
        "now",
        splits={"train": SplitCounts(1, {broken: 1})},
        examples=[Example(broken, "s", "train", broken)],
    )
    page = render(data)
    page.encode("utf-8")
    assert structural_problems(page) == []


@pytest.mark.parametrize("num_classes", [2, 45])
def test_few_and_many_classes(num_classes):
    rng = np.random.default_rng(0)
    classes = [f"a rather long class name {k}" for k in range(num_classes)]
    labels = rng.integers(0, num_classes, 300)
    probabilities = rng.dirichlet(np.ones(num_classes), 300)
    evaluation = evaluate_predictions(
        classes, labels, {"text": probabilities}, {"text": np.ones(300, bool)}, 0
    )
    counts = dict.fromkeys(classes, 3)
    page = render(
        ReportData(
            "many",
            "now",
            splits={"test": SplitCounts(300, counts, {"text": 300})},
            section=ClassSection(),
            evaluation=evaluation,
        )
    )
    assert structural_problems(page) == []
    assert ('class="confusion' in page) == (num_classes == 2)
    assert "taken for" in page


def test_media_too_large_for_a_page_is_named_instead():
    example = Example(
        "k", "s", "test", "a", shown={"image": Shown("picture", PNG + b"0" * 500_000)}
    )
    page = render(ReportData("large", "now", examples=[example]))
    assert len(page) < 100_000
    assert "image too large for this page" in page


def test_what_is_noted_is_not_called_bad():
    noted = QuarantineRow("s", "k", "mp3", "noted_cut_end", "cut")
    page = render(ReportData("q", "now", splits={"train": SplitCounts(5)}, quarantine=[noted]))
    assert "Nothing: every sample could be used" in page
    assert "noted_cut_end" in page


def test_quarantine_counts_may_be_larger_than_the_rows_shown():
    row = QuarantineRow("s", "k", "jpg", "bad_image", "cut")
    data = ReportData(
        "q",
        "now",
        splits={"train": SplitCounts(5)},
        quarantine=[row],
        quarantine_counts={"bad_image": 12_345},
    )
    assert "12\u202f345" in render(data)
    assert "Nothing: every sample could be used" in render(
        ReportData("q", "now", splits={"train": SplitCounts(5)})
    )


def test_numbers_as_people_write_them():
    assert percent(0.94213) == "94.2\u202f%"
    assert percent(None) == "–"
    assert interval([0.92, 0.96]) == "92.0–96.0\u202f%"
    assert interval((None, None)) == "–"
    assert points(-0.113) == "−11.3"
    assert points(0.02) == "+2.0"
    assert number(12345) == "12\u202f345"
    assert number(0.00012345) == "0.000123"
    assert number(0.93549) == "0.935"
    assert number("x") == "x"
    assert number(None) == "–"

"""Rows and pairs of a comparison, from predictions that are written down."""

import json
import struct
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import save
from support.compared import JUDGING, LABELS, judged, model

from pipeline.errors import ConfigError
from pipeline.evaluation.common import on_common_samples
from pipeline.evaluation.comparison import BOOTSTRAP, MCNEMAR, compare
from pipeline.evaluation.html import to_html
from pipeline.evaluation.judged import Entrant, num_parameters, short_names
from pipeline.evaluation.page import to_markdown
from pipeline.objectives.multi_label import MultiLabelConfig
from pipeline.objectives.regress import RegressConfig


def test_rows_are_ordered_and_tested_pair_by_pair() -> None:
    found = compare(
        [Entrant("weak", (model("w", 30),)), Entrant("strong", (model("s", 4),))], JUDGING
    )
    assert [row.name for row in found.rows] == ["strong", "weak"]
    assert (found.metric, found.best, found.num_samples) == ("accuracy", "max", 40)
    number = found.rows[0].metrics["accuracy"]
    assert number.value == 0.9
    assert number.interval is not None
    assert number.interval[0] < 0.9 < number.interval[1]
    [pair] = found.pairs
    assert (pair.first, pair.test) == ("strong", MCNEMAR)
    assert pair.difference == pytest.approx(26 / 40)
    assert pair.p == pytest.approx(2 / 2**26), "26 that only one of them has right"
    assert pair.interval is not None
    assert pair.interval[0] > 0


def test_p_values_are_corrected_for_all_pairs() -> None:
    runs = [Entrant(f"m{wrong}", (model(str(wrong), wrong),)) for wrong in (0, 6, 12)]
    found = compare(runs, JUDGING)
    assert len(found.pairs) == 3
    by_hand = {("m0", "m6"): 2 / 2**6, ("m0", "m12"): 2 / 2**12, ("m6", "m12"): 2 / 2**6}
    for pair in found.pairs:
        assert pair.p == pytest.approx(by_hand[pair.first, pair.second])
    corrected = {(pair.first, pair.second): pair.p_corrected for pair in found.pairs}
    assert corrected[("m0", "m12")] == pytest.approx(3 * 2 / 2**12)
    assert corrected[("m0", "m6")] == corrected[("m6", "m12")] == pytest.approx(2 * 2 / 2**6)


def test_seeds_of_one_row_are_averaged_sample_by_sample() -> None:
    seeds = Entrant("two seeds", (model("a/0", 4), model("a/1", 8)))
    found = compare([seeds, Entrant("one", (model("b", 20),))], JUDGING)
    number = found.rows[0].metrics["accuracy"]
    assert number.value == pytest.approx(0.85)
    assert number.deviation == pytest.approx(np.std([0.9, 0.8], ddof=1))
    assert number.interval is not None
    assert number.interval[0] < 0.85 < number.interval[1]
    assert found.pairs[0].test == BOOTSTRAP
    assert found.pairs[0].difference == pytest.approx(0.85 - 0.5)


def test_other_objectives_are_compared_too() -> None:
    texts = ["[1.0]", "[2.0]", "[4.0]", "[8.0]"]
    keys = list("abcd")
    numbers = RegressConfig(target="y")
    learned: dict[str, object] = {"mean": [3.0], "deviation": [2.0]}
    near, far = (
        judged(name, numbers, learned, texts, {"prediction": np.array([[1], [2], [4], [8.0]], np.float32) + off}, keys)
        for name, off in (("near", 0.5), ("far", 2.0))
    )  # fmt: skip
    found = compare([Entrant("far", (far,)), Entrant("near", (near,))], JUDGING)
    assert [row.name for row in found.rows] == ["near", "far"], "the smaller error is the better"
    assert found.pairs[0].difference == pytest.approx(-1.5)
    assert found.pairs[0].test == BOOTSTRAP

    labels = MultiLabelConfig(label="cls")
    classes: dict[str, object] = {"classes": ["a", "b"], "thresholds": [0.5, 0.5]}
    sets = ['["a"]', '["a", "b"]', '["b"]', "[]"]
    right = np.array([[0.9, 0.1], [0.9, 0.9], [0.1, 0.9], [0.1, 0.1]], np.float32)
    models = [
        Entrant(name, (judged(name, labels, classes, sets, {"probabilities": values}, keys),))
        for name, values in (("right", right), ("wrong", 1 - right))
    ]
    found = compare(models, JUDGING)
    assert found.score == "subset_accuracy"
    assert found.pairs[0].difference == 1.0


def test_other_samples_or_targets_are_refused_by_name() -> None:
    ours = Entrant("a", (model("runs/a", 3),))
    others = {
        r"runs/a and runs/b were judged on different test sets: 40 and 38 samples": model(
            "runs/b", 3, LABELS[:38]
        ),
        r"0 in both": model("runs/b", 3, keys="other"),
        r"different targets: 'a' and 'b' .* shard=x.tar key=k00": model("runs/b", 3, LABELS[::-1]),
    }
    for message, other in others.items():
        with pytest.raises(ConfigError, match=message):
            compare([ours, Entrant("b", (other,))], JUDGING)
    number = judged(
        "runs/n", RegressConfig(target="y"), {"mean": [0.0], "deviation": [1.0]},
        ["[1.0]"], {"prediction": np.zeros((1, 1), np.float32)}, ["k"],
    )  # fmt: skip
    with pytest.raises(ConfigError, match="runs/a is judged by accuracy and runs/n by mae"):
        compare([ours, Entrant("n", (number,))], JUDGING)


@pytest.mark.parametrize(
    ("network", "baseline", "words"),
    [
        (2, 30, "The best network beats the best cheap baseline"),
        (10, 9, "No network here is clearly better"),
        (30, 2, "The best cheap baseline beats every network here"),
    ],
)
def test_the_verdict_on_networks(network: int, baseline: int, words: str) -> None:
    entrants = [
        Entrant("net", (model("n", network),)),
        Entrant("majority class", (model("m", baseline, first=5),), baseline=True),
    ]
    found = compare(entrants, JUDGING)
    assert found.verdict.startswith(words)
    assert found.verdict in to_markdown(found)
    assert compare(entrants[:1], JUDGING).verdict == ""


def test_the_page_shows_every_number(tmp_path: object) -> None:
    one = model("runs/a", 4)
    found = compare([Entrant("a|b", (one,)), Entrant("c", (replace(one, where="c"),))], JUDGING)
    page = to_markdown(found)
    assert "| a\\|b " in page
    assert "0.900 [" in page
    assert "McNemar, exact" in page
    assert json.loads(json.dumps(found.to_json()))["pairs"][0]["p"] == 1.0


def test_parameters_are_counted_without_reading_them() -> None:
    tensors = {"a": torch.zeros(3, 4), "b": torch.zeros(5), "c": torch.zeros(())}
    assert num_parameters(save(tensors)) == 12 + 5 + 1
    header = json.dumps({"__metadata__": {"x": "y"}, "w": {"shape": [2, 2]}}).encode()
    assert num_parameters(struct.pack("<Q", len(header)) + header) == 4


def test_names_are_as_short_as_they_can_be() -> None:
    assert short_names(["runs/a", "runs/b/"]) == ["a", "b"]
    assert short_names(["x/a/0", "x/b/0"]) == ["a/0", "b/0"]
    assert short_names(["runs/a"]) == ["a"]


def test_scores_by_what_samples_have() -> None:
    one = model("runs/a", 4)
    has = [["image", "text"] if index % 4 else ["text"] for index in range(len(LABELS))]
    rows = one.rows.set_column(
        one.rows.column_names.index("modalities"), "modalities", pa.array(has)
    )
    blind = model("runs/b", 8)  # says of fewer modalities what its samples have
    found = compare([Entrant("b", (blind,)), Entrant("a", (replace(one, rows=rows),))], JUDGING)
    assert [(each.modalities, each.num_samples) for each in found.presence] == [
        ("image+text", 30),
        ("text", 10),
    ]
    # Of the samples 0 to 3, one has no image.
    assert found.presence[0].scores["a"] == pytest.approx(27 / 30)
    assert found.presence[1].scores == {"a": 0.9, "b": 0.8}
    low, high = found.presence[1].intervals["a"]
    assert low < 0.9 <= high
    assert "text (n = 10)" in to_markdown(found)
    assert compare([Entrant("a", (one,))], JUDGING).presence == ()


def measured(entrant: Entrant) -> str:
    """The page of a comparison with another one."""
    objective = entrant.models[0].objective
    found = compare([entrant, Entrant("other", (model("o", 12),))], JUDGING)
    return to_html(found, objective.section().measure)


def test_the_page_needs_nothing_beside_it_and_shows_every_number() -> None:
    page = measured(Entrant("<b>one</b>", (model("runs/one", 4),)))
    assert "<b>one" not in page
    assert "&lt;b&gt;one" in page
    assert "Models: " not in page
    assert "default-src 'none'" in page
    for shown in (
        "0.900",
        "ROC AUC",
        "Macro F1",
        "Log loss",
        "McNemar, exact",
        "runs/one",
        "+0.200",
    ):
        assert shown in page, shown
    plots = page.count('role="img"')
    assert plots == page.count("<figure>")
    assert plots >= 4, "accuracy, others that have intervals, and the differences"
    assert "&lt;b&gt;one&lt;/b&gt; 90.0 %, 95 %" in page, "said to whom cannot see it"


def test_on_the_samples_that_all_have_judged() -> None:
    whole, fewer = model("runs/a", 6), model("runs/b", 6, LABELS[:30])
    entrants = [Entrant("a", (whole,)), Entrant("b", (fewer,))]
    with pytest.raises(ConfigError, match=r"evaluate\.common_samples=true"):
        compare(entrants, JUDGING)
    common, words = on_common_samples(entrants, JUDGING)
    assert words == ["Compared on the 30 samples that all have judged: runs/a has judged 40."]
    found = compare(common, JUDGING, words)
    assert found.num_samples == 30
    again = model("runs/a", 6, LABELS[:30])
    by_name = {row.name: row for row in found.rows}
    ours = by_name["a"].metrics
    assert {name: number.value for name, number in ours.items()} == {
        name: pytest.approx(value) for name, value in again.record.overall.metrics.items()
    }, "every metric, as if only those had been evaluated"
    assert on_common_samples(entrants[:1], JUDGING) == (entrants[:1], [])
    strangers = Entrant("c", (model("runs/c", 3, keys="other"),))
    with pytest.raises(ConfigError, match="no sample was judged by all: runs/a, runs/c"):
        on_common_samples([entrants[0], strangers], JUDGING)

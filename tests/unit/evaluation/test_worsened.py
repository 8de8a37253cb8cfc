"""Models compared on samples that were made worse, and by their metadata, from predictions that are written down."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from support.compared import JUDGING, LABELS, model

from pipeline.evaluation.comparison import compare
from pipeline.evaluation.html import to_html
from pipeline.evaluation.judged import Entrant, Judged
from pipeline.metrics.record import CorruptedScores


def test_scores_by_metadata_and_by_what_was_made_worse() -> None:
    one, other = model("runs/a", 4), model("runs/b", 8)
    languages = ["en" if index < 10 else "zh" for index in range(len(LABELS))]
    one = replace(one, rows=one.rows.append_column("meta.json.lang", pa.array(languages)))
    what = {"modality": "text", "corruption": "cut", "unit": "share", "num_samples": 40}
    one, other = (
        replace(each, record=replace(each.record, robustness=tuple(
            CorruptedScores(**what, severity=severity, metrics={"accuracy": value - (severity or 0)})
            for severity in (None, 0.1, 0.3)
        )))
        for each, value in ((one, 0.9), (other, 0.8))
    )  # fmt: skip
    found = compare([Entrant("a", (one,)), Entrant("b", (other,))], JUDGING)
    assert [(each.place, each.value, each.num_samples) for each in found.slices] == [
        ("json.lang", "zh", 30),
        ("json.lang", "en", 10),
    ]
    assert found.slices[1].scores == {"a": 0.6, "b": pytest.approx(0.2)}
    assert [each.severity for each in found.robustness] == ["as it is", "0.3 (share)"]
    assert found.robustness[1].scores == {"a": pytest.approx(0.6), "b": pytest.approx(0.5)}
    page = to_html(found, one.objective.section().measure)
    assert "Accuracy by json.lang" in page
    assert "text, cut: 0.3 (share) (n = 40)" in page
    alone = replace(other, record=replace(other.record, robustness=None))
    only = compare([Entrant("a", (one,)), Entrant("b", (alone,))], JUDGING)
    assert only.robustness == (), "not every network was judged so"


def test_networks_differ_sample_by_sample_at_each_severity() -> None:
    """The best minus the other on the samples that were corrupted, the same ones as they are before them."""
    one, other, third = model("runs/a", 4), model("runs/b", 8), model("runs/c", 8)
    chance = np.random.default_rng(0)
    drawn = np.arange(len(LABELS)) >= 10
    right = {severity: chance.random((2, len(LABELS))) < 0.6 for severity in ("0.1", "0.3")}

    def corrupted(which: Judged, row: int) -> Judged:
        rows = which.rows
        for severity, both in right.items():
            rows = rows.append_column(
                f"robustness.text/cut/{severity}", pa.array(both[row], mask=~drawn)
            )
        return replace(which, rows=rows)

    entrants = [
        Entrant("a", (corrupted(one, 0),)),
        Entrant("b", (corrupted(other, 1),)),
        Entrant("c", (third,)),
    ]
    found = compare(entrants, JUDGING)
    assert [(each.first, each.second, each.severity) for each in found.worsened] == [
        ("a", "b", "as it is"), ("a", "b", "0.1"), ("a", "b", "0.3"),
    ]  # fmt: skip
    wrong_of_b_alone = 0  # its first eight, of which none was drawn
    assert found.worsened[0].difference == pytest.approx(wrong_of_b_alone)
    for pair in found.worsened[1:]:
        ours, theirs = right[pair.severity][:, drawn].astype(float)
        assert pair.num_samples == drawn.sum()
        assert pair.difference == pytest.approx((ours - theirs).mean())
        assert pair.interval is not None
        low, high = pair.interval
        spread = 1.96 * (ours - theirs).std() / np.sqrt(drawn.sum())
        assert high - low == pytest.approx(2 * spread, rel=0.25), "of pairs, not of each alone"
    page = to_html(found, one.objective.section().measure)
    assert "Differences while a modality gets worse" in page
    assert "a − b" in page
    assert "text, cut: 0.3 (n = 30)" in page
    fewer = other.rows.append_column(
        "robustness.text/cut/0.1", pa.array(right["0.1"][1], mask=np.arange(len(LABELS)) < 11)
    )
    entrants[1] = Entrant("b", (replace(other, rows=fewer),))
    assert compare(entrants, JUDGING).worsened == (), "on other samples"

"""The ledger of nights."""

from pathlib import Path

from pipeline.nightly.ledger import DONE, FAILED, STOPPED, Ledger, Night, render


def test_nights_come_back_as_they_were_written(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path))
    night = Night("2026-11-21", DONE, 0, reasons={"bad_image": 2}, drift={"score_psi": 0.1})
    page = ledger.write(night)
    assert Path(page).read_text().startswith("# 2026-11-21: done")
    assert ledger.read("2026-11-21") == night
    assert ledger.read("2026-11-20") is None


def test_a_night_is_compared_with_the_last_good_ones_before_it(tmp_path: Path) -> None:
    ledger = Ledger(str(tmp_path))
    for day, status in enumerate([DONE, FAILED, STOPPED, DONE, DONE], start=1):
        ledger.write(Night(f"2026-11-0{day}", status))
    assert [night.date[-1] for night in ledger.before("2026-11-05", 2)] == ["3", "4"]
    assert [night.date[-1] for night in ledger.before("2026-11-05", 9)] == ["1", "3", "4"]
    assert ledger.before("2026-11-01", 9) == []


def test_the_page_says_what_matters_first() -> None:
    night = Night(
        "2026-11-21", FAILED, 1, "2026-11-21T02:00:00+00:00", 100.0,
        error="the disk is full | out | make room",
        shards={"new": 2, "changed": 0}, samples={"read": 5000, "written": 4999},
        reasons={"bad_image": 1}, drift={"prediction_psi": 0.25},
        alerts=["prediction_psi is 0.2500, over 0.2"],
    )  # fmt: skip
    lines = render(night).splitlines()
    assert lines[0] == "# 2026-11-21: failed"
    assert lines[2] == "**the disk is full | out | make room**"
    assert "- **prediction_psi is 0.2500, over 0.2**" in lines
    assert "| took | 100 s, 50 samples a second |" in lines
    assert "| shards | 2 new, 0 changed |" in lines
    assert "| bad_image | 1 |" in lines
    assert "| prediction psi | 0.2500 |" in lines

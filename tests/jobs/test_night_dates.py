"""Nights whose shards or whose model are not there: each is tried, says so, and is tried again, without Ray."""

import json
from pathlib import Path

import pytest
from support.tones import make_samples, write_tar

from jobs import nightly
from pipeline.engine.plans import nightly as engine
from pipeline.nightly.ledger import Ledger


def test_a_date_without_shards_is_noted_and_tried_again(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "night.yaml"
    settings = {
        "run": str(tmp_path / "run"),
        "modalities": {"image": {"fields": ["png"]}},
        "infer": {"input": f"{tmp_path}/in/{{date}}/*.tar", "output": f"{tmp_path}/out/{{date}}"},
    }
    config.write_text(json.dumps(settings))
    ledger = Ledger(str(tmp_path / "run"))
    for tries in (1, 2):
        code = nightly.main([str(config), "--date", "2026-11-03", "--catch-up", "1"])
        assert code == 2, "no shards"
        for date in ("2026-11-02", "2026-11-03"):
            page = ledger.read(date)
            assert page is not None, f"{date} was tried"
            assert (page.status, page.exit_code) == ("failed", 2)
            assert f"no shard matches {tmp_path}/in/{date}/*.tar" in page.error
            assert [each.status for each in page.attempts] == ["failed"] * tries
            text = Path(ledger.location(date, ".md")).read_text()
            assert sum(line.startswith(f"{tries}. ") for line in text.splitlines()) == 1
    assert ledger.read("2026-11-01") is None
    assert "Started a local Ray" not in capfd.readouterr().err


def test_a_night_without_a_model_says_so_before_work_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_workplace(*_: object) -> None:
        raise AssertionError("work was to be begun")

    monkeypatch.setattr(engine, "Workplace", no_workplace)
    write_tar(tmp_path / "x.tar", make_samples(2, seed=1))
    config = tmp_path / "night.yaml"
    settings = {
        "run": str(tmp_path / "run"),
        "modalities": {"image": {"fields": ["png"]}},
        "infer": {"input": f"{tmp_path}/x.tar"},
    }
    config.write_text(json.dumps(settings))
    assert nightly.main([str(config), "--date", "2026-11-03"]) == 2
    page = Ledger(str(tmp_path / "run")).read("2026-11-03")
    assert page is not None
    assert (page.status, page.exit_code, len(page.attempts)) == ("failed", 2, 1)
    assert "no model bundle" in page.error

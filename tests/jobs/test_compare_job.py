"""Runs that evaluate has judged, compared."""

import json
from pathlib import Path

import pytest
from support.sealed import seal
from support.tones import CLASSES

from jobs import evaluate


def evaluated(config: Path, run: Path, *overrides: str) -> None:
    """A network that nobody trained, judged."""
    settings = [f"run={run}", *overrides]
    assert evaluate.main([str(config), *settings]) == 0


@pytest.fixture
def config(tone_config: Path, tmp_path: Path) -> Path:
    """Two modalities of the tones, for whose sake no text is tokenized."""
    text = tone_config.read_text()
    path = tmp_path / "two.yaml"
    path.write_text("\n".join(line for line in text.splitlines() if not line.startswith("  text:")))
    return path


def test_runs_are_compared_in_one_table(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gated = tmp_path / "gated.yaml"
    gated.write_text(config.read_text().replace("kind: concat", "kind: gated"))
    for name, settings in (("a", config), ("b", gated)):
        seal(settings, tmp_path / name / "model", CLASSES, [])
        evaluated(settings, tmp_path / name)
    runs = [str(tmp_path / name) for name in "ab"]
    capsys.readouterr()

    assert evaluate.main([str(config), "--compare", *runs, "evaluate.num_bootstrap=60"]) == 0
    page = capsys.readouterr().out
    folder = tmp_path / "run" / "comparison"
    assert (folder / "comparison.md").read_text() == page.removesuffix("\n")
    content = json.loads((folder / "comparison.json").read_text())
    rows = {row["name"]: row for row in content["rows"]}
    assert {"a", "b"} <= set(rows)
    baselines = [row for row in content["rows"] if row["baseline"]]
    assert len(baselines) == 4, "a guess, one a modality, and their mean"
    assert max(row["metrics"]["accuracy"]["value"] for row in baselines) > 0.9
    assert content["verdict"].startswith("The best cheap baseline beats every network")
    for name in "ab":
        metrics = json.loads((tmp_path / name / "evaluation" / "metrics.json").read_text())
        assert rows[name]["metrics"]["accuracy"]["value"] == metrics["overall"]["accuracy"]
        assert rows[name]["parameters"] > 1000
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["samples_read"] == 3 * 40 + 2 * 24, "of both splits, for the baselines"
    assert summary["metrics"]["a"] == rows["a"]["metrics"]["accuracy"]["value"]

    assert evaluate.main([str(config), "--compare", *runs, "input.train=null"]) == 0
    assert "No cheap baselines stand here: input.train is not set" in capsys.readouterr().out

    fewer = f"input.test={json.loads(json.dumps(_first_shard(config)))}"
    evaluated(gated, tmp_path / "b", fewer)
    assert evaluate.main([str(config), "--compare", *runs]) == 2
    error = capsys.readouterr().err
    assert f"{runs[0]} and {runs[1]} were judged on different test sets" in error

    assert evaluate.main([str(config), "--compare", str(tmp_path / "none")]) == 2
    assert "has not been evaluated" in capsys.readouterr().err
    seal(gated, tmp_path / "a" / "model", CLASSES, [])
    assert evaluate.main([str(config), "--compare", runs[0]]) == 2
    assert "another model than it has now" in capsys.readouterr().err


def _first_shard(config: Path) -> str:
    line = next(line for line in config.read_text().splitlines() if "test:" in line)
    return line.split(": ")[1].replace("*", "000000")

"""One page of several configurations."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from jobs import gallery


def test_one_page_of_two_runs(
    tone_config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (
        tone_config.read_text()
        .replace("epochs: 3", "epochs: 1")
        .replace("  metadata:", "  max_samples: 24\n  metadata:")
    )
    paths = []
    for name, fusion in (("first", "concat"), ("second", "gated")):
        path = tmp_path / f"{name}.yaml"
        path.write_text(
            text.replace(f"{tmp_path}/run", f"{tmp_path}/{name}").replace(
                "kind: concat", f"kind: {fusion}"
            )
        )
        paths.append(str(path))
    out = tmp_path / "pages" / "all.html"
    command = [*paths, "--out", str(out)]

    assert gallery.main([*command, "--dry-run"]) == 0
    assert capsys.readouterr().out.count("to do") == 2
    assert not (tmp_path / "first").exists()

    assert gallery.main(command) == 0
    page = out.read_text()
    for name in ("first", "second"):
        assert f"<bdi>{name}</bdi></h2>" in page
        assert f'href="../{name}/report.html"' in page
        assert (out.parent / f"../{name}/report.html").is_file()
    identities = re.findall(r' id="([^"]+)"', page)
    assert len(identities) == len(set(identities)), "links within the page lead to one place"
    assert page.count("Accuracy") >= 2

    judged = tmp_path / "first" / "evaluation" / "metrics.json"
    before = judged.stat().st_mtime_ns
    capsys.readouterr()
    assert gallery.main(command) == 0
    assert capsys.readouterr().err.count("evaluate: already done") == 2
    assert judged.stat().st_mtime_ns == before
    assert gallery.main([*command, "evaluate.num_bootstrap=60"]) == 0
    assert judged.stat().st_mtime_ns > before, "other settings judge anew"

    capsys.readouterr()
    assert gallery.main([*command, "train.epochs=2"]) == 2
    assert "train.epochs" in capsys.readouterr().err, "a finished model is not trained anew unasked"


def test_what_cannot_be_one_page(
    tone_config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    same = tmp_path / "same.yaml"
    same.write_text(tone_config.read_text())
    assert gallery.main([str(tone_config), str(same)]) == 2
    assert "have the same run" in capsys.readouterr().err
    assert gallery.main([str(tmp_path / "none.yaml")]) == 2
    assert gallery.main(["train.epochs=1"]) == 2
    assert "no configuration is named" in capsys.readouterr().err

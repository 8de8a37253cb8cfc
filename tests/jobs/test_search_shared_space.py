"""jobs.search in a space that modalities share: a text finds images, as a pretrained encoder embeds both."""

import json
from pathlib import Path

import numpy as np
import pytest
from support.encoders import save_clip
from support.tones import make_samples
from test_jobs import rows, run

from jobs import infer, search


def test_from_a_text_or_a_row_to_images(
    tone_config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = f"infer.model=hf:{save_clip(tmp_path / 'clip')}"
    assert run(infer.JOB, tone_config, model) == 0
    found = rows(tmp_path / "run" / "embeddings")
    sample = make_samples(24, seed=20)["s0001"]  # of tone-test-000000.tar
    picture = tmp_path / "query.png"
    picture.write_bytes(sample["png"])

    def ask(*words: str) -> list[tuple[float, str, str]]:
        capsys.readouterr()
        assert search.main([str(tone_config), model, *words, "--json"]) == 0
        report = json.loads(capsys.readouterr().out)["report"]
        return [(each["score"], each["shard"], each["key"]) for each in report["neighbours"]]

    def want(query: list[float], column: str) -> list[tuple[float, str, str]]:
        there = [row for row in found if row[column] is not None]
        scored = [(-float(np.dot(query, row[column])), row["shard"], row["key"]) for row in there]
        return [(-score, shard, key) for score, shard, key in sorted(scored)[:10]]

    own = next(r for r in found if (r["shard"], r["key"]) == ("tone-test-000000.tar", "s0001"))
    for column, among in (("image_embedding", ["--in", "image"]), ("embedding", [])):
        asked = ask("--text", sample["txt"].decode(), *among)
        expected = want(own["text_embedding"], column)
        np.testing.assert_allclose([a[0] for a in asked], [e[0] for e in expected], atol=1e-5)
    nearest = ask("--image", str(picture), "--in", "image")
    assert nearest[0][0] == pytest.approx(1, abs=1e-4)
    assert ("tone-test-000000.tar", "s0001") in [each[1:] for each in nearest]
    row = ["--key", "s0001", "--shard", "tone-test-000000.tar", "--from", "text", "--in", "image"]
    expected = want(own["text_embedding"], "image_embedding")
    asked = ask(*row, "--top", "9")
    mine = [each for each in expected if each[1:] != ("tone-test-000000.tar", "s0001")][:9]
    np.testing.assert_allclose([a[0] for a in asked], [e[0] for e in mine], atol=1e-5)

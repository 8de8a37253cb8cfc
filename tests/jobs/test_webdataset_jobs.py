"""Batch inference into tar shards, which are the input of the next job."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.generators import save_bart
from test_jobs import rows, run, summary

from jobs import infer, preprocess
from pipeline.config import load
from pipeline.sample import Sample
from pipeline.shards.planning.plan import expand, plan
from pipeline.shards.reading.reader import read_part

SHARDS = "sink.kind=webdataset"


@pytest.fixture(scope="module")
def bart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_bart(tmp_path_factory.mktemp("bart"))


def test_the_output_of_a_job_is_the_input_of_the_next(
    tone_config: Path, tmp_path: Path, bart: Path
) -> None:
    """Texts are made of texts, twice: the second job reads what the first has made."""
    model = (f"infer.model=hf:{bart}", "infer.settings.max_new_tokens=6")
    first, second = tmp_path / "first", tmp_path / "second"
    assert run(infer.JOB, tone_config, *model, SHARDS, f"infer.output={first}") == 0
    counts = summary(first)
    assert counts["samples_read"] == counts["samples_written"] == 48
    before, made = _samples(_test_shards(tone_config)), _samples(f"{first}/part-*.tar")
    assert len(before) == len(made) == 48
    names = {name for members in before for name in members}
    copied = [{name: data for name, data in members.items() if name in names} for members in made]
    assert sorted(map(_shown, copied)) == sorted(map(_shown, before))
    chained = (
        f"input.test={first}/part-*.tar",
        "modalities.text.fields=[generated_text.txt]",
        f"infer.output={second}",
    )
    assert run(infer.JOB, tone_config, *model, *chained) == 0
    table = rows(second)
    assert len(table) == 48
    with_texts = [row for row in table if "text" in row["modalities"]]  # type: ignore[operator]
    assert len(with_texts) == sum("generated_text.txt" in members for members in made) > 0

    assert run(infer.JOB, tone_config, *model, SHARDS, f"infer.output={first}") == 0
    assert summary(first)["parts_done"] == 0, "all is done"


def test_where_there_are_no_members(
    tone_config: Path, tmp_path: Path, bart: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(preprocess.JOB, tone_config, SHARDS) == 2
    assert "set sink.kind to parquet" in capsys.readouterr().err
    decoded = tmp_path / "run" / "decoded"
    assert run(preprocess.JOB, tone_config, "preprocess.input=test") == 0
    model = (f"infer.model=hf:{bart}", "infer.settings.max_new_tokens=6")
    assert run(infer.JOB, tone_config, *model, SHARDS, f"input.test={decoded}") == 2
    assert "copies the members of samples" in capsys.readouterr().err


def test_rows_and_shards_do_not_share_a_folder(
    tone_config: Path, bart: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = (f"infer.model=hf:{bart}", "infer.settings.max_new_tokens=6")
    assert run(infer.JOB, tone_config, *model) == 0
    assert run(infer.JOB, tone_config, *model, SHARDS) == 2
    assert "sink" in capsys.readouterr().err


def _samples(pattern: str) -> list[dict[str, bytes]]:
    """The members of every sample."""
    items = (item for part in plan(expand(pattern)) for item in read_part(part))
    samples = (item for item in items if isinstance(item, Sample))
    return [{name: bytes(field.data) for name, field in s.fields.items()} for s in samples]


def _shown(members: dict[str, bytes]) -> str:
    return repr(sorted(members.items()))


def _test_shards(config: Path) -> str:
    pattern = load(config, ()).input.test
    assert isinstance(pattern, str)
    return pattern

"""Mistakes that need no decoding are found before Ray starts, all at once."""

import logging
from pathlib import Path

import pytest
import yaml
from support.tones import make_samples, write_tar

from jobs import _job, evaluate, infer, preprocess, train
from pipeline.config import load
from pipeline.engine.cluster import session as cluster
from pipeline.engine.plans.checks import LOOKED_AT_SAMPLES, Needs, check
from pipeline.errors import ConfigError
from pipeline.shards.planning import patterns
from pipeline.shards.planning.listings import listings_remembered


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration over a small shard; a job that goes as far as Ray fails."""

    def no_ray(*_: object, **__: object) -> None:
        raise AssertionError("Ray was to be started")

    monkeypatch.setattr(cluster, "connect", no_ray)
    write_tar(tmp_path / "x.tar", make_samples(4, seed=1))
    path = tmp_path / "c.yaml"
    tree = {
        "run": str(tmp_path / "run"),
        "input": {"train": str(tmp_path / "x.tar")},
        "modalities": {"image": {"fields": ["png"]}},
    }
    path.write_text(yaml.safe_dump(tree))
    return path


@pytest.mark.parametrize(
    ("job", "overrides", "mistakes"),
    [
        (
            train.JOB,
            ["input.val=nowhere/*.tar"],
            ["needs an objective", "no shard matches nowhere/*.tar"],
        ),
        (
            infer.JOB,
            ["input.metadata=[jsn]"],
            ["no model bundle", "infer.input is test, and input.test is not set"],
        ),
        (
            infer.JOB,
            ["infer.input=train", "input.metadata=[jsn, cls, note]"],
            ["no model bundle", "metadata field jsn | input.metadata | did you mean json?", "field note"],
        ),
        (evaluate.JOB, ["evaluate.input=none.tar"], ["no model bundle", "no shard matches none.tar"]),
        (preprocess.JOB, ["preprocess.input=val", "run=null"], ["run: "]),
    ],
)  # fmt: skip
def test_all_that_is_wrong_is_told_before_ray_starts(
    config: Path,
    capsys: pytest.CaptureFixture[str],
    job: _job.Job,
    overrides: list[str],
    mistakes: list[str],
) -> None:
    assert _job.main(job, [str(config), *overrides]) == 2
    told = capsys.readouterr().err
    lines = [line for line in told.splitlines() if line.startswith("  ") or "Error: " in line]
    assert all(any(words in line for line in lines) for words in mistakes), told
    assert len(lines) == (1 if len(mistakes) == 1 else 1 + len(mistakes)), told


def test_an_encoder_without_a_test_split_hears_which_splits_there_are(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _job.main(infer.JOB, [str(config), "infer.model=torchvision:resnet18"]) == 2
    assert "input.test to the shards" in (told := capsys.readouterr().err)
    assert "or infer.input to train" in told


def test_a_metadata_field_that_few_have_is_no_mistake(tmp_path: Path, config: Path) -> None:
    rare = make_samples(3, seed=1)
    list(rare.values())[-1]["rare"] = b"{}"
    write_tar(tmp_path / "x.tar", rare)
    needs = Needs({"input.train": "train"}, metadata=("rare",))
    check(load(config), needs)
    with pytest.raises(ConfigError, match="first 2 samples has the metadata field rare"):
        check(load(config, ["input.max_samples=2"]), needs)
    assert LOOKED_AT_SAMPLES > 3


def test_media_that_no_setting_reads_are_named(
    tmp_path: Path, config: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = make_samples(3, seed=1)
    for number, fields in enumerate(samples.values()):
        fields |= {"mp4": b"film"} if number else {}
    write_tar(tmp_path / "x.tar", samples)
    monkeypatch.setattr(logging.getLogger("pipeline"), "propagate", True)
    with caplog.at_level(logging.INFO, "pipeline"):
        check(load(config, ["modalities={text: }"]), Needs({"input.train": "train"}))
    named = [record.message for record in caplog.records if "field_not_read" in record.message]
    assert any("field=mp4 kind=video" in line and "2 of the first 3" in line for line in named)
    assert any("field=png kind=image" in line for line in named)
    assert not any("field=txt" in line or "field=cls" in line for line in named)


def test_what_was_checked_is_listed_once(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed: list[str] = []
    match = patterns._match
    monkeypatch.setattr(
        patterns, "_match", lambda pattern: listed.append(pattern) or match(pattern)
    )
    shards = load(config).input.train
    assert shards is not None
    with listings_remembered():
        check(load(config), Needs({"input.train": "train"}))
        assert patterns.expand(shards) == patterns.expand(shards)
    assert len(listed) == 1
    patterns.expand(shards)
    assert len(listed) == 2

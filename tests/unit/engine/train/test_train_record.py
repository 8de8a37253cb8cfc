"""A finished model is kept, trained further or replaced, as it is asked for, and never by accident."""

import io
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from support.sealed import seal
from support.tones import make_samples, write_tar

from jobs import _job, train
from pipeline.config import Config, load
from pipeline.engine.cluster import session as cluster
from pipeline.engine.train.record import (
    finished,
    recipe_of,
    seen_in_training,
    settings_of,
    shards_of,
)
from pipeline.errors import ConfigError
from pipeline.models.record import extended


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration with training data; a job that goes as far as Ray fails."""

    def no_ray(*_: object, **__: object) -> None:
        raise AssertionError("Ray was to be started")

    monkeypatch.setattr(cluster, "connect", no_ray)
    for index in range(2):
        write_tar(tmp_path / f"t-{index}.tar", make_samples(4, seed=index))
    write_tar(tmp_path / "v.tar", make_samples(4, seed=9))
    path = tmp_path / "c.yaml"
    path.write_text(
        f"""
run: {tmp_path}/run
input: {{train: "{tmp_path}/t-*.tar", val: {tmp_path}/v.tar, test: "{tmp_path}/*.tar"}}
modalities: {{image: {{fields: [png], size: 8}}}}
objective: {{kind: classify, label: cls, width: 32, fusion: {{kind: concat}}}}
train: {{epochs: 12}}
"""
    )
    return path


def record(config: Config, epochs: int = 12) -> dict[str, Any]:
    return {
        "recipe": recipe_of(config),
        "shards": shards_of(config),
        "ranges": [{"first": 1, "last": epochs, "settings": settings_of(config)}],
        "kept": {"epoch": 8, "of": epochs, "chosen_by": "val_accuracy"},
        "parts": 3,
    }


def leave(path: Path, epochs: int = 12, *, model: bool = True) -> None:
    """Leaves behind what a training of these settings would."""
    config = load(path)
    made = record(config, epochs)
    if model:
        seal(path, path.parent / "run" / "model", ["high", "low"], [], made)
    state = {
        "identity": made["recipe"],
        "history": [{"epoch": i + 1} for i in range(epochs)],
        "ranges": made["ranges"],
    }
    buffer = io.BytesIO()
    torch.save(state, buffer)
    folder = path.parent / "run" / "checkpoints"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "last.pt").write_bytes(buffer.getvalue())


def files(path: Path) -> dict[str, bytes]:
    folder = path.parent / "run" / "model"
    return {
        file.name: file.read_bytes() for file in folder.iterdir() if file.name != "summary.json"
    }


def test_the_same_again_is_done_already_without_ray(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    leave(config)
    before = files(config)
    monkeypatch.chdir(config.parent)
    for words in (
        [],
        ["train.resume=true"],
        ["train.cache=none", "cluster.workers=2"],
        ["input.train=./t-[01].tar"],
    ):
        assert _job.main(train.JOB, [str(config), *words]) == 0, capsys.readouterr().err
        out = capsys.readouterr().out
        assert "train: done already" in out
        assert "epoch 8 of 12" in out
    assert _job.main(train.JOB, [str(config), "--json"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["metrics"]["kept_epoch"], summary["metrics"]["epochs"]) == (8, 12)
    assert files(config) == before


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["train.epochs=2"], ["train.epochs was 12 and is now 2", "train.overwrite=true", "another run"]),
        (["train.epochs=20"], ["train.epochs was 12 and is now 20", "train.resume=true"]),
        (["train.learning_rate=0.5"], ["train.learning_rate was 0.001 and is now 0.5"]),
        (["modalities.image.augment.flip_probability=0.5"], ["image.augment.flip_probability was 0.0 and is now"]),
        (["objective.width=64"], ["objective.width was 32 and is now 64"]),
        (["modalities.image.size=16"], ["modalities.image.size was 8 and is now 16"]),
        (["input.train={}/v.tar"], ["input.train was {}/t-*.tar and is now {}/v.tar"]),
        (["input.max_samples=3"], ["input.max_samples was None and is now 3"]),
        (["input.val=null"], ["input.val was set and is no longer"]),
        (["train.resume=true", "train.epochs=4"], ["12 epochs are done, and train.epochs=4 asks for fewer"]),
        (["train.resume=true", "train.seed=4"], ["all 12 epochs are done", "train.seed was 0 and is now 4"]),
        (["train.resume=true", "train.epochs=20", "objective.width=64"], ["objective.width was 32"]),
        (["train.resume=true", "train.epochs=20", "input.train={}/v.tar"], ["input.train was"]),
    ],
)  # fmt: skip
def test_another_training_is_refused_in_one_line_that_says_what_differs(
    config: Path, capsys: pytest.CaptureFixture[str], words: list[str], told: list[str]
) -> None:
    leave(config)
    before = files(config)
    given = [word.format(config.parent) for word in words]
    assert _job.main(train.JOB, [str(config), *given]) == 2
    [line] = [each for each in capsys.readouterr().err.splitlines() if "Error: " in each]
    for word in told:
        assert word.format(config.parent, config.parent) in line
    assert files(config) == before


def test_more_epochs_or_leave_to_overwrite_go_on(config: Path) -> None:
    leave(config)
    for words in (
        ["train.resume=true", "train.epochs=20"],
        ["train.resume=true", "train.epochs=20", "train.learning_rate=0.5"],
        ["train.overwrite=true", "train.epochs=2"],
        ["train.overwrite=true"],
    ):
        assert finished(load(config, words)) is None
    (config.parent / "run" / "model" / "bundle.json").write_text("{}")
    with pytest.raises(ConfigError, match="cannot be read"):
        finished(load(config))
    assert finished(load(config, ["train.overwrite=true"])) is None


def test_settings_that_are_newer_than_a_model_matter_where_they_are_set(config: Path) -> None:
    encoder = "modalities.image.encoder={kind: vit, layers: 1}"
    resolved = load(config, [encoder])
    noted = record(resolved)
    for name in ("class_weights", "balanced_sampling", "loss", "gamma"):
        del noted["recipe"]["objective"][name]
    del noted["recipe"]["objective"]["fusion"]["dropout"]
    del noted["recipe"]["modalities"]["image"]["encoder"]["dropout"]
    del noted["ranges"][0]["settings"]["modalities"]["image"]["augment"]["erase_probability"]
    for name in ("lanes", "early_stopping"):
        del noted["ranges"][0]["settings"]["train"][name]
    seal(config, Path(resolved.folder("model")), ["high", "low"], [], noted)
    assert finished(resolved) is not None, "done already, as it was before there were such settings"
    for words in (
        "objective.class_weights=balanced",
        "objective.fusion.dropout=0.3",
        "modalities.image.encoder.dropout=0.3",
        "modalities.image.augment.erase_probability=0.3",
        "train.lanes=2",
    ):
        with pytest.raises(ConfigError, match=rf"{words.split('=')[0]} was None and is now "):
            finished(load(config, [encoder, words]))


def test_data_that_has_changed_is_other_data(config: Path) -> None:
    leave(config)
    write_tar(config.parent / "t-2.tar", make_samples(4, seed=5))
    for words in ([], ["train.resume=true", "train.epochs=20"]):
        with pytest.raises(
            ConfigError, match=r"input\.train have changed since, 2 of them then and 3"
        ):
            finished(load(config, words))
    (config.parent / "t-2.tar").unlink()
    assert finished(load(config)) is not None
    os.utime(config.parent / "t-1.tar", (1, 1))
    with pytest.raises(ConfigError, match="have changed since"):
        finished(load(config))


def test_what_another_training_left_halfway_does_not_replace_a_model(config: Path) -> None:
    leave(config)
    last = config.parent / "run" / "checkpoints" / "last.pt"
    more = ["train.resume=true", "train.epochs=20"]
    shutil.copy(last, last.with_suffix(".kept"))
    leave(config, epochs=1, model=False)
    with pytest.raises(ConfigError, match="of another training than the model of 12 epochs"):
        finished(load(config, more))
    assert finished(load(config, [*more, "train.overwrite=true"])) is None
    last.unlink()
    with pytest.raises(ConfigError, match="checkpoint of the model's 12 epochs is gone"):
        finished(load(config, more))


def test_an_unfinished_training_goes_on_only_with_what_it_began_with(config: Path) -> None:
    leave(config, epochs=5, model=False)
    resume = "train.resume=true"
    assert finished(load(config)) is None
    assert finished(load(config, [resume])) is None
    assert finished(load(config, [resume, "train.learning_rate=0.5"])) is None, "noted by epoch"
    with pytest.raises(ConfigError, match="5 epochs are done, and train.epochs=4 asks for fewer"):
        finished(load(config, [resume, "train.epochs=4"]))
    with pytest.raises(
        ConfigError, match=r"checkpoint was made with other settings: objective\.width"
    ):
        finished(load(config, [resume, "objective.width=64"]))
    with pytest.raises(ConfigError, match=r"checkpoint was made with other data: input\.val"):
        finished(load(config, [resume, "input.val=null"]))


def test_the_settings_of_each_epoch_can_be_told_apart(config: Path) -> None:
    first = settings_of(load(config))
    assert settings_of(load(config, ["train.resume=true", "train.overwrite=true"])) == first
    ranges = extended([], first, 1)
    for word in (
        "train.learning_rate=0.5",
        "modalities.image.augment.flip_probability=0.5",
        "train.epochs=13",
    ):
        assert len(extended(ranges, settings_of(load(config, [word])), 2)) == 2


def test_shards_that_a_model_was_trained_on_are_known_again(config: Path, tmp_path: Path) -> None:
    leave(config)
    bundle = finished(load(config))
    assert bundle is not None
    assert seen_in_training(bundle, f"{tmp_path}/t-*.tar") == {"train": 2, "of": 2}
    assert seen_in_training(bundle, f"{tmp_path}/*.tar") == {"train": 2, "val": 1, "of": 3}
    write_tar(tmp_path / "other" / "n.tar", make_samples(4, seed=77))
    assert seen_in_training(bundle, f"{tmp_path}/other/*.tar") == {}
    os.utime(tmp_path / "t-0.tar", (1, 1))
    assert seen_in_training(bundle, f"{tmp_path}/t-0.tar") == {"train": 1, "of": 1}, "by its place"
    shutil.copy2(tmp_path / "t-1.tar", tmp_path / "other" / "t-1.tar")
    assert seen_in_training(bundle, f"{tmp_path}/other/t-1.tar") == {"train": 1, "of": 1}

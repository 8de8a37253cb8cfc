"""Settings that name places: none is forgotten, and ~ and variables in them are expanded."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from pipeline.config import Config, load
from pipeline.errors import ConfigError
from pipeline.locations import locations_in, mark_of
from pipeline.settings import sections_of

PLACES = {
    "run",
    "input.train", "input.val", "input.test",
    "pack.source", "pack.output", "pack.root",
    "lint.input", "lint.output",
    "preprocess.input", "preprocess.output",
    "infer.input", "infer.model", "infer.weights", "infer.output",
    "evaluate.input", "evaluate.judge",
    "modalities.encoder.name", "modalities.encoder.weights",  # of any of them
    "modalities.encoder.frame.name", "modalities.encoder.frame.weights",  # of clips
}  # fmt: skip

# Names within a JSON field; numbers by modality.
NO_PLACES = {"modalities.path", "objective.weights"}


def texts(model: type[BaseModel], path: str = "") -> dict[str, tuple[Any, str]]:
    """Setting -> its field and description, of all settings that may be a text."""
    found: dict[str, tuple[Any, str]] = {}
    for name, field in model.model_fields.items():
        inner = path if name == "root" else f"{path}{name}."
        for section in sections_of(field.annotation):
            found |= texts(section, inner)
        if "str" in str(field.annotation) and "Literal" not in str(field.annotation):
            found[f"{path}{name}"] = (field, field.description or "")
    return found


def test_every_setting_that_names_a_place_is_marked() -> None:
    settings = texts(Config)
    marked = {
        name
        for name, (field, _) in settings.items()
        if mark_of([field.annotation, *field.metadata])
    }
    assert marked == PLACES
    for name, (_, about) in settings.items():
        if name in NO_PLACES:
            continue
        if name.rpartition(".")[2] in ("source", "output", "input", "folder", "path", "weights"):
            assert name in marked, f"{name} ({about}) looks like a place: mark it as a Location"


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", "/home/ann")
    monkeypatch.setenv("SHELF", "/shelf")
    file = tmp_path / "c.yaml"
    file.write_text(yaml.safe_dump({"run": "/r", "modalities": {"image": {}}}))
    return file


@pytest.mark.parametrize(
    ("given", "location"),
    [
        ("run=~/runs/x", "/home/ann/runs/x"),
        ("infer.output=$SHELF/out", "/shelf/out"),
        ("input.train=${SHELF}/x-{000..003}.tar", "/shelf/x-{000..003}.tar"),
        ("input.test=[a.tar, $SHELF/b.tar]", "/shelf/b.tar"),
        ("infer.model=hf:~/clip", "/home/ann/clip"),
        ("lint.input=s3://b/$SHELF.tar", "s3://b//shelf.tar"),
        ("pack={source: ~/in.csv, output: $$x/~}", "$x/~"),
        ("pack={source: ~/in.csv, output: out}", "/home/ann/in.csv"),
    ],
)
def test_homes_and_variables_are_expanded(path: Path, given: str, location: str) -> None:
    config = load(path, [given])
    assert location in [place for _, place in locations_in(config)]
    # What is passed on to a worker is not expanded again.
    assert Config.model_validate(config.model_dump(mode="json")) == config


def test_a_variable_that_is_not_set_is_named(path: Path) -> None:
    with pytest.raises(ConfigError, match=r"run: the variable NOWHERE is not set.*command line"):
        load(path, ["run=$NOWHERE/x"])


def test_names_of_splits_and_encoders_are_no_places(path: Path) -> None:
    config = load(path, ["infer.input=test", "infer.model=timm:resnet50"])
    assert dict(locations_in(config)) == {"run": "/r"}


@pytest.mark.parametrize(
    "given",
    ["run=x", "pack={source: x, output: /y}", "pack={source: /x, output: y}", "infer.model=hf:m",
     "infer.weights=w", "evaluate.input=x.tar", "input.val=[/a.tar, b.tar]"],
)  # fmt: skip
def test_on_a_cluster_every_relative_place_is_refused(path: Path, given: str) -> None:
    load(path, [given])
    with pytest.raises(ConfigError, match=rf"{given.split('=')[0]}.* is relative"):
        load(path, [given, "cluster.address=auto"])

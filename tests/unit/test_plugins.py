"""Sections whose class a person has written: how they are named, checked, dumped, and refused in a bundle."""

import pickle
import re
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import yaml
from support.own.bits import BitsConfig
from support.own.ordinal import OrdinalConfig
from support.sealed import seal

import pipeline
from pipeline import plugins
from pipeline.config import Config, load, names_classes, to_yaml, validate
from pipeline.engine.cluster.package import runtime_env, working_dir
from pipeline.errors import ConfigError, ModelError
from pipeline.modalities.vector import VectorConfig
from pipeline.models.bundle import Bundle
from pipeline.objectives.sealed import check_objective, objective_of
from pipeline.prediction.spec import ModelSpec, open_model

ORDINAL, BITS = "support.own.ordinal:OrdinalConfig", "support.own.bits:BitsConfig"
TREE = f"""
run: x
modalities: {{code: {{kind: python, class: "{BITS}", settings: {{length: 32}}}}}}
objective: {{kind: python, class: "{ORDINAL}", settings: {{width: 32}}}}
"""


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(TREE)
    return path


def test_behind_the_configuration_stands_an_ordinary_section(written: Path) -> None:
    config = load(written, ["objective.settings.fusion.kind=concat"])
    assert isinstance(config.objective, OrdinalConfig)
    assert config.objective.width == 32
    assert config.modalities.by_name()["code"] == BitsConfig(length=32)
    assert config.plugged() == {ORDINAL, BITS}


def test_its_dump_is_what_a_configuration_says(written: Path) -> None:
    config = load(written)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tree = config.model_dump(mode="json")
    assert tree["objective"]["kind"] == "python"
    assert tree["objective"]["class"] == ORDINAL
    assert tree["objective"]["settings"]["width"] == 32
    assert tree["modalities"]["code"]["settings"]["length"] == 32
    assert Config.model_validate(tree) == config
    assert validate(yaml.safe_load(to_yaml(config))) == config
    assert Config(run="x", modalities=config.modalities, objective=config.objective) == config
    assert pickle.loads(pickle.dumps(config)) == config


def test_what_decoded_rows_depend_on_leaves_out_what_it_does_for_all(written: Path) -> None:
    settings = load(written).modalities.decoding()["code"]
    assert settings == {
        "kind": "python",
        "class": BITS,
        "settings": {"fields": ["hex"], "length": 32},
    }


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("objective.settings.widht=3", "unknown setting objective.settings.widht | command line | did you mean "),
        ("objective.settings.width=3", "objective.settings.width: input should be a multiple of 32"),
        ("objective.settings.fusion={kind: concat, x: 1}", "unknown setting objective.settings.fusion.x"),
        ("modalities.code.settings.length=9", "modalities.code.settings.length: input should be a multiple of 8"),
        ("objective.clas=x", "unknown setting objective.clas | command line | did you mean objective.class?"),
        ("objective={kind: python}", "objective.class is missing"),
        ("objective.class=support.own.ordinal", "objective.class: a class is written package.module:Class"),
        ("objective.class=support.nowhere:X", "objective.class: support.nowhere cannot be imported: "),
        ("objective.class=support.own.ordinal:X", "objective.class: support.own.ordinal has no such class"),
        (f"objective.class={BITS}", "objective.class: support.own.bits has there what is not an objective"),
        ("objective.class=pipeline.objectives.base:ObjectiveSection", "objective.class: the class lacks"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_one_line_that_names_the_setting(
    written: Path, override: str, words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(written, [override])
    assert str(caught.value).startswith(words)
    assert "\n" not in str(caught.value)


def test_a_module_that_fails_is_no_crash(tmp_path: Path, written: Path) -> None:
    (tmp_path / "failing_of_mine.py").write_text("1 / 0")
    with pytest.raises(ConfigError, match=r"objective\.class: failing_of_mine cannot be imported"):
        load(written, ["objective.class=failing_of_mine:X"])


def test_what_lies_beside_the_configuration_goes_where_the_job_goes(
    tmp_path: Path, written: Path
) -> None:
    source = "from pipeline.objectives.regress import RegressConfig\nclass Mine(RegressConfig): ..."
    (tmp_path / "beside_of_mine.py").write_text(source)
    load(written, ["objective={kind: python, class: 'beside_of_mine:Mine'}"])
    assert sys.path[0] != str(tmp_path), "nothing that is installed is shadowed"
    assert tmp_path / "beside_of_mine.py" in plugins.sources()
    modules = runtime_env()["py_modules"]
    assert isinstance(modules, list)
    assert str(tmp_path / "beside_of_mine.py") in modules
    with working_dir(written) as (folder, _):
        assert (folder / "beside_of_mine.py").read_text() == source


def test_a_submitted_job_sends_on_what_does_not_lie_in_its_working_directory(
    tmp_path: Path, written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "from pipeline.objectives.regress import RegressConfig\nclass Mine(RegressConfig): ..."
    module = tmp_path / "elsewhere_of_mine.py"
    module.write_text(source)
    override = "objective={kind: python, class: 'elsewhere_of_mine:Mine'}"
    assert names_classes(written, [override])
    assert not names_classes(written, ["objective=null", "modalities={text: {}}"])
    load(written, [override])
    modules = runtime_env(is_submitted=True)["py_modules"]
    assert isinstance(modules, list)
    assert str(module) in modules
    assert not [path for path in modules if path.endswith("pipeline")], "the job has them"
    monkeypatch.chdir(tmp_path)
    assert str(module) not in runtime_env(is_submitted=True).get("py_modules", [])


@pytest.fixture
def sealed(tmp_path: Path, written: Path) -> Path:
    seal(written, tmp_path / "model", {"levels": 3}, [])
    return tmp_path / "model"


def test_a_bundle_names_the_class_and_carries_no_code(sealed: Path, written: Path) -> None:
    assert not list(sealed.rglob("*.py"))
    config = load(written)
    bundle = Bundle.load(str(sealed), config.plugged())
    assert objective_of(bundle) == config.objective
    bundle.check_modalities(config.modalities, "configuration")
    check_objective(bundle, config.require_objective().model_dump(mode="json"), "configuration")
    other = load(written, ["objective.settings.width=64", "modalities.code.settings.length=64"])
    with pytest.raises(ModelError, match=r"objective\.settings\.width is 64"):
        check_objective(bundle, other.require_objective().model_dump(mode="json"), "configuration")
    with pytest.raises(ModelError, match=r"modalities\.code\.settings\.length is 64"):
        bundle.check_modalities(other.modalities, "configuration")


def test_a_class_that_only_the_bundle_names_is_not_imported(
    sealed: Path, written: Path, tmp_path: Path
) -> None:
    mark = tmp_path / "imported"
    (tmp_path / "evil_of_mine.py").write_text(f"open({str(mark)!r}, 'w')")
    config = load(written)  # makes its folder importable
    manifest = sealed / "bundle.json"
    manifest.write_text(manifest.read_text().replace(ORDINAL, "evil_of_mine:X"))
    spec = ModelSpec(
        str(sealed),
        config.modalities,
        objective=config.require_objective().model_dump(mode="json"),
    )
    with pytest.raises(ModelError) as caught:
        open_model(spec)
    assert "needs the class evil_of_mine:X" in str(caught.value)
    assert "objective.class=evil_of_mine:X" in str(caught.value)
    assert not mark.exists()
    assert "evil_of_mine" not in sys.modules


@pytest.mark.parametrize("classes", [[OrdinalConfig, BitsConfig], [ORDINAL, BITS]])
def test_python_says_which_classes_it_trusts(
    sealed: Path, classes: list[str | type[plugins.Pluggable]]
) -> None:
    model = pipeline.load_model(sealed, trusted=classes)
    predictions = model.predict([{"hex": b"ffff0000"}, {"hex": b"no digits"}])
    assert [row["level"] for row in predictions] in ([0], [1], [2])
    assert [bad.reason for bad in predictions.quarantine] == ["bad_bits"]
    for untold in ([], classes[:1], classes[1:], [VectorConfig]):
        with pytest.raises(ModelError, match=r"needs the class .*load_model\(\.\.\., trusted=\["):
            pipeline.load_model(sealed, trusted=untold)


def test_python_imports_no_class_that_only_the_bundle_names(
    sealed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "imported"
    (tmp_path / "evil_in_python.py").write_text(f"open({str(mark)!r}, 'w')")
    monkeypatch.syspath_prepend(tmp_path)
    manifest = sealed / "bundle.json"
    text = manifest.read_text()
    for name in (ORDINAL, BITS):
        manifest.write_text(text.replace(name, "evil_in_python:X"))
        with pytest.raises(ModelError, match="needs the class evil_in_python:X"):
            pipeline.load_model(sealed, trusted=[OrdinalConfig, BitsConfig])
    assert not mark.exists()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("support.own.ordinal", r"trusted: a class is written package\.module:Class"),
        ("support.nowhere:X", r"trusted: support\.nowhere cannot be imported"),
        ("pathlib:Path", r"trusted: pathlib has there what is not an objective or a modality"),
        (Path, r"trusted: a class is written package\.module:Class"),
    ],
)
def test_a_class_that_python_cannot_have_is_told(sealed: Path, name: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        pipeline.load_model(sealed, trusted=[name])


def test_without_an_objective_the_configuration_names_no_class(sealed: Path, written: Path) -> None:
    config = load(written)
    with pytest.raises(ModelError, match=r"set objective\.kind=python and objective\.class="):
        open_model(ModelSpec(str(sealed), config.modalities))


def test_the_page_s_own_example(tmp_path: Path) -> None:
    page = (Path(plugins.__file__).parents[1] / "docs" / "own-models.md").read_text("utf-8")
    blocks = dict(re.findall(r"```(yaml|python)\n(.*?)```", page, re.DOTALL)[:2])
    (tmp_path / "stars.py").write_text(blocks["python"])
    (tmp_path / "stars.yaml").write_text(blocks["yaml"])
    config = load(tmp_path / "stars.yaml")
    assert config.plugged() == {"stars:Radar", "stars:Stars"}
    assert config.modalities.by_name()["echo"].encoder.kind == "cnn", "its shape is a series'"
    arrays = {
        "prediction": np.array([[0.2], [3.5], [9.0]], np.float32),
        "embedding": np.zeros((3, 64), np.float32),
    }
    rows = config.require_objective().rows(arrays, {})
    assert rows["prediction"].to_pylist() == [1.0, 3.5, 5.0]
    codec = config.modalities.by_name()["echo"].codec(None)
    assert codec.decode(memoryview(b"1,2,3\n4,5,6\n"), "radar").shape == (64, 3)

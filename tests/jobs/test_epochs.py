"""Every epoch sees every sample once, from whichever cache; and training from a cache is the same training."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from support.tones import make_samples, write_tar

from jobs import _job, train
from pipeline.engine.decoding.cache import CachedDecoder, prepare_cache
from pipeline.engine.train.data import read_parts
from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.objectives.classify.labels import ClassTarget
from pipeline.shards.planning.plan import expand, plan
from pipeline.sinks.quarantine import set_bad_aside

pytestmark = pytest.mark.usefixtures("local_ray")


@pytest.mark.parametrize("kind", ["none", "memory", "disk"])
def test_the_same_rows_in_every_epoch(tmp_path: Path, kind: str) -> None:
    for index in range(3):
        samples = make_samples(20, seed=index)
        samples["s0003"] = {"png": b"broken", "cls": b"low"}
        write_tar(tmp_path / f"x-{index}.tar", samples)
    parts = plan(expand(str(tmp_path / "x-*.tar")))
    modalities = ModalitiesConfig.model_validate({"image": {"fields": ["png"], "size": 8}})
    decoder = Decoder.build(modalities, None, target=ClassTarget("cls"))
    if kind == "disk":
        decoder = CachedDecoder.of(decoder, prepare_cache(str(tmp_path), {}, parts))
    good = partial(set_bad_aside, output=str(tmp_path / "run"))
    dataset = read_parts(parts, decoder, good, in_order=True)
    if kind == "memory":
        dataset = dataset.materialize()
    epochs = []
    for seed in range(3):
        batches = dataset.iter_batches(
            batch_size=7,
            batch_format="pyarrow",
            local_shuffle_buffer_size=30,
            local_shuffle_seed=seed,
        )
        rows = [row for batch in batches for row in batch.to_pylist()]
        epochs.append(sorted((row["shard"], row["key"], bytes(row["image"])) for row in rows))
    assert epochs[0] == epochs[1] == epochs[2]
    assert len({row[:2] for row in epochs[0]}) == len(epochs[0]) == 3 * 19


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


def test_a_row_lost_on_the_way_to_the_workers_ends_the_training(
    tone_config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One of all, behind the ledger of the decoders."""

    def lossy(table: pa.Table, output: str) -> pa.Table:
        good = set_bad_aside(table, output)
        return good.slice("train-000001" in good["shard"][0].as_py())

    monkeypatch.setattr("pipeline.engine.train.fit.set_bad_aside", lossy)
    assert _job.main(train.JOB, [str(tone_config), "train.epochs=1"]) == 1
    assert "were read and" in capsys.readouterr().err
    assert not (tmp_path / "run" / "model" / "bundle.json").exists()

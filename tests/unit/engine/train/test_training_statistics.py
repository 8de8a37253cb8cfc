"""What encoders are told of the training set: of samples from all over it, the same from shards and whatever is bad."""

from pathlib import Path

import numpy as np
import pytest
from support.tones import write_tar
from support.vectors import npy

from pipeline.config import Config
from pipeline.engine.train import statistics
from pipeline.engine.train.statistics import spread, training_statistics
from pipeline.shards.planning.plan import Part, expand, plan

ROWS = np.random.default_rng(0).normal([5, -3], [2, 7], (30, 4, 2)).astype(np.float32)


def config_of(folder: Path) -> tuple[Config, list[Part]]:
    for shard in range(3):
        samples = {f"s{row}": {"npy": npy(ROWS[row])} for row in range(10 * shard, 10 * shard + 10)}
        samples["bad"] = {"npy": b"no array"}
        samples["none"] = {"txt": b"a text"}
        write_tar(folder / f"{shard}.tar", samples)
    config = Config.model_validate(
        {
            "run": str(folder / "run"),
            "input": {"train": str(folder / "*.tar")},
            "modalities": {"acc": {"kind": "vector", "shape": [4, 2]}, "image": {}},
            "objective": {"kind": "classify"},
        }
    )
    return config, plan(expand([str(folder / "*.tar")]))


def test_only_those_who_ask_are_told_and_bad_samples_do_not_count(tmp_path: Path) -> None:
    config, parts = config_of(tmp_path)
    told = training_statistics(config, parts, None)
    assert set(told) == {"acc"}
    values = ROWS.reshape(-1, 2).astype(np.float64)
    assert told["acc"]["mean"] == pytest.approx(values.mean(axis=0).tolist(), rel=1e-9)
    assert told["acc"]["deviation"] == pytest.approx(values.std(axis=0).tolist(), rel=1e-9)
    assert told["acc"]["count"] == [120, 120]


def test_no_more_samples_than_are_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "SAMPLES", 12)
    config, parts = config_of(tmp_path)
    assert training_statistics(config, parts, None)["acc"]["count"] == [48, 48]


def test_parts_from_all_over_come_first() -> None:
    parts = [Part(shard=f"{n}.tar", url=f"{n}.tar", fingerprint="") for n in range(20)]
    order = [int(part.shard[:-4]) for part in spread(parts)]
    assert order[:7] == [0, 3, 6, 9, 12, 15, 18]
    assert sorted(order) == list(range(20))
    assert spread(parts[:5]) == parts[:5]

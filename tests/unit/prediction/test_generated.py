"""What a network writes of a sample depends on the sample alone: not on batches, neighbours, order or parts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from safetensors.torch import save
from support.encoders import decode, png, sample, spec
from support.sealed import seal

from pipeline.objectives.sealed import restore
from pipeline.prediction.bundle import BundlePredictor
from pipeline.prediction.spec import ModelSpec, open_model

SAMPLES = 19
MODALITIES = {
    "image": {"fields": ["png"], "size": 8},
    "vector": {"fields": ["csv"], "shape": [3]},
}
LEARNED = {
    "vocabulary": {"kind": "characters", "characters": " abcdefg"},
    "most_frequent": "a",
}
SEARCHES: dict[str, dict[str, Any]] = {
    "greedy": {"kind": "greedy"},
    "beam": {"kind": "beam", "width": 3},
    "nucleus": {"kind": "nucleus", "share": 0.9},
}


@pytest.fixture(params=SEARCHES)
def model(request: pytest.FixtureRequest, tmp_path: Path) -> ModelSpec:
    objective = {"kind": "caption", "width": 32, "max_tokens": 10, "fusion": {"kind": "concat"}}
    tree = {
        "run": "run",
        "modalities": MODALITIES,
        "objective": {**objective, "search": SEARCHES[request.param]},
    }
    config = tmp_path / "job.yaml"
    config.write_text(json.dumps(tree), encoding="utf-8")
    bundle = seal(config, tmp_path / "model", LEARNED, [])
    # A network that nobody trained says the same of everything: samples are to differ.
    weights = restore(bundle).state_dict()
    weights = {
        name: 3 * value if name.startswith("decoder.layers") else value
        for name, value in weights.items()
    }
    weights = {name: value.contiguous() for name, value in weights.items()}
    replace(bundle, weights=save(weights)).save(str(tmp_path / "model"))
    return spec(str(tmp_path / "model"), modalities=MODALITIES)


def table_of(model: ModelSpec) -> pa.Table:
    """Samples with either modality or both, two of which have the same key in two shards."""
    samples = []
    for number in range(SAMPLES):
        fields = {"png": png(number), "csv": b"%d, -1, 2.5" % number}
        fields.pop(("png", "csv", "")[number % 3], None)
        samples.append(sample(f"k{number}", number, **fields))
    return decode(model, samples)


def said(predictor: BundlePredictor, table: pa.Table) -> dict[str, tuple[str, float]]:
    rows = predictor(table)
    values = zip(rows["caption"].to_pylist(), rows["score"].to_pylist(), strict=True)
    return dict(zip(rows["key"].to_pylist(), values, strict=True))


def test_batches_order_and_parts_change_nothing(model: ModelSpec) -> None:
    table = table_of(model)
    expected = said(BundlePredictor(replace(model, batch_size=8)), table)
    assert len({caption for caption, _ in expected.values()}) > 4
    order = np.random.default_rng(0).permutation(SAMPLES)
    for size in (1, 3, 8):
        predictor = BundlePredictor(replace(model, batch_size=size))
        found = said(predictor, table)
        shuffled = table.take(pa.array(order))
        parts = [shuffled.slice(start, 5) for start in range(0, SAMPLES, 5)]
        apart = {key: value for part in parts for key, value in said(predictor, part).items()}
        for other in (found, apart):
            assert {key: caption for key, (caption, _) in other.items()} == {
                key: caption for key, (caption, _) in expected.items()
            }
            for key, (_, score) in other.items():
                assert score == pytest.approx(expected[key][1], abs=1e-4)


def test_chance_is_the_samples_and_the_seeds(model: ModelSpec) -> None:
    table = table_of(model)
    draws = open_model(model).draws
    predictor = BundlePredictor(model)
    assert draws == predictor.objective.draws
    first = said(predictor, table)
    other = said(BundlePredictor(replace(model, seed=1)), table)
    assert (other != first) == draws
    same = table.take(pa.array([1] * 12))
    same = same.set_column(
        same.column_names.index("key"), "key", pa.array([f"other{n}" for n in range(12)])
    )
    assert (len({caption for caption, _ in said(predictor, same).values()}) > 1) == draws
    shards = table.set_column(
        table.column_names.index("shard"), "shard", pa.array(["another.tar"] * SAMPLES)
    )
    assert (said(predictor, shards) != first) == draws

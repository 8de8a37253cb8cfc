"""Statistics of decoded samples, against NumPy over all values at once."""

import json
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.tones import make_samples, write_tar

from pipeline.engine.decoding.part import decode_part
from pipeline.metrics.columns import QUANTILES, Sums
from pipeline.metrics.statistics import Measure, add_sums, statistics
from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.modalities.text.codec import train_tokenizer
from pipeline.objectives.classify.labels import ClassTarget
from pipeline.sample import BASE_SCHEMA, ERROR, LABEL
from pipeline.shards.planning.plan import expand, plan

MODALITIES = ModalitiesConfig.model_validate(
    {
        "image": {"fields": ["png"], "size": 8},
        "text": {"fields": ["txt"], "max_tokens": 12, "vocab_size": 300},
        "audio": {"fields": ["wav"], "sample_rate_hz": 8000, "max_seconds": 0.4, "num_mels": 20},
    }
)
DECODER = Decoder.build(
    MODALITIES,
    train_tokenizer(["a high tone"], 300),
    target=ClassTarget("cls"),
    target_optional=True,
)
COLUMNS = MODALITIES.measures()
MEASURE = Measure(COLUMNS, labelled=True)
IMAGES, TEXTS = ({name: COLUMNS[name]} for name in ("image", "text"))


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> list[pa.Table]:
    folder = tmp_path_factory.mktemp("parts")
    for index in range(4):
        samples = make_samples(20 + index, seed=index)
        samples["s0001"]["png"] = b"broken"
        del samples["s0002"]["cls"]
        write_tar(folder / f"x-{index}.tar", samples)
    (folder / "y.tar").write_bytes(b"no tar" * 500)
    return [decode_part(part, DECODER) for part in plan(expand(str(folder / "*.tar")))]


def merged(sums: list[Sums]) -> Sums:
    whole: Sums = {}
    for each in sums:
        whole = add_sums(whole, json.loads(json.dumps(each)))  # as records keep them
    return whole


def test_against_all_values_at_once(tables: list[pa.Table]) -> None:
    found = statistics(merged([MEASURE(table) for table in tables]), DECODER.schema, COLUMNS)
    whole = pa.concat_tables(tables)
    good = [row for row in whole.to_pylist() if row[ERROR] is None]
    assert found["samples"] == len(good)
    assert found["quarantined"] == {"bad_image": 4, "not_tar": 1}
    assert sum(found["combinations"].values()) == len(good)
    assert found["labels"] == {
        "labelled": len(good) - 4,
        "unlabelled": 4,
        "counts": {
            label: sum(row[LABEL] == label for row in good) for label in ("high", "low", "mid")
        },
    }
    for name, axis in (("image", (0, 1, 2)), ("audio", (0, 2))):
        shape = (8, 8, 3) if name == "image" else (20, 41)
        values = [np.array(row[name], float).reshape(shape) for row in good if row[name]]
        stats = found["modalities"][name]
        assert stats["shape"] == list(shape)
        assert (stats["present"], stats["missing"]) == (len(values), len(good) - len(values))
        assert stats["bytes"] == len(values) * np.prod(shape) * (1 if name == "image" else 2)
        # Decibels are taken to the nearest 1/1024.
        np.testing.assert_allclose(stats["mean"], np.mean(values, axis=axis), atol=1e-3)
        np.testing.assert_allclose(stats["std"], np.std(values, axis=axis), atol=1e-3)
        assert stats["overall_mean"] == pytest.approx(np.mean(values), abs=1e-3)
        assert stats["overall_std"] == pytest.approx(np.std(values), abs=1e-3)
    lengths = [len(row["text"]) for row in good if row["text"] is not None]
    tokens = found["modalities"]["text"]["tokens"]
    assert (tokens["total"], tokens["limit"], tokens["at_limit"]) == (
        sum(lengths),
        12,
        lengths.count(12),
    )
    assert {int(k): v for k, v in tokens["histogram"].items()} == {
        n: lengths.count(n) for n in set(lengths)
    }
    assert tokens["mean"] == pytest.approx(np.mean(lengths))
    assert tokens["std"] == pytest.approx(np.std(lengths))
    # Tones of 0.3 s in a window of 0.4 s: the last frames are padding.
    assert found["modalities"]["audio"]["heard_frames"]["max"] in (31, 32)
    assert found["modalities"]["audio"]["heard_seconds"]["max"] in (0.31, 0.32)


def test_the_order_of_parts_changes_no_byte(tables: list[pa.Table]) -> None:
    texts = set()
    for seed in range(5):
        sums = [MEASURE(table) for table in tables]
        random.Random(seed).shuffle(sums)
        half = len(sums) // 2
        whole = add_sums(merged(sums[:half]), merged(sums[half:]))
        texts.add(json.dumps(statistics(whole, DECODER.schema, COLUMNS)))
    assert len(texts) == 1


def test_pieces_add_up_to_the_whole(tables: list[pa.Table]) -> None:
    whole = pa.concat_tables(tables)
    assert merged([MEASURE(table) for table in tables]) == MEASURE(whole)
    assert merged([MEASURE(whole.slice(i, 7)) for i in range(0, whole.num_rows, 7)]) == MEASURE(
        whole
    )


@settings(max_examples=50)
@given(lengths=st.lists(st.integers(0, 12), min_size=1, max_size=60))
def test_quantiles_are_numpys(lengths: list[int]) -> None:
    field = DECODER.schema.field("text")
    base = Decoder.build(ModalitiesConfig.model_validate({"text": {}}), "{}").decode([], "{}")
    rows = base.schema.empty_table().to_pylist() + [
        dict.fromkeys(base.schema.names) | {"text": list(range(n)), "modalities": ["text"]}
        for n in lengths
    ]
    table = pa.Table.from_pylist(rows, schema=base.schema)
    found = statistics(Measure(TEXTS)(table), pa.schema([field]), TEXTS)["modalities"]["text"][
        "tokens"
    ]
    for fraction in QUANTILES:
        expected = np.quantile(lengths, fraction, method="inverted_cdf")
        assert found[f"p{round(100 * fraction)}"] == expected
    assert (found["min"], found["max"]) == (min(lengths), max(lengths))


def test_nothing_gives_no_numbers_and_no_nan() -> None:
    empty = MEASURE(DECODER.schema.empty_table())
    text = json.dumps(statistics(empty, DECODER.schema, COLUMNS), allow_nan=False)
    found = json.loads(text)
    assert found["samples"] == 0
    assert found["modalities"]["image"]["overall_mean"] is None
    assert found["modalities"]["text"]["tokens"]["p50"] is None
    assert statistics({}, DECODER.schema, COLUMNS)["samples"] == 0


def test_large_images_do_not_overflow() -> None:
    white = np.full(300 * 300 * 3, 255, np.uint8)
    kind = pa.list_(pa.uint8(), white.size)
    field = pa.field("image", kind, metadata={"shape": "300,300,3"})
    column = pa.FixedSizeListArray.from_arrays(pa.array(np.tile(white, 3)), type=kind)
    schema = pa.schema([*BASE_SCHEMA, field])
    rows = [dict.fromkeys(schema.names) | {"modalities": ["image"]}] * 3
    table = pa.Table.from_pylist(rows, schema=schema).set_column(len(BASE_SCHEMA), field, column)
    found = statistics(Measure(IMAGES)(table), schema, IMAGES)["modalities"]["image"]
    assert found["mean"] == [255.0] * 3
    assert found["std"] == [0.0] * 3


def test_a_part_of_a_real_data_set(tmp_path: Path) -> None:
    shards = Path(__file__).parents[4] / "shared" / "data" / "flickr" / "flickr-val-000000.tar"
    if not shards.exists():
        pytest.skip("the data set is not on this machine")
    decoder = Decoder.build(ModalitiesConfig.model_validate({"image": {"size": 64}}), None)
    [part] = plan(expand(str(shards)))
    table = decode_part(part, decoder)
    stats = statistics(Measure(IMAGES)(table), decoder.schema, IMAGES)["modalities"]["image"]
    values = np.array(table["image"].drop_null().to_pylist()).reshape(-1, 64, 64, 3)
    np.testing.assert_allclose(stats["mean"], values.mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(stats["std"], values.std(axis=(0, 1, 2)), rtol=1e-9)


def test_large_images_are_measured_by_every_nth_row() -> None:
    decoder = Decoder.build(
        ModalitiesConfig.model_validate({"image": {"fields": ["png"], "size": 120}}), None
    )
    pixels = np.random.default_rng(0).integers(0, 256, (5, 120, 120, 3), dtype=np.uint8)
    field = decoder.codecs["image"].column
    column = pa.array(list(pixels.reshape(5, -1)), field.type)
    rows = [dict.fromkeys(decoder.schema.names) | {"modalities": ["image"]}] * 5
    table = pa.Table.from_pylist(rows, schema=decoder.schema)
    table = table.set_column(table.schema.names.index("image"), field, column)
    stats = statistics(Measure(IMAGES)(table), decoder.schema, IMAGES)["modalities"]["image"]
    assert stats["every_nth_row"] == 2
    np.testing.assert_allclose(stats["mean"], pixels[:, ::2].mean(axis=(0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(stats["std"], pixels[:, ::2].std(axis=(0, 1, 2)), rtol=1e-5)


def test_a_column_that_nothing_measures_is_counted() -> None:
    """A modality may have no statistics of its own: ``preprocess`` goes on."""
    field = pa.field("sensor", pa.list_(pa.float32(), 4), metadata={"shape": "4"})
    schema = pa.schema([*BASE_SCHEMA, field])
    rows = [dict.fromkeys(schema.names) | {"sensor": x} for x in ([0.0, 1.0, 2.0, 3.0], None)]
    rows = [row | {"modalities": []} for row in rows]
    table = pa.Table.from_pylist(rows, schema=schema)
    whole = Measure({"sensor": None})(table)
    found = statistics(whole, schema, {"sensor": None})["modalities"]["sensor"]
    assert found == {"present": 1, "missing": 1}

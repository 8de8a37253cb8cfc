"""How tables lie in Parquet files: compact, in row groups, and the same in every reader."""

from __future__ import annotations

import io
from pathlib import Path

import duckdb
import numpy as np
import polars
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.sinks.files.parquet import write_tables

PIXELS = 32 * 32 * 3


def decoded(num_rows: int, seed: int) -> pa.Table:
    """Smooth images, as photos are, with one missing, float16 sounds, tokens and float32 embeddings."""
    rng = np.random.default_rng(seed)
    steps = rng.integers(-3, 4, (num_rows, PIXELS)).cumsum(axis=1)
    images = pa.array(list(steps.astype(np.uint8)), pa.list_(pa.uint8(), PIXELS))
    missing = pa.array([None], images.type)
    return pa.table(
        {
            "key": [f"{index:05d}" for index in range(num_rows)],
            "modalities": [["image", "audio"]] * num_rows,
            "image": pa.concat_arrays([images[:-1], missing]),
            "audio": pa.array(
                list(rng.normal(-40, 20, (num_rows, 50)).astype(np.float16)),
                pa.list_(pa.float16(), 50),
            ),
            "text": pa.array([[1, 2, index] for index in range(num_rows)], pa.list_(pa.int32())),
            "embedding": pa.array(
                list(rng.normal(size=(num_rows, 8)).astype(np.float32)), pa.list_(pa.float32(), 8)
            ),
        }
    )


def written(tables: list[pa.Table], row_group_bytes: int = 1 << 30) -> bytes:
    data = io.BytesIO()
    write_tables(data, tables, row_group_bytes)
    return data.getvalue()


def test_every_reader_sees_the_same(tmp_path: Path) -> None:
    tables = [decoded(40, seed) for seed in (0, 1)]
    (tmp_path / "x.parquet").write_bytes(written(tables))
    expected = pa.concat_tables(tables)
    assert pq.read_table(tmp_path / "x.parquet").equals(expected)
    rows = expected.to_pylist()
    assert polars.read_parquet(tmp_path / "x.parquet").to_dicts() == rows
    found = duckdb.sql(f"from '{tmp_path}/x.parquet'").fetchall()
    assert [list(row) for row in found] == [list(row.values()) for row in rows]


def test_a_pixel_takes_about_a_byte() -> None:
    table = decoded(200, seed=3)
    assert len(written([table.select(["image"])])) < 1.1 * 200 * PIXELS


def test_row_groups_have_the_size_asked_for() -> None:
    table = decoded(300, seed=4)
    file = pq.ParquetFile(io.BytesIO(written([table], row_group_bytes=table.nbytes // 3)))
    assert 3 <= file.num_row_groups <= 4


def test_embeddings_are_smaller_than_their_numbers() -> None:
    values = np.random.default_rng(0).standard_normal((2000, 64)).astype(np.float32)
    column = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), 64)
    assert len(written([pa.table({"embedding": column})])) < 0.9 * values.nbytes

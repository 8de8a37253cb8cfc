"""Small snapshots as a sink writes them, and their rows for brute force."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.search.written import Written


def write_file(
    path: Path,
    vectors: list[list[float] | None] | np.ndarray,
    *,
    keys: list[str],
    shards: list[str],
    row_group: int = 3,
    column: str = "embedding",
    width: int | None = None,
    model: str = "m",
    dtype: pa.DataType | None = None,
) -> None:
    width = width or len(next(each for each in vectors if each is not None))
    kind = pa.list_(dtype or pa.float32(), width)
    rows = [None if each is None else np.asarray(each).tolist() for each in vectors]
    table = pa.table(
        {
            "key": pa.array(keys, pa.string()),
            "shard": pa.array(shards, pa.string()),
            column: pa.array(rows, kind),
            "prediction": pa.array([f"p{i}" for i in range(len(keys))]),
        }
    ).replace_schema_metadata({"model": model})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=row_group)


def written(folder: Path) -> Written:
    return Written(str(folder), tuple(map(str, sorted(folder.glob("part-*.parquet")))))

"""Exact search against brute force, with ties, missing rows, and memory that does not grow with the rows."""

import math
import tempfile
import tracemalloc
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rows_on_disk import write_file, written

from pipeline.errors import ConfigError, InputError
from pipeline.search import written as written_module
from pipeline.search.exact import candidates, nearest, similarities

WIDTH = 3
Vector = list[int] | None


def brute_force(
    query: list[int], rows: list[tuple[Vector, str, str]], top: int, without: int | None
) -> list[tuple[str, str, int]]:
    """The order of neighbours in whole numbers: no rounding anywhere."""
    found = []
    for number, (vector, shard, key) in enumerate(rows):
        if vector is None or not any(vector) or number == without:
            continue
        dot = sum(a * b for a, b in zip(query, vector, strict=True))
        # Of the cosine, its sign and its square say the order.
        square = Fraction(dot * dot, sum(a * a for a in vector))
        found.append((-square if dot > 0 else square, shard, key, number))
    return [each[1:] for each in sorted(found)[:top]]


vectors = st.one_of(st.none(), st.lists(st.integers(-3, 3), min_size=WIDTH, max_size=WIDTH))


@settings(max_examples=60)
@given(
    query=st.lists(st.integers(-3, 3), min_size=WIDTH, max_size=WIDTH).filter(any),
    files=st.lists(st.lists(vectors, min_size=1, max_size=12), min_size=1, max_size=3),
    row_group=st.integers(1, 5),
    batch_rows=st.integers(1, 7),
    top=st.integers(1, 12),
    seed=st.integers(0, 99),
    leave_out=st.booleans(),
    dtype=st.sampled_from([pa.float16(), pa.float32(), pa.float64()]),
)
def test_the_same_as_brute_force(
    query: list[int],
    files: list[list[Vector]],
    row_group: int,
    batch_rows: int,
    top: int,
    seed: int,
    leave_out: bool,
    dtype: pa.DataType,
) -> None:
    rng = np.random.default_rng(seed)
    count = sum(map(len, files))
    keys = [f"k{i:02d}" for i in rng.permutation(count)]
    shards = [f"{i}.tar" for i in rng.integers(0, 3, count)]
    rows = list(zip((v for file in files for v in file), shards, keys, strict=True))
    without = int(rng.integers(count)) if leave_out else None
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        size = WIDTH * dtype.bit_width // 8
        patch.setattr(written_module, "BATCH_BYTES", batch_rows * size)
        first = 0
        for number, file in enumerate(files):
            last = first + len(file)
            write_file(
                Path(folder) / f"part-{number}.parquet",
                file,
                keys=keys[first:last],
                shards=shards[first:last],
                row_group=row_group,
                width=WIDTH,
                dtype=dtype,
            )
            first = last
        batches = written(Path(folder)).scan("embedding")
        found = nearest(np.array(query), batches, top, without)
    assert [hit[1:] for hit in found.hits] == brute_force(query, rows, top, without)
    assert found.compared == len(brute_force(query, rows, count, without))
    for hit in found.hits:
        vector = rows[hit.row][0]
        assert vector is not None
        dot = math.fsum(a * b for a, b in zip(query, vector, strict=True))
        assert hit.score == pytest.approx(dot / math.hypot(*query) / math.hypot(*vector), abs=1e-8)


def test_single_precision_never_hides_a_neighbour() -> None:
    rng = np.random.default_rng(0)
    query = rng.standard_normal(300)
    # Neighbours that differ in the last digits of single precision, and lengths that it cannot square.
    near = (query + 1e-4 * rng.standard_normal((2000, 300))).astype(np.float32)
    near *= np.float32(10.0) ** rng.integers(-30, 30, (2000, 1))
    exact = similarities(query, near)
    assert np.isfinite(exact).all()
    for top in (1, 10):
        best = set(np.argsort(-exact, kind="stable")[:top].tolist())
        assert best <= set(candidates(query, near, top).tolist())
        worst = float(np.sort(exact)[-top])
        assert best <= set(candidates(query, near, top, worst).tolist())


def test_equal_rows_are_equal_wherever_they_stand() -> None:
    rng = np.random.default_rng(1)
    query, row = rng.standard_normal(129), rng.standard_normal(129)
    for count in (1, 2, 7, 64, 333):
        assert set(similarities(query, np.tile(row, (count, 1)))) == set(
            similarities(query, 3 * row[None])
        )


def test_rows_without_direction_are_no_neighbours(tmp_path: Path) -> None:
    rows = [[1, 0], [0, 0], None, [math.inf, 1], [math.nan, 1], [-1, 0], [1e-40, 0], [1e30, 0]]
    keys = list("abcdefgh")
    write_file(tmp_path / "part-0.parquet", rows, keys=keys, shards=["s"] * 8)
    found = nearest(np.array([2.0, 0.0]), written(tmp_path).scan("embedding"), 8)
    assert [(hit.key, hit.score) for hit in found.hits] == [
        ("a", 1.0), ("g", 1.0), ("h", 1.0), ("f", -1.0),
    ]  # fmt: skip
    assert found.compared == 4


@pytest.mark.parametrize("row_group", [2_000, 60_000])
def test_memory_holds_a_batch_however_many_rows_there_are(
    row_group: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """60,000 rows of 128 are 30 MB; in one row group too, no more than a few batches of 1 MB are held."""
    monkeypatch.setattr(written_module, "BATCH_BYTES", 1 << 20)
    monkeypatch.setattr(written_module, "BUFFER_BYTES", 1 << 18)
    rng = np.random.default_rng(0)
    flat = rng.standard_normal(60_000 * 128, dtype=np.float32)
    rows = pa.FixedSizeListArray.from_arrays(pa.array(flat), 128)
    keys = pa.array([f"{i:06d}" for i in range(60_000)])
    table = pa.table({"key": keys, "shard": pa.array(["a.tar"] * 60_000), "embedding": rows})
    pq.write_table(table, tmp_path / "part-0.parquet", row_group_size=row_group)
    whole = flat.nbytes
    want = similarities(flat[:128], flat.reshape(-1, 128))
    del rows, table, keys, flat

    default = pa.default_memory_pool()
    pool = pa.proxy_memory_pool(default)
    pa.set_memory_pool(pool)
    tracemalloc.start()
    try:
        found = nearest(
            written(tmp_path).vector(0, "embedding"), written(tmp_path).scan("embedding"), 10
        )
        peak = tracemalloc.get_traced_memory()[1] + pool.max_memory()
    finally:
        tracemalloc.stop()
        pa.set_memory_pool(default)
    assert [hit.row for hit in found.hits] == np.argsort(-want, kind="stable")[:10].tolist()
    assert peak < 12 << 20 < whole


def test_what_cannot_be_searched_is_said(tmp_path: Path) -> None:
    one = tmp_path / "one"
    write_file(one / "part-0.parquet", [[1, 0]], keys=["a"], shards=["s"], column="vector")
    with pytest.raises(ConfigError, match="the rows hold no embeddings"):
        list(written(one).scan("embedding"))
    with pytest.raises(ConfigError, match="prediction is string, and no vectors of one width"):
        list(written(one).scan("prediction"))
    assert [batch.keys.to_pylist() for batch in written(one).scan("vector")] == [["a"]]

    two = tmp_path / "two"
    write_file(two / "part-0.parquet", [[1, 0]], keys=["a"], shards=["s"])
    write_file(two / "part-1.parquet", [[1, 0, 0]], keys=["b"], shards=["s"])
    with pytest.raises(ConfigError, match=r"embedding is .*\[3\], and .*\[2\] in"):
        list(written(two).scan("embedding"))
    write_file(two / "part-1.parquet", [[1, 0]], keys=["b"], shards=["s"], model="other")
    with pytest.raises(ConfigError, match="the model other wrote it, and m wrote"):
        list(written(two).scan("embedding"))
    (two / "part-1.parquet").write_bytes(b"no parquet at all, but some bytes")
    with pytest.raises(InputError, match="the file is no Parquet file"):
        list(written(two).scan("embedding"))


def test_rows_are_found_by_key_and_fetched_by_number(tmp_path: Path) -> None:
    write_file(
        tmp_path / "part-0.parquet",
        [[i, 1] for i in range(10)],
        keys=[f"k{i % 7}" for i in range(10)],
        shards=["b" if i < 7 else "a" for i in range(10)],
    )
    write_file(tmp_path / "part-1.parquet", [[9, 9], None], keys=["k1", "z"], shards=["c", "c"])
    rows = written(tmp_path)
    assert [(p.shard, p.row) for p in rows.find("k1")] == [("a", 8), ("b", 1), ("c", 10)]
    assert [p.row for p in rows.find("k1", "c")] == [10]
    assert rows.find("nobody") == []
    fetched = rows.fetch([10, 0, 8, 3], ["prediction", "key"])
    assert [row["prediction"] for row in fetched] == ["p0", "p0", "p8", "p3"]
    vector = rows.vector(8, "embedding")
    assert vector is not None
    assert vector.tolist() == [8, 1]
    assert rows.vector(11, "embedding") is None

"""The optional index: as good as comparing every row, kept as long as the snapshot stays, and made again after it."""

import sys
from pathlib import Path

import numpy as np
import pytest
from rows_on_disk import write_file, written

from pipeline.errors import ConfigError
from pipeline.search.approximate import Approximate
from pipeline.search.exact import nearest

pytest.importorskip("usearch")

COUNT, WIDTH = 3000, 24


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rows")
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((40, WIDTH))
    vectors = centres[rng.integers(0, 40, COUNT)] + 0.5 * rng.standard_normal((COUNT, WIDTH))
    rows = [None if i % 50 == 7 else row.tolist() for i, row in enumerate(vectors)]
    rows[3] = [0.0] * WIDTH
    for number in range(3):
        part = slice(number * 1000, number * 1000 + 1000)
        write_file(
            folder / f"part-{number}.parquet",
            rows[part],
            keys=[f"k{i:04d}" for i in range(COUNT)][part],
            shards=[f"{i % 3}.tar" for i in range(COUNT)][part],
            row_group=128,
        )
    return folder


def index_of(folder: Path, run: Path, content: str = "first", **more: object) -> Approximate:
    return Approximate(written(folder), "embedding", {"manifest": content, **more}, str(run))


def test_it_finds_what_comparing_every_row_finds(folder: Path, tmp_path: Path) -> None:
    index, rows = index_of(folder, tmp_path), written(folder)
    rng = np.random.default_rng(1)
    recalls = []
    for row in rng.choice(COUNT, 30, replace=False).tolist():
        own = rows.vector(row, "embedding")
        if own is None or not own.any():
            continue
        exact = nearest(own, rows.scan("embedding"), 10, row)
        found = index.nearest(own, 10, row)
        assert found.compared == exact.compared
        assert row not in [hit.row for hit in found.hits]
        scores = {hit.row: hit.score for hit in exact.hits}
        for hit in found.hits:
            assert hit.score == scores.get(hit.row, hit.score), "scores are exact"
        ordered = sorted(found.hits, key=lambda hit: (-hit.score, hit.shard, hit.key))
        assert ordered == found.hits
        recalls.append(len(scores.keys() & {hit.row for hit in found.hits}) / 10)
    assert len(recalls) >= 25
    assert np.mean(recalls) >= 0.97


def test_it_is_made_once_a_snapshot(folder: Path, tmp_path: Path) -> None:
    query = np.ones(WIDTH)
    first = index_of(folder, tmp_path)
    answer = first.nearest(query, 5)
    [kept] = tmp_path.iterdir()
    before = kept.stat().st_mtime_ns
    assert index_of(folder, tmp_path).nearest(query, 5) == answer
    assert kept.stat().st_mtime_ns == before, "read, not made again"
    # Threads build it in another order each time, and it is approximate.
    assert len(index_of(folder, tmp_path, "second").nearest(query, 5).hits) == 5
    [fresh] = tmp_path.iterdir()
    assert fresh != kept, "another snapshot's index replaces the last one's"

    fresh.write_bytes(b"damaged")
    assert len(index_of(folder, tmp_path, "second").nearest(query, 5).hits) == 5
    assert fresh.stat().st_size > 1000, "a damaged one is made again"


def test_an_interrupted_build_leaves_nothing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline import storage

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(storage.files.os, "fsync", killed)
    with pytest.raises(KeyboardInterrupt):
        index_of(folder, tmp_path).nearest(np.ones(WIDTH), 5)
    assert not list(tmp_path.iterdir())


def test_without_the_package_it_says_what_to_install(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "usearch.index", None)
    with pytest.raises(ConfigError, match=r"usearch is not installed .*pipeline\[search\]"):
        index_of(folder, tmp_path).nearest(np.ones(WIDTH), 5)

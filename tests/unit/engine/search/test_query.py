"""Which column is searched, and which row asks, where there is a shared space."""

import itertools
import json
import os
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.config import validate
from pipeline.engine.search.plan import search
from pipeline.engine.search.query import Question, row_query, searched_column
from pipeline.errors import ConfigError, InputError
from pipeline.search.written import Written

IMAGES = [[1, 0], [0, 1], None, [1, 1]]
TEXTS = [None, [1, 0], [0, 1], [-1, 0]]


def write(folder: Path, **columns: list) -> Written:
    kind = pa.list_(pa.float32(), 2)
    table = pa.table(
        {
            "key": ["a", "b", "c", "d"],
            "shard": ["s"] * 4,
            **{name: pa.array(values, kind) for name, values in columns.items()},
            "plain": pa.array([[1.0]] * 4),
        }
    )
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, folder / "part-0.parquet")
    return Written(str(folder), (str(folder / "part-0.parquet"),))


@pytest.fixture
def shared(tmp_path: Path) -> Written:
    return write(tmp_path / "shared", image_embedding=IMAGES, text_embedding=TEXTS)


def test_the_column(shared: Written, tmp_path: Path) -> None:
    assert searched_column(shared, Question(among="text")) == "text_embedding"
    assert searched_column(shared, Question(column="image_embedding")) == "image_embedding"
    with pytest.raises(ConfigError, match=r"several columns of embeddings: .*--in MODALITY"):
        searched_column(shared, Question())
    with pytest.raises(ConfigError, match="no column audio_embedding: the model has no space"):
        searched_column(shared, Question(among="audio"))
    with pytest.raises(ConfigError, match="plain is list<element: double>, and no vectors"):
        searched_column(shared, Question(column="plain"))
    both = write(tmp_path / "both", text_embedding=TEXTS, embedding=IMAGES)
    assert searched_column(both, Question()) == "embedding"
    alone = write(tmp_path / "alone", text_embedding=TEXTS)
    assert searched_column(alone, Question()) == "text_embedding"
    with pytest.raises(ConfigError, match=r"the rows hold no embeddings .* key, shard, plain"):
        searched_column(write(tmp_path / "none"), Question())


def test_the_row_that_asks(shared: Written) -> None:
    def vector(key: str, column: str, by: str | None = None) -> list[float]:
        return row_query(shared, Question(key=key, by=by), column).vector.tolist()

    assert vector("b", "image_embedding") == [0, 1], "its own of the searched column"
    assert vector("b", "image_embedding", "text") == [1, 0]
    assert vector("c", "image_embedding") == [0, 1], "else what it has"
    with pytest.raises(ConfigError, match="the row has no image_embedding"):
        vector("c", "text_embedding", "image")


def test_from_a_text_to_images(shared: Written, tmp_path: Path) -> None:
    config = validate(
        {"run": str(tmp_path), "modalities": {"image": {}}, "infer": {"output": shared.output}}
    )
    answer = search(config, Question(key="b", by="text", among="image"))
    assert [(each.key, each.score) for each in answer.neighbours] == [
        ("a", 1.0), ("d", pytest.approx(0.5**0.5)),
    ]  # fmt: skip
    assert answer.compared == 2
    with pytest.raises(ConfigError, match="3 neighbours are wanted, and there are 2 rows"):
        search(config, Question(key="b", among="image", top=3))


def test_while_snapshots_take_each_others_place(tmp_path: Path) -> None:
    """What a search has begun to read may be gone in the next moment; it then reads what has come instead."""
    first = Path(write(tmp_path / "out", embedding=IMAGES).files[0])
    config = validate(
        {"run": str(tmp_path), "modalities": {"image": {}}, "infer": {"output": str(first.parent)}}
    )
    manifest = first.parent / "_manifest.json"
    over = threading.Event()

    def publish(old: Path, number: int) -> Path:
        new = old.with_name(f"part-{number}.parquet")
        os.link(old, new)
        staged = manifest.with_suffix(".new")
        staged.write_text(json.dumps({"files": [{"name": new.name}]}))
        staged.replace(manifest)
        old.unlink()
        return new

    current = publish(first, 1)

    def nights() -> None:
        file = current
        for number in itertools.count(2):
            if over.wait(0.01):
                return
            file = publish(file, number)

    thread = threading.Thread(target=nights)
    thread.start()
    try:
        for _ in range(20):
            neighbours = search(config, Question(key="b")).neighbours
            assert [neighbour.key for neighbour in neighbours] == ["d", "a"]
    finally:
        over.set()
        thread.join()
    next(first.parent.glob("part-*")).unlink()
    with pytest.raises(InputError):
        search(config, Question(key="b"))


def test_what_cannot_be_compared(tmp_path: Path) -> None:
    output = write(tmp_path / "out", embedding=[[0, 0], None, [1, 2], [np.inf, 1]]).output
    config = validate(
        {"run": str(tmp_path), "modalities": {"image": {}}, "infer": {"output": output}}
    )
    for key in ("a", "d"):
        with pytest.raises(ConfigError, match="has no direction"):
            search(config, Question(key=key))
    with pytest.raises(ConfigError, match="the row has no embedding"):
        search(config, Question(key="b"))
    with pytest.raises(ConfigError, match="no row has a value in the column embedding"):
        search(config, Question(key="c"))
    pq.write_table(pa.table({"key": pa.array([], pa.string())}), f"{output}/part-0.parquet")
    with pytest.raises(ConfigError, match="the output holds no rows"):
        search(config, Question(key="c"))
    (tmp_path / "out" / "_manifest.json").write_text("{")
    with pytest.raises(InputError, match="the manifest cannot be read"):
        search(config, Question(key="c"))

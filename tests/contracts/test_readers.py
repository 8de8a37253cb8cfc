"""What a sink writes opens in the readers that people have, by a glob, and without Ray on the machine."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.tones import make_samples, write_tar

from pipeline.engine.decoding.isolated import decode_here
from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.shards.planning.plan import expand, plan
from pipeline.sinks import ParquetConfig
from pipeline.sinks.parquet import ParquetSink

CLASSES, WIDTH = 3, 8
COLUMNS = ("embedding", "half", "text_embedding", "prediction", "score", "probabilities", "ids")

# The reader's module is named on the command line; a pattern goes in, rows as JSON come out.
CHILD = """
import glob, json, sys

class NoRay:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("ray", "pipeline"):
            raise ImportError(f"{name} is not on this machine")

sys.meta_path.insert(0, NoRay())
reader, pattern = sys.argv[1:3]

def duckdb_rows():
    import duckdb
    found = duckdb.sql(f"from read_parquet('{pattern}')")
    names = [column[0] for column in found.description]
    return [dict(zip(names, row)) for row in found.fetchall()], list(map(str, found.types))

def polars_rows():
    import polars
    found = polars.read_parquet(pattern)
    return found.to_dicts(), [str(kind) for kind in found.dtypes]

def pandas_rows():
    import pandas
    found = pandas.concat([pandas.read_parquet(file) for file in sorted(glob.glob(pattern))])
    return found.to_dict("records"), [str(kind) for kind in found.dtypes]

def datasets_rows():
    import datasets
    cache = sys.argv[3]
    found = datasets.load_dataset("parquet", data_files=pattern, split="train", cache_dir=cache)
    return found.to_list(), [str(kind) for kind in found.features.arrow_schema.types]

def plain(value):
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return None if value != value else value

rows, kinds = globals()[f"{reader}_rows"]()
assert "ray" not in sys.modules and "pipeline" not in sys.modules
rows = [{name: plain(value) for name, value in row.items()} for row in rows]
json.dump({"rows": rows, "kinds": kinds}, sys.stdout)
"""


def numbers(rng: np.random.Generator, count: int, width: int, kind: pa.DataType) -> pa.Array:
    values = rng.standard_normal(count * width).astype(kind.to_pandas_dtype())
    return pa.FixedSizeListArray.from_arrays(pa.array(values, kind), width)


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a job over two shards: predictions of good samples, and a quarantine of bad ones."""
    folder = tmp_path_factory.mktemp("readers")
    for shard in range(2):
        samples = make_samples(12, seed=shard)
        named = {f"键/é {name} '\"": fields for name, fields in samples.items()}
        list(named.values())[1]["png"] = b"broken"
        del list(named.values())[2]["json"]
        write_tar(folder / f"x-{shard}.tar", named)
    decoder = Decoder.build(
        ModalitiesConfig.model_validate({"image": {"fields": ["png"], "size": 8}}),
        None,
        metadata=["json"],
    )
    sink = ParquetSink(str(folder / "out"), {}, {"model": "m"}, COLUMNS, config=ParquetConfig())
    sink.begin()
    parts = plan(expand(str(folder / "x-*.tar")))
    for number, part in enumerate(parts):
        table = decode_here(part, decoder).drop_columns(["image"])
        for name, column in predictions(np.random.default_rng(number), table.num_rows).items():
            table = table.append_column(name, column)
        sink.write(table)
    sink.commit(parts)
    return folder / "out"


def predictions(rng: np.random.Generator, count: int) -> dict[str, pa.Array]:
    """Columns of every type that models write, with nulls where they may be."""
    text = numbers(rng, count, WIDTH, pa.float32())
    return {
        "embedding": numbers(rng, count, WIDTH, pa.float32()),
        "half": numbers(rng, count, WIDTH, pa.float16()),
        "text_embedding": pa.array(
            [row if i % 4 else None for i, row in enumerate(text.to_pylist())], text.type
        ),
        "prediction": pa.array([f"高音 {i}" if i % 3 else None for i in range(count)]),
        "score": pa.array(rng.random(count), pa.float32()),
        "probabilities": numbers(rng, count, CLASSES, pa.float32()),
        "ids": pa.array([list(range(i)) or None for i in range(count)], pa.list_(pa.int32())),
    }


def expected(output: Path, pattern: str) -> list[dict[str, Any]]:
    tables = [pq.read_table(file) for file in sorted(output.glob(pattern))]
    return pa.concat_tables(tables).to_pylist()


def kinds_of(schema: pa.Schema) -> Iterator[pa.DataType]:
    def inside(kind: pa.DataType) -> Iterator[pa.DataType]:
        yield kind
        for index in range(kind.num_fields):
            yield from inside(kind.field(index).type)

    for field in schema:
        yield from inside(field.type)


@pytest.mark.parametrize("pattern", ["part-*.parquet", "_quarantine/*.parquet"])
def test_the_types_are_plain(output: Path, pattern: str) -> None:
    files = sorted(output.glob(pattern))
    assert files
    for file in files:
        schema = pq.read_schema(file)
        assert not any(isinstance(kind, pa.BaseExtensionType) for kind in kinds_of(schema))
        for metadata in (schema.metadata or {}, *(field.metadata or {} for field in schema)):
            assert not any(name.startswith((b"ARROW:ext", b"pandas", b"ray")) for name in metadata)


@pytest.mark.parametrize("reader", ["duckdb", "polars", "pandas", "datasets"])
@pytest.mark.parametrize("pattern", ["part-*.parquet", "_quarantine/*.parquet"])
def test_it_opens_without_ray(reader: str, pattern: str, output: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", CHILD, reader, str(output / pattern), str(tmp_path)]
    offline = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, **offline},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    answer = json.loads(done.stdout)
    found, want = answer["rows"], expected(output, pattern)
    assert len(found) == len(want) == (20 if pattern.startswith("part") else 4)

    def by_name(row: dict[str, Any]) -> tuple[str, str]:
        return row["shard"], row["key"]

    for there, ours in zip(sorted(found, key=by_name), sorted(want, key=by_name), strict=True):
        assert list(there) == list(ours)
        for name, value in ours.items():
            assert there[name] == value, name
    assert not any("extension" in kind.lower() for kind in answer["kinds"])

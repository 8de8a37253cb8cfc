"""Nights that write date=YYYY-MM-DD folders: readers see one table with a column ``date``."""

import datetime
from pathlib import Path

import duckdb
import polars
import pyarrow.dataset as ds
import pytest
from support.tones import make_samples, write_tar

from pipeline.config import validate
from pipeline.engine.decoding.isolated import decode_here
from pipeline.engine.plans.dated import for_date
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.shards.planning.plan import expand, plan
from pipeline.sinks import ParquetConfig
from pipeline.sinks.parquet import ParquetSink

NIGHTS = {"2026-11-20": 4, "2026-11-21": 6}  # date -> samples


@pytest.fixture
def output(tmp_path: Path) -> Path:
    config = validate(
        {
            "run": str(tmp_path / "run"),
            "input": {"test": f"{tmp_path}/in/{{date}}/*.tar"},
            "modalities": {"image": {"fields": ["png"], "size": 8}},
            "infer": {"output": f"{tmp_path}/out/date={{date}}"},
        }
    )
    for date, count in NIGHTS.items():
        samples = {k: v for k, v in make_samples(20, seed=1).items() if "png" in v}
        kept = dict(list(samples.items())[:count])
        write_tar(tmp_path / "in" / date / "x.tar", {**kept, "bad": {"png": b"broken"}})
        night = for_date(config, date)
        assert night.input.test is not None
        assert night.infer.output is not None
        decoder = Decoder.build(night.modalities, None)
        sink = ParquetSink(night.infer.output, {}, {}, ("image",), config=ParquetConfig())
        sink.begin()
        parts = plan(expand(night.input.test))
        for part in parts:
            sink.write(decode_here(part, decoder))
        sink.commit(parts)
    return tmp_path / "out"


@pytest.mark.parametrize(
    ("name", "section"),
    [
        ("readings", {"kind": "vector", "shape": [8, 2]}),
        ("features", {"kind": "vector", "shape": [8]}),
        ("image", {"encoder": {"kind": "resnet"}}),
        ("text", {}),
        ("audio", {}),
    ],
)
@pytest.mark.parametrize(
    "objective", [{"multi_label": True}, {"label": "cls"}, {"kind": "regress", "target": "json.x"}]
)
def test_a_night_has_the_configuration_but_for_the_date(name, section, objective) -> None:
    tree = {"run": "run", "modalities": {name: section}, "objective": objective}
    config = validate({**tree, "infer": {"output": "out/{date}"}})
    night = for_date(config, "2026-11-20")
    assert night == validate({**tree, "infer": {"output": "out/2026-11-20"}})
    assert night.modalities.decoding() == config.modalities.decoding()


def test_readers_see_the_date_as_a_column(output: Path) -> None:
    glob = f"{output}/date=*/part-*.parquet"
    days = {datetime.date.fromisoformat(date): count for date, count in NIGHTS.items()}
    by_duckdb = duckdb.sql(f"select date, count(*) from '{glob}' group by date").fetchall()
    assert dict(by_duckdb) == days
    frame = polars.read_parquet(glob, hive_partitioning=True)
    assert dict(frame.group_by("date").len().rows()) == days
    files = [str(file) for file in sorted(output.glob("date=*/part-*.parquet"))]
    table = ds.dataset(files, partitioning="hive").to_table()
    assert sorted(set(table["date"].to_pylist())) == list(NIGHTS)
    assert table.num_rows == sum(NIGHTS.values())

    bad = duckdb.sql(f"select date, key from '{output}/date=*/_quarantine/*.parquet'").fetchall()
    assert sorted(bad) == [(day, "bad") for day in days]
    one = f"select count(*) from '{glob}' where date = date '2026-11-21'"
    assert duckdb.sql(one).fetchall() == [(6,)]

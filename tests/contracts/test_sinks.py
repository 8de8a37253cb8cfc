"""Every sink of the union is built by its own configuration, and keeps its word on whether it keeps rows."""

from pathlib import Path
from typing import get_args

import pytest
from support.tones import make_samples, write_tar

from pipeline.engine.decoding.isolated import decode_here
from pipeline.metrics.statistics import Measure
from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.shards.planning.plan import expand, plan
from pipeline.sinks import NoneConfig, ParquetConfig, SinkConfig, WebDatasetConfig
from pipeline.sinks.output import Output

MEMBERS = get_args(get_args(SinkConfig)[0])
MODALITIES = ModalitiesConfig.model_validate({"image": {"fields": ["png"], "size": 8}})
DECODER = Decoder.build(MODALITIES, None)


@pytest.mark.parametrize("member", MEMBERS, ids=lambda member: member.__name__)
@pytest.mark.parametrize("keep_statistics", [False, True])
def test_a_sink_writes_what_it_says(
    member: type[ParquetConfig | WebDatasetConfig | NoneConfig],
    keep_statistics: bool,
    tmp_path: Path,
) -> None:
    write_tar(tmp_path / "x.tar", make_samples(3, seed=1))
    parts = plan(expand(str(tmp_path / "x.tar")))
    measure = Measure(MODALITIES.measures(), labelled=False)
    output = Output(
        str(tmp_path / "out"),
        {"model": "m"},
        {},
        ("image",),
        measure=measure,
        keep_statistics=keep_statistics,
    )
    sink = member().build(output)
    sink.begin(parts)
    [result] = [sink.write(decode_here(part, DECODER)) for part in parts]
    sink.commit(parts)
    assert result.written == 3
    assert (result.statistics is not None) == (member().keeps_rows or keep_statistics)
    assert bool(list((tmp_path / "out").glob("part-*"))) == member().keeps_rows
    assert sink.done(parts) == ({part.id for part in parts} if member().keeps_rows else set())

"""What is odd about a sample that is used all the same: written, and noted beside."""

import json
from pathlib import Path

import pyarrow.parquet as pq
from support.evil import EvilCodec, evil_decoder
from support.tones import write_tar

from pipeline.engine.decoding.cache import Cache, cached
from pipeline.engine.decoding.isolated import decode_here
from pipeline.engine.decoding.part import decode_part
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.runs import Summary
from pipeline.shards.planning.plan import Part, expand, plan
from pipeline.sinks import ParquetConfig
from pipeline.sinks.ledger import ledger
from pipeline.sinks.parquet import ParquetSink
from pipeline.sinks.quarantine import num_noted, read_quarantine, set_bad_aside, write_quarantine

WORDS = {
    "a": {"img": b"1", "snd": b"1"},
    "b": {"img": b"odd 2", "snd": b"2"},
    "c": {"img": b"odd 3", "snd": b"odd 3"},
    "d": {"img": b"odd 4", "snd": b"bad"},
}


def shard(folder: Path, words: dict[str, dict[str, bytes]] = WORDS) -> Part:
    write_tar(folder / "x.tar", words)
    return plan(expand(str(folder / "x.tar")))[0]


def decoder(**options: object) -> Decoder:
    codecs = {"image": EvilCodec("image"), "audio": EvilCodec("audio")}
    return Decoder(codecs, {"image": ("img",), "audio": ("snd",)}, **options)  # type: ignore[arg-type]


def sink(folder: Path) -> ParquetSink:
    return ParquetSink(str(folder), {"model": "m"}, {}, ("image", "audio"), config=ParquetConfig())


def rows_of(output: Path) -> list[tuple]:
    names = ("key", "field", "outcome", "reason", "detail")
    rows = read_quarantine(str(output)).to_pylist()
    return sorted(tuple(row[name] for name in names) for row in rows)


NOTED = ("noted", "noted_count")
ROWS = [
    ("b", "img", *NOTED, "it is odd 2"),
    ("c", "img", *NOTED, "it is odd 3"),
    ("c", "snd", *NOTED, "it is odd 3"),
    ("d", "snd", "quarantined", "bad_image", "it says so"),
]


def test_noted_samples_are_written_and_counted_beside(tmp_path: Path) -> None:
    part = shard(tmp_path)
    out = sink(tmp_path / "out")
    out.begin()
    result = out.write(decode_here(part, decoder(keep_bytes=True)))
    out.commit([part])
    assert (result.read, result.written, result.quarantined, result.noted) == (4, 3, 1, 2)
    assert result.reasons == {"noted_count": 3, "bad_image": 1}
    assert rows_of(tmp_path / "out") == ROWS
    quarantine = {row["key"]: row for row in read_quarantine(str(tmp_path / "out")).to_pylist()}
    assert quarantine["b"]["size"] == len(b"odd 2")
    assert quarantine["b"]["offset"] is not None
    assert quarantine["b"]["bytes"] is None, "the member is in use, and not kept a second time"
    [file] = (tmp_path / "out").glob("part-*.parquet")
    written = pq.read_table(file)
    assert written["key"].to_pylist() == ["a", "b", "c"]
    assert written["image"].to_pylist()[2] == [3.0] * 4
    assert next(iter(out.recorded())).result.noted == 2


def test_noted_samples_are_not_tried_again(tmp_path: Path) -> None:
    part = shard(tmp_path)
    out = sink(tmp_path / "out")
    out.begin()
    out.write(decode_here(part, decoder()))
    [again] = out.retries([part])
    assert again.only == (3,)
    result = out.write(decode_here(again, decoder(on_bad_field="drop")))
    assert (result.read, result.written, result.noted) == (1, 1, 1)
    out.commit([part])
    [record] = out.recorded()
    assert (record.result.written, record.result.quarantined, record.result.noted) == (4, 0, 3)
    kept = ("d", "img", *NOTED, "it is odd 4")
    dropped = ("d", "snd", "field dropped", "bad_image", "it says so")
    assert rows_of(tmp_path / "out") == [*ROWS[:3], kept, dropped]


def test_the_bad_fraction_leaves_them_out(tmp_path: Path) -> None:
    result = ledger(decode_here(shard(tmp_path), decoder()))
    summary = Summary("preprocess")
    summary.count(result)
    summary.close()
    assert summary.bad_fraction == 1 / 4
    told = json.loads(summary.to_json())
    assert (told["samples_read"], told["samples_written"], told["samples_noted"]) == (4, 3, 2)


def test_training_notes_them_and_its_cache_keeps_the_remarks(tmp_path: Path) -> None:
    part, run = shard(tmp_path), tmp_path / "run"
    (tmp_path / "cache").mkdir()
    for _ in range(2):  # decoded, then from the cache
        table = cached(Cache(str(tmp_path / "cache")), part, lambda: decode_here(part, decoder()))
        good = set_bad_aside(table, str(run))
        assert good["key"].to_pylist() == ["a", "b", "c"]
        assert rows_of(run) == ROWS
        assert num_noted(read_quarantine(str(run))) == 2, "samples, not fields"


def test_remarks_come_from_the_decoding_process(tmp_path: Path) -> None:
    part = shard(tmp_path)
    assert decode_part(part, evil_decoder()) == decode_here(part, evil_decoder())
    assert write_quarantine(str(tmp_path), decode_part(part, evil_decoder())).noted == 2
    assert rows_of(tmp_path) == ROWS

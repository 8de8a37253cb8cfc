"""Samples that a job leaves out: told to the part in a few bytes, and faults when it is read."""

from pathlib import Path

from support.tones import make_samples, write_tar

from pipeline.sample import Fault, Sample
from pipeline.shards.planning.plan import Part, expand, plan
from pipeline.shards.reading.left_out import read_left_out, write_left_out
from pipeline.shards.reading.reader import read_part


def test_left_out_samples_are_faults_of_the_same_part(tmp_path: Path) -> None:
    for index in range(3):
        write_tar(tmp_path / f"x-{index}.tar", make_samples(5, seed=index))
    parts = plan(expand(str(tmp_path / "x-*.tar")))
    why = {
        1: ("filtered_duplicate", "a copy of ü in y.tar", "cleaning.duplicates"),
        3: ("filtered_leak", "a copy", "cleaning.leakage"),
    }
    url = str(tmp_path / "run" / "left-out.jsonl")
    told = write_left_out(url, zip(parts, ({}, why, {0: why[1]}), strict=True))
    assert [part.id for part in told] == [part.id for part in parts]
    assert told[0] == parts[0]
    told = [Part.from_json(part.to_json()) for part in told]
    assert [dict(read_left_out(part)) for part in told] == [{}, why, {0: why[1]}]
    items = list(read_part(told[1]))
    faults = {
        item.ordinal: (item.reason, item.detail, item.setting)
        for item in items
        if isinstance(item, Fault)
    }
    assert faults == why
    whole = {item.ordinal: item for item in read_part(parts[1]) if isinstance(item, Sample)}
    assert [item.ordinal for item in items] == list(whole)
    [leak] = [item for item in items if isinstance(item, Fault) and item.ordinal == 3]
    assert leak.source.key == whole[3].key
    assert len(told[1].to_json()) < len(parts[1].to_json()) + 200


def test_what_is_bad_is_that_first(tmp_path: Path) -> None:
    samples = make_samples(3, seed=0)
    path = write_tar(tmp_path / "x.tar", samples)
    path.write_bytes(path.read_bytes()[:-20_000])
    [part] = plan(expand(str(path)))
    [told] = write_left_out(
        str(tmp_path / "l"), [(part, {0: ("filtered_leak", "a copy", "cleaning.leakage")})]
    )
    plain = [item.reason for item in read_part(part) if isinstance(item, Fault)]
    assert [item.reason for item in read_part(told) if isinstance(item, Fault)] == [
        "filtered_leak",
        *plain,
    ]


def test_descriptions_from_before_there_was_such_a_list() -> None:
    part = Part("x.tar", "x.tar", "f")
    text = part.to_json().replace(',"left_out":null', "")
    assert "left_out" not in text
    assert Part.from_json(text) == part

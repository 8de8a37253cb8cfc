"""Commit records as files: what is written is what is read, also where an earlier version wrote it."""

from dataclasses import replace
from pathlib import Path

from pipeline.shards.planning.plan import PartPlan
from pipeline.sinks.ledger import PartResult
from pipeline.sinks.records import Book, PartFile, Record
from pipeline.sinks.snapshots.manifest import Manifest

RESULT = PartResult("0" * 24, "a.tar", 4, 2, 1, 1, filtered=1, reasons={"bad_image": 1}, retry=1)
PLAN = PartPlan("f", start=512, end=2048, duplicates=(3,), interleaved=((1, 2),), num_samples=4)


def test_a_record_comes_back_as_it_was_written() -> None:
    files = (PartFile("_parts/a", 1, 9, "0a", 0), PartFile("_parts/b", 1, 9, "0b", 1))
    bad = PartFile("_quarantine/a", 2, 9, "0c")
    sums = {"samples": 2, "columns": {"image": {"present": 2}}}
    record = Record(replace(RESULT, statistics=sums), PLAN, "digest", files, bad)
    assert Record.from_json(record.to_json()) == record
    assert record.values()["quarantine"] == {
        "name": "_quarantine/a",
        "rows": 2,
        "bytes": 9,
        "crc32": "0c",
    }
    assert Record.from_json(Record(RESULT, PLAN, "digest").to_json()).plan == PLAN


def test_a_published_record_has_neither_files_nor_identity_and_names_its_sums() -> None:
    files = (PartFile("_parts/a", 2, 9, "0a", 0),)
    record = Record(replace(RESULT, statistics={"samples": 2}), PLAN, "digest", files)
    published = record.published("statistics-1.jsonl")
    values = published.values()
    assert not {"data", "quarantine", "made"} & values.keys()
    assert values["statistics"] == "statistics-1.jsonl"
    assert Record.from_values(values) == published
    assert "statistics" not in record.published("").values()


def test_a_record_of_an_earlier_version_counts_as_read_what_became_of_its_samples() -> None:
    values = Record(RESULT, made="digest").values()
    for name in ("read", "noted", "strays", "made"):
        del values[name]
    record = Record.from_values(values)
    assert (record.result.read, record.result.noted, record.plan, record.made) == (4, 0, None, "")


def test_a_book_that_was_read_and_is_written_again_has_the_same_name(tmp_path: Path) -> None:
    book = Book({RESULT.part: Record(RESULT, PLAN).published("")}, superseded={"part-1": 1.5})
    name = book.write(str(tmp_path))
    read = Book.of(str(tmp_path), Manifest("", 0, (), (), 1, name))
    assert read == book
    assert read.write(str(tmp_path / "again")) == name

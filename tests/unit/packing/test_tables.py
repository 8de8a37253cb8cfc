"""Tables as programs write them: encodings, delimiters, quotes, and what is odd in a row."""

import codecs
import datetime
import decimal
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from packed import pack, samples

from pipeline.errors import ConfigError
from pipeline.limits import Limits
from pipeline.modalities import ModalitiesConfig
from pipeline.packing.reading import Reading

HEADER = ["编号", "说明", "类别"]
ROWS = [
    ["1", "一只狗在雪地里奔跑", "狗"],
    ["2", "两个孩子在公园里玩", "人"],
    ["3", "猫坐在窗台上", "猫"],
]
GERMAN = [
    ["1", "Ein grüner Vogel, schön; auf der Straße", "Vögel"],
    ["2", "Über\nden Wolken", "Käfer"],
]
COLUMNS = {"txt": "说明", "cls": "类别"}


def lines(rows, delimiter, end="\r\n", quote='"'):
    """A CSV as Excel writes it: quotes where they are needed."""

    def cell(text):
        needed = any(sign in text for sign in (delimiter, "\n", '"'))
        return quote + text.replace('"', '""') + quote if needed else text

    return "".join(delimiter.join(map(cell, row)) + end for row in rows)


@pytest.mark.parametrize(
    ("encoding", "delimiter"),
    [
        ("utf-8", ","),
        ("utf-8-sig", ";"),
        ("utf-16", "\t"),
        ("utf-16-le", ";"),
        ("gbk", ","),
        ("gb18030", ";"),
        ("utf-8", "|"),
    ],
)
@pytest.mark.parametrize("given", [True, False])
def test_encodings_and_delimiters_are_found_or_given(tmp_path, encoding, delimiter, given):
    table = tmp_path / "t.csv"
    table.write_bytes(lines([HEADER, *ROWS], delimiter).encode(encoding))
    settings = {"encoding": encoding, "delimiter": delimiter} if given else {}
    result = pack(table, tmp_path / "out", columns=COLUMNS, key="编号", **settings)
    assert samples(tmp_path / "out") == {
        key: {"txt": text.encode(), "cls": label.encode()} for key, text, label in ROWS
    }
    guessed = [note for note in result.notes if "guessed" in note]
    # Neither a mark nor UTF-8 tells these.
    assert len(guessed) == (not given and encoding in ("gbk", "gb18030", "utf-16-le"))
    assert all("pack.encoding" in note for note in guessed)


@pytest.mark.parametrize("delimiter", [";", ",", "\t"])
def test_quotes_line_ends_and_delimiters_inside_cells(tmp_path, delimiter):
    table = tmp_path / "t.csv"
    rows = [["id", "text", "label"], *GERMAN, ["3", 'he said "no"', ""]]
    table.write_bytes(lines(rows, delimiter).encode("cp1252"))
    pack(table, tmp_path / "out", columns={"txt": "text", "cls": "label"}, key="id")
    read = samples(tmp_path / "out")
    assert {key: fields["txt"].decode() for key, fields in read.items()} == {
        row[0]: row[1] for row in rows[1:]
    }
    assert "cls" not in read["3"]


def test_what_spreadsheets_add_is_no_data(tmp_path):
    """A line that names the delimiter, spaces behind it, and rows without a value."""
    (tmp_path / "a.csv").write_text('sep=;\r\nid; text\r\n1; "one; two"\r\n;\r\n\r\n2; three\r\n')
    result = pack(tmp_path / "a.csv", tmp_path / "out", columns={"txt": "text"}, key="id")
    assert samples(tmp_path / "out") == {"1": {"txt": b"one; two"}, "2": {"txt": b"three"}}
    assert result.samples_read == 2


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_one_broken_row_does_not_change_the_others(tmp_path, suffix):
    """A table of UTF-8 with a few bytes that are none is not read in another encoding."""
    good = [f"größe {number}" for number in range(30)]
    rows = [*good[:20], "@", *good[20:]]
    if suffix == "csv":
        text = "t\n" + "".join(f"{row}\n" for row in rows)
    else:
        text = "".join(json.dumps({"t": row}, ensure_ascii=False) + "\n" for row in rows)
    table = tmp_path / f"t.{suffix}"
    table.write_bytes(text.encode().replace(b"@", b"gr\xfc\xdfe"))
    result = pack(table, tmp_path / "out", columns={"txt": "t"})
    [bad] = result.quarantined
    assert (bad.reason, bad.ordinal) == ("bad_row", 20)
    assert "UTF-8" in bad.detail
    read = samples(tmp_path / "out")
    assert {fields["txt"].decode() for fields in read.values()} == set(good)


@pytest.mark.parametrize(
    ("text", "settings", "words"),
    [
        ("a,a\n1,2\n", {}, "the column 'a' 2 times"),
        ("a\n1\n", {"encoding": "utf-9"}, "'utf-9' is no text encoding"),
        ("a\n1\n", {"encoding": "base64"}, "'base64' is no text encoding"),
        ("a\n1\n", {"delimiter": ";;"}, "';;' cannot stand between cells"),
        ("b;c\n1;2\n", {"delimiter": ","}, "no column 'a'; it has: b;c .* or set pack.delimiter"),
        ("", {}, "no column 'a'; it has: none"),
    ],
)
def test_tables_that_cannot_be_read(tmp_path, text, settings, words):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(ConfigError, match=words):
        pack(tmp_path / "t.csv", tmp_path / "out", columns={"txt": "a"}, **settings)


def test_a_byte_order_mark_alone_is_no_column(tmp_path):
    (tmp_path / "t.csv").write_bytes(codecs.BOM_UTF8 + b'"id","t"\r\n"1","x"\r\n')
    pack(tmp_path / "t.csv", tmp_path / "out", columns={"txt": "t"}, key="id")
    assert samples(tmp_path / "out") == {"1": {"txt": b"x"}}


def test_cells_that_are_no_texts(tmp_path):
    rows = [
        {"t": "x", "v": decimal.Decimal("1.50"), "j": {"when": datetime.date(2026, 1, 2)}},
        {"t": "x", "v": None, "j": {"when": None}},
    ]
    table = pa.Table.from_pylist(rows)
    when = pa.array([1, 2_000_000_001], pa.timestamp("ns"))
    pq.write_table(table.append_column("w", when), tmp_path / "t.parquet", version="2.6")
    columns = {"txt": "t", "cls": "v", "json": "j", "when": "w"}
    pack(tmp_path / "t.parquet", tmp_path / "out", columns=columns)
    read = samples(tmp_path / "out")
    assert read["00000000"]["cls"] == b"1.50"
    assert json.loads(read["00000000"]["json"]) == {"when": "2026-01-02"}
    assert read["00000001"]["when"].decode().startswith("1970-01-01T00:00:02")


@pytest.mark.parametrize(
    ("cell", "field", "reason"),
    [
        ({"s": float("nan")}, "json", "bad_metadata"),
        ({"s": [float("inf")]}, "json", "bad_metadata"),
        ({"s": "\ud83d"}, "json", "bad_metadata"),
        ('{"s": "\\ud83d"}', "json", "bad_metadata"),
        ("{'s': 1}", "json", "bad_metadata"),
        (json.loads("[" * 70 + "]" * 70), "json", "bad_metadata"),
        ("hi \ud83d there", "txt", "bad_text"),
        ("a\0b", "txt", "bad_text"),
        ("x" * 101, "txt", "too_large"),
        (" ", "cls", "bad_label"),
        ("a\0", "cls", "bad_label"),
        ("\udc00", "cls", "bad_label"),
        ({"bytes": None, "path": "gone.jpg"}, "jpg", "missing_file"),
        ({"bytes": "", "path": "empty.jpg"}, "jpg", "bad_image"),
        ({"bytes": "/9j/4AAQ", "path": None}, "jpg", "bad_row"),
        ("empty.jpg", "jpg", "bad_image"),
        ("large.jpg", "jpg", "too_large"),
        ("https://example.org/a.jpg", "jpg", "missing_file"),
    ],
)
def test_what_no_job_would_read_is_refused(tmp_path, cell, field, reason):
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "large.jpg").write_bytes(b"x" * 2000)
    columns = {"txt": "t", "cls": "c", "json": "j", "jpg": "i"}
    good = {"t": "good", "c": "a", "j": {"s": 1}}
    bad = good | {columns[field]: cell}
    (tmp_path / "t.jsonl").write_text(
        json.dumps(bad) + "\n" + json.dumps(good | {"i": None}) + "\n"
    )
    reading = Reading(
        ModalitiesConfig.model_validate({"text": {"max_bytes": 100}, "image": {}}),
        limits=Limits(member_bytes=1000),
    )
    result = pack(tmp_path / "t.jsonl", tmp_path / "out", columns=columns, reading=reading)
    [row] = result.quarantined
    assert (row.field, row.reason, row.ordinal) == (field, reason, 0)
    assert list(samples(tmp_path / "out")) == ["00000001"]


def test_cells_of_bytes_and_paths(tmp_path):
    """As Hugging Face's datasets write images and sounds: embedded, beside the table, or neither."""
    (tmp_path / "a.jpg").write_bytes(b"in the file")
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    cells = [
        {"bytes": b"embedded", "path": "a.jpg"},
        {"bytes": None, "path": "a.jpg"},
        {"bytes": b"", "path": "a.jpg"},
        {"bytes": None, "path": None},
        None,
        {"bytes": b"", "path": None},
    ]
    table = pa.table({"i": pa.array(cells, kind), "t": ["x"] * 6})
    pq.write_table(table, tmp_path / "t.parquet")
    result = pack(tmp_path / "t.parquet", tmp_path / "out", columns={"jpg": "i", "txt": "t"})
    read = samples(tmp_path / "out")
    got = [read.get(f"{number:08d}", {}).get("jpg") for number in range(6)]
    assert got == [b"embedded", b"in the file", b"in the file", None, None, None]
    # Bytes, and none of them, are an image that is lost; a null is none.
    assert [(row.ordinal, row.reason) for row in result.quarantined] == [(5, "bad_image")]


def test_texts_are_in_the_encoding_that_is_read(tmp_path):
    reading = Reading(ModalitiesConfig.model_validate({"text": {"encoding": "gb18030"}}))
    (tmp_path / "t.jsonl").write_text('{"t": "狗"}\n')
    pack(tmp_path / "t.jsonl", tmp_path / "out", columns={"txt": "t"}, reading=reading)
    assert samples(tmp_path / "out")["00000000"]["txt"].decode("gb18030") == "狗"


@pytest.mark.parametrize(
    "text", ['id,t\n1,a\n2,"b\n3,c\n4,d\n', 'id,t\n1,a\n2,"b, 5"" wide\n3,c', 'id,t\n2,"b\n']
)
def test_a_quote_that_is_never_closed_swallows_no_rows(tmp_path, text):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(ConfigError, match=rf"begins in line {2 + ('1,a' in text)} is never closed"):
        pack(tmp_path / "t.csv", tmp_path / "out", columns={"txt": "t"}, key="id")


def test_rows_of_many_lines_are_named_by_all_of_them(tmp_path):
    (tmp_path / "t.csv").write_text('id,t\n1,"a\nb"\n2,5" wide\n3,"x\ny",z\n4,"6"" wide"')
    result = pack(tmp_path / "t.csv", tmp_path / "out", columns={"txt": "t"}, key="id")
    read = {key: fields["txt"] for key, fields in samples(tmp_path / "out").items()}
    assert read == {"1": b"a\nb", "2": b'5" wide', "4": b'6" wide'}
    assert [row.origin for row in result.quarantined] == ["t.csv lines 5-6"]


def test_contents_in_place_of_paths_are_told_shortly(tmp_path):
    cells = ["data:image/png;base64," + "A" * 5000, "B" * 5000, {"path": "a.png"}, {"path": None}]
    rows = [{"p": cell, "t": "x"} for cell in cells]
    (tmp_path / "a.png").write_bytes(b"png")
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = pack(tmp_path / "t.jsonl", tmp_path / "out", columns={"png": "p", "txt": "t"})
    assert [row.reason for row in result.quarantined] == ["missing_file"] * 2
    assert all(len(row.detail) < 300 for row in result.quarantined)
    assert [fields.get("png") for fields in samples(tmp_path / "out").values()] == [b"png", None]


def test_a_few_characters_of_gbk_are_no_big5(tmp_path):
    (tmp_path / "t.csv").write_bytes("id,name,label\n1,a,狗\n2,b,猫\n3,c,狗\n".encode("gbk"))
    pack(tmp_path / "t.csv", tmp_path / "out", columns={"txt": "name", "cls": "label"}, key="id")
    labels = [fields["cls"].decode() for fields in samples(tmp_path / "out").values()]
    assert labels == ["狗", "猫", "狗"]


def test_a_file_over_the_limit_is_not_read(tmp_path):
    """A hole of 1 TiB: more than any memory, and nothing on the disk."""
    with (tmp_path / "huge.jpg").open("wb") as file:
        file.truncate(1 << 40)
    (tmp_path / "t.jsonl").write_text('{"i": "huge.jpg", "t": "x"}\n{"t": "x"}\n')
    result = pack(tmp_path / "t.jsonl", tmp_path / "out", columns={"jpg": "i", "txt": "t"})
    [row] = result.quarantined
    assert (row.reason, row.setting, row.field) == ("too_large", "limits.member_bytes", "jpg")


def test_members_that_no_reader_takes_are_refused(tmp_path):
    """Bytes in a cell that are over the limit, and names of members that readers pass over."""
    rows = [
        {"k": "large", "j": b"x" * 2000, "b": None, "t": "x"},
        {"k": "backup", "j": b"x", "b": "what an editor keeps", "t": "x"},
        {"k": "good", "j": b"x", "b": None, "t": "x"},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    columns = {"jpg": "j", "bak": "b", "txt": "t"}
    reading = Reading(limits=Limits(member_bytes=1000))
    result = pack(
        tmp_path / "t.parquet", tmp_path / "out", columns=columns, key="k", reading=reading
    )
    assert [(row.key, row.reason) for row in result.quarantined] == [
        ("large", "too_large"),
        ("backup", "bad_key"),
    ]
    assert samples(tmp_path / "out").keys() == {"good"}

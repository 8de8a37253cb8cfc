import csv
import json
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset

from pipeline.errors import ConfigError
from pipeline.packing import pack as packing
from pipeline.packing.config import PackConfig
from pipeline.packing.split import split_of
from pipeline.shards.planning.plan import expand, plan
from pipeline.shards.reading.reader import read_part

COLUMNS = {"jpg": "image_path", "txt": "caption", "cls": "label"}
ROWS = [
    {"name": f"k{i:02d}", "image_path": f"images/{i}.bin", "caption": text, "label": label}
    for i, (text, label) in enumerate(
        [("one, two", "0"), ("三\n四", "1"), ('"cinq"', "0"), ("", "1"), ("@six", ""), ("7", "7")]
    )
]


def pack(*, reading=None, **settings):
    settings |= {name: str(settings[name]) for name in ("source", "output")}
    return packing.pack(PackConfig(**settings), reading)


@pytest.fixture
def tables(tmp_path):
    """The same rows as CSV, JSONL and Parquet; the third row has no image."""
    folder = tmp_path / "source"
    (folder / "images").mkdir(parents=True)
    rows = [dict(row) for row in ROWS]
    for number, row in enumerate(rows):
        (folder / row["image_path"]).write_bytes(b"image %d" % number)
    rows[2]["image_path"] = ""
    with (folder / "rows.csv").open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.DictWriter(file, ROWS[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    lines = [json.dumps({k: v for k, v in row.items() if v}) + "\n\n" for row in rows]
    (folder / "rows.jsonl").write_text("".join(lines))
    with_null = [{k: v or None for k, v in row.items()} for row in rows]
    pq.write_table(pa.Table.from_pylist(with_null), folder / "rows.parquet")
    return folder


def expected_samples():
    samples = {}
    for number, row in enumerate(ROWS):
        fields = {"jpg": b"image %d" % number} if number != 2 else {}
        if row["caption"]:
            fields["txt"] = row["caption"].encode()
        if row["label"]:
            fields["cls"] = row["label"].encode()
        samples[row["name"]] = fields
    return samples


def read_back(folder):
    """Samples by key, as tarfile tells them, and the split of each."""
    samples, splits = {}, {}
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                key, field = member.name.split(".", 1)
                samples.setdefault(key, {})[field] = tar.extractfile(member).read()
                splits[key] = path.name.split("-")[1]
    return samples, splits


def read_with_webdataset(folder):
    urls = sorted(map(str, folder.glob("*.tar")))
    found = webdataset.WebDataset(urls, shardshuffle=False, empty_check=False)
    return {
        sample["__key__"]: {k: v for k, v in sample.items() if not k.startswith("__")}
        for sample in found
    }


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_table_comes_back_whole(tables, tmp_path, kind):
    out = tmp_path / "out"
    result = pack(source=tables / f"rows.{kind}", output=out, columns=COLUMNS, key="name")
    samples, splits = read_back(out)
    assert samples == expected_samples()
    assert read_with_webdataset(out) == samples
    shares = {"train": 0.8, "val": 0.1, "test": 0.1}
    assert splits == {key: split_of(key, shares) for key in samples}
    assert (result.samples_read, result.samples_written, result.samples_quarantined) == (6, 6, 0)
    assert result.samples_per_field == {"cls": 5, "jpg": 5, "txt": 5}
    assert sum(result.samples_per_split.values()) == 6


def test_folder_comes_back_whole(tmp_path):
    source, out = tmp_path / "source", tmp_path / "out"
    for name in ("cat/1.JPG", "cat/1.seg.png", "dog/big/2.jpg", "3.txt", ".hidden", "dog/LICENSE"):
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    result = pack(source=source, output=out, label="folder")
    samples, _ = read_back(out)
    assert samples == {
        "3": {"txt": b"3.txt"},
        "cat/1": {"jpg": b"cat/1.JPG", "seg.png": b"cat/1.seg.png", "cls": b"cat"},
        "dog/big/2": {"jpg": b"dog/big/2.jpg", "cls": b"dog"},
    }
    assert [(row.key, row.reason) for row in result.quarantined] == [
        ("dog/LICENSE", "no_extension")
    ]
    assert result.samples_read == 4 == result.samples_written + result.samples_quarantined


def test_order_of_the_rows_does_not_matter(tables, tmp_path):
    lines = (tables / "rows.jsonl").read_text().split("\n\n")
    (tables / "turned.jsonl").write_text("\n".join(reversed(lines)))
    for kind in ("rows.jsonl", "turned.jsonl", "rows.csv", "rows.parquet"):
        pack(source=tables / kind, output=tmp_path / kind, columns=COLUMNS, key="name",
             max_shard_samples=2)  # fmt: skip
    sets = [
        {path.name: path.read_bytes() for path in (tmp_path / kind).glob("*.tar")}
        for kind in ("rows.jsonl", "turned.jsonl", "rows.csv", "rows.parquet")
    ]
    assert all(files == sets[0] for files in sets)
    assert len(sets[0]) > 2


def test_bad_rows_are_told_and_the_rest_goes_on(tables, tmp_path):
    with (tables / "rows.jsonl").open("a") as file:
        for row in (
            {"name": "gone", "image_path": "images/99.bin", "caption": "x"},
            {"name": "a\ud83d", "caption": "x"},
            {"name": "bare"},
            {"caption": "no key"},
            {"name": "json", "caption": "x", "meta": "{half"},
            ["a list"],
        ):
            file.write(json.dumps(row) + "\n")
        file.write("{half\n")
    columns = {**COLUMNS, "json": "meta"}
    out = tmp_path / "out"
    result = pack(source=tables / "rows.jsonl", output=out, columns=columns, key="name")
    assert [(row.key, row.field, row.reason) for row in result.quarantined] == [
        ("gone", "jpg", "missing_file"),
        ("a\\ud83d", "", "bad_key"),
        ("bare", "", "no_modality"),
        ("", "", "bad_key"),
        ("json", "json", "bad_metadata"),
        (None, "", "bad_row"),
        (None, "", "bad_row"),
    ]
    assert result.quarantined[0].origin == "rows.jsonl line 13"
    assert result.samples_read == 13 == result.samples_written + result.samples_quarantined
    assert read_back(out)[0] == expected_samples()


def test_ragged_csv_row(tables, tmp_path):
    with (tables / "rows.csv").open("a") as file:
        file.write("k99,too,many,cells,here\n")
    result = pack(source=tables / "rows.csv", output=tmp_path / "out", columns=COLUMNS, key="name")
    (row,) = result.quarantined
    assert (row.reason, row.origin) == ("bad_row", "rows.csv line 9")
    assert "5 cells" in row.detail


def test_prefixes_say_what_a_column_holds(tables, tmp_path):
    columns = {"txt": "path:image_path", "jpg": "value:caption", "cls": "value:label"}
    pack(source=tables / "rows.csv", output=tmp_path / "out", columns=columns, key="name")
    samples, _ = read_back(tmp_path / "out")
    assert samples["k00"] == {"txt": b"image 0", "jpg": b"one, two", "cls": b"0"}


def test_numbers_objects_and_bytes(tmp_path):
    rows = [
        {"jpg": b"raw", "png": {"bytes": b"in a struct", "path": None}, "n": 3, "m": {"b": 1}},
        {"jpg": b"raw", "png": None, "n": 4, "m": {"b": 2}},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    columns = {"jpg": "jpg", "png": "png", "cls": "n", "json": "m"}
    pack(source=tmp_path / "t.parquet", output=tmp_path / "out", columns=columns)
    samples, _ = read_back(tmp_path / "out")
    assert samples == {
        "00000000": {"jpg": b"raw", "png": b"in a struct", "cls": b"3", "json": b'{"b": 1}'},
        "00000001": {"jpg": b"raw", "cls": b"4", "json": b'{"b": 2}'},
    }


def test_a_group_stays_together(tmp_path):
    lines = [json.dumps({"t": f"text {i}", "person": f"p{i % 20}"}) for i in range(200)]
    (tmp_path / "t.jsonl").write_text("\n".join(lines))
    halves = {"a": 0.5, "b": 0.5}
    result = pack(source=tmp_path / "t.jsonl", output=tmp_path / "out", columns={"txt": "t"},
                  group="person", split=halves)  # fmt: skip
    _, splits = read_back(tmp_path / "out")
    assert splits == {f"{i:08d}": split_of(f"p{i % 20}", halves) for i in range(200)}
    assert min(result.samples_per_split.values()) > 0


def test_duplicates_name_both_sources(tables, tmp_path):
    with (tables / "rows.csv").open("a") as file:
        file.write("k00,,again,\n")
    with pytest.raises(ConfigError, match=r"'k00' \| rows.csv line 2, rows.csv line 9"):
        pack(source=tables / "rows.csv", output=tmp_path / "out", columns=COLUMNS, key="name")


def test_two_files_of_one_field_are_named(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.jpg").write_bytes(b"1")
    (tmp_path / "in/a.JPG").write_bytes(b"2")
    if len(list((tmp_path / "in").iterdir())) == 1:  # a file system that does not tell them apart
        assert pack(source=tmp_path / "in", output=tmp_path / "out").samples_written == 1
        return
    with pytest.raises(ConfigError, match=r"a\.JPG, .*a\.jpg"):
        pack(source=tmp_path / "in", output=tmp_path / "out")


def test_a_link_back_to_its_own_folder_ends(tmp_path):
    (tmp_path / "in/sub").mkdir(parents=True)
    (tmp_path / "in/sub/a.txt").write_bytes(b"1")
    (tmp_path / "in/sub/loop").symlink_to(tmp_path / "in")
    (tmp_path / "in/gone.txt").symlink_to(tmp_path / "nowhere")
    result = pack(source=tmp_path / "in", output=tmp_path / "out")
    assert read_back(tmp_path / "out")[0] == {"sub/a": {"txt": b"1"}}
    assert [(row.key, row.reason) for row in result.quarantined] == [("gone", "unreadable")]


def test_nothing_usable_keeps_the_earlier_set(tables, tmp_path):
    out = tmp_path / "out"
    pack(source=tables / "rows.csv", output=out, columns=COLUMNS, key="name")
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    result = pack(source=tables / "rows.csv", output=out, columns={"jpg": "caption"}, key="name",
                  overwrite=True)  # fmt: skip
    assert (result.samples_written, result.shards) == (0, ())
    assert result.reasons == {"missing_file": 5, "no_modality": 1}
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"columns": {"txt": "captoin"}}, "no column 'captoin'; it has: name, image_path"),
        ({"columns": COLUMNS, "key": "nmae"}, "no column 'nmae'"),
        ({"columns": {}}, "which columns"),
        ({"columns": {"TXT": "caption"}}, "'TXT'"),
        ({"columns": COLUMNS, "label": "folder"}, "pack.label has no meaning"),
        ({"columns": COLUMNS, "split": {"train": 0.5}}, "add up to 0.5"),
    ],
)
@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_settings_that_do_not_fit_a_table(tables, tmp_path, settings, message, kind):
    with pytest.raises(ConfigError, match=message.split(";")[0] if kind == "jsonl" else message):
        pack(source=tables / f"rows.{kind}", output=tmp_path / "out", **settings)
    assert not list(tmp_path.glob("out/*"))


def test_sources_that_cannot_be_packed(tables, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.parquet").write_bytes(b"no parquet")
    (tmp_path / "bad.csv").write_bytes(b"a,b\n\0\xff\x99\xfe,1\n")
    for source, settings, message in [
        (tmp_path / "nowhere", {}, "does not exist"),
        (tables / "images/0.bin", {}, "neither a folder nor a table"),
        (tmp_path / "empty", {}, "nothing to pack"),
        (tmp_path / "bad.parquet", {"columns": {"txt": "a"}}, "cannot be read"),
        (tmp_path / "bad.csv", {"columns": {"txt": "a"}}, "in an encoding that can be told"),
        (tables, {"columns": COLUMNS}, "pack.columns has no meaning"),
    ]:
        with pytest.raises(ConfigError, match=message):
            pack(source=source, output=tmp_path / "out", **settings)
    with pytest.raises(ConfigError, match="inside the source"):
        pack(source=tables, output=tables / "packed")


def test_our_own_reader_reads_what_was_packed(tmp_path):
    keys = ["plain", "folder/k", "数字/零", "d" * 90 + "/" + "k" * 90]
    lines = [json.dumps({"k": key, "t": f"text of {key}", "n": len(key)}) for key in keys]
    (tmp_path / "t.jsonl").write_text("\n".join(lines))
    out = tmp_path / "out"
    pack(source=tmp_path / "t.jsonl", output=out, columns={"txt": "t", "cls": "n"}, key="k")
    read = {}
    for part in plan(expand(str(out / "data-*.tar"))):
        for sample in read_part(part):
            read[sample.key] = {name: bytes(member.data) for name, member in sample.fields.items()}
    assert read == {
        key: {"txt": f"text of {key}".encode(), "cls": str(len(key)).encode()} for key in keys
    }

"""The sink of tar shards: a sample's own members and what was made of it, each sample once, whatever breaks."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import webdataset
from support.tones import make_samples, write_tar

from pipeline.engine.decoding.isolated import decode_here
from pipeline.errors import SinkError
from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.modalities.image.show import image_png
from pipeline.sample import Sample
from pipeline.shards.planning.plan import Part, expand, plan
from pipeline.shards.reading.reader import read_part
from pipeline.sinks import WebDatasetConfig
from pipeline.sinks.files.tar import TarFiles
from pipeline.sinks.webdataset import WebDatasetSink

DECODER = Decoder.build(
    ModalitiesConfig.model_validate({"image": {"fields": ["png"], "size": 8}}), None
)
PICTURE = image_png(np.zeros((4, 4, 3), dtype=np.uint8))
NUM_GOOD = 8  # of ten samples, two have no image
COLUMNS = ("caption", "generated_image", "embedding", "score", "labels", "raw")


def sink(folder: Path, **config: float) -> WebDatasetSink:
    settings = WebDatasetConfig.model_validate(config)
    return WebDatasetSink(str(folder), {"model": "m"}, {}, COLUMNS, config=settings)


def made(part: Part) -> pa.Table:
    """The rows of a part, with columns of every type that a model may make."""
    table = decode_here(part, DECODER)
    keys = [key or "" for key in table["key"].to_pylist()]
    columns: dict[str, Any] = {
        "caption": pa.array([f"über {key}" for key in keys]),
        "generated_image": pa.array([PICTURE] * len(keys), pa.binary()),
        "embedding": pa.array([[1.0, 2.5]] * len(keys), pa.list_(pa.float32(), 2)),
        "score": pa.array([0.5] * len(keys), pa.float32()).filter(pa.array([True] * len(keys))),
        "labels": pa.array([["a", "b"]] * len(keys)),
        "raw": pa.array([None] * len(keys), pa.binary()),
    }
    for name, column in columns.items():
        table = table.append_column(name, column)
    return table


def tars(folder: Path) -> list[Path]:
    return sorted(folder.glob("part-*.tar"))


def samples(folder: Path) -> dict[tuple[str, str], dict[str, bytes]]:
    """(File, key) -> members, as webdataset reads them."""
    contents: dict[tuple[str, str], dict[str, bytes]] = {}
    for path in tars(folder):
        for sample in webdataset.WebDataset(str(path), shardshuffle=False):
            members = {name: data for name, data in sample.items() if not name.startswith("__")}
            place = path.name, sample["__key__"]
            assert place not in contents
            contents[place] = members
    return contents


@pytest.fixture
def parts(tmp_path: Path) -> list[Part]:
    for number in range(2):
        write_tar(tmp_path / f"x-{number}.tar", make_samples(5, seed=number))
    return plan(expand(str(tmp_path / "x-*.tar")), part_bytes=8 << 10)


def test_a_sample_keeps_its_members_and_gets_what_was_made(
    tmp_path: Path, parts: list[Part]
) -> None:
    out = sink(tmp_path / "out")
    out.begin(parts)
    for part in parts:
        out.write(made(part))
    out.commit(parts)
    before = {
        (part.shard, item.key): {name: bytes(field.data) for name, field in item.fields.items()}
        for part in parts
        for item in read_part(part)
        if isinstance(item, Sample) and "png" in item.fields
    }
    assert len(parts) > 2, "shards of several parts"
    assert len(tars(tmp_path / "out")) == 2, "parts of a shard are one file, shards are not mixed"
    after = samples(tmp_path / "out")
    assert len(after) == len(before) == NUM_GOOD
    assert {key for _, key in after} == {key for _, key in before}
    own = sorted(tuple(sorted(members.items())) for members in before.values())
    copied = []
    for (_, key), members in after.items():
        assert members.pop("caption.txt").decode() == f"über {key}"
        assert members.pop("generated_image.png") == PICTURE
        embedding = np.load(io.BytesIO(members.pop("embedding.npy")))
        assert embedding.dtype == np.float32
        assert embedding.tolist() == [1.0, 2.5]
        assert json.loads(members.pop("predictions.json")) == {"score": 0.5, "labels": ["a", "b"]}
        copied.append(tuple(sorted(members.items())))
    assert sorted(copied) == own, "the members of before, byte for byte"


def test_samples_of_a_part_are_sorted_as_rows_are(tmp_path: Path) -> None:
    write_tar(tmp_path / "x.tar", dict(reversed(make_samples(3, seed=1).items())))
    [part] = plan(expand(str(tmp_path / "x.tar")))
    out = sink(tmp_path / "out")
    out.begin([part])
    out.write(made(part))
    out.commit([part])
    keys = [key for _, key in samples(tmp_path / "out")]
    assert keys == sorted(keys)
    assert len(keys) == 3


def test_what_was_made_again_takes_the_place_of_what_was_made(
    tmp_path: Path, parts: list[Part]
) -> None:
    first = sink(tmp_path / "first")
    first.begin(parts)
    for part in parts:
        first.write(made(part))
    first.commit(parts)
    again = plan(expand(str(tmp_path / "first/part-*.tar")))
    second = sink(tmp_path / "second")
    second.begin(again)
    for part in again:
        table = made(part)
        other = pa.array(["other"] * table.num_rows)
        second.write(table.set_column(table.column_names.index("caption"), "caption", other))
    second.commit(again)
    captions = [members["caption.txt"] for members in samples(tmp_path / "second").values()]
    assert captions == [b"other"] * NUM_GOOD


def test_the_same_rows_give_the_same_bytes(tmp_path: Path, parts: list[Part]) -> None:
    contents = []
    for name, order in (("a", parts), ("b", parts[::-1])):
        out = sink(tmp_path / name)
        out.begin(parts)
        for part in order:
            out.write(made(part))
            out.write(made(part))  # as after a lost worker
        out.commit(parts)
        contents.append({path.name: path.read_bytes() for path in tars(tmp_path / name)})
    assert contents[0] == contents[1]


def test_parts_that_are_done_stay_done_and_a_new_shard_comes_beside_them(
    tmp_path: Path, parts: list[Part]
) -> None:
    out = sink(tmp_path / "out")
    out.begin(parts[:2])
    for part in parts[:2]:
        out.write(made(part))
    assert out.done(parts) == {part.id for part in parts[:2]}
    out.commit(parts[:2])
    first = {path.name for path in tars(tmp_path / "out")}
    for part in parts[2:]:
        out.write(made(part))
    out.commit(parts)
    assert out.done(parts) == {part.id for part in parts}
    assert len(samples(tmp_path / "out")) == NUM_GOOD
    assert len(first) == 1


def test_many_small_shards_are_not_written_anew_at_each_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(40):
        write_tar(tmp_path / f"s-{number:02d}.tar", make_samples(1, seed=number))
    parts = plan(expand(str(tmp_path / "s-*.tar")))
    out = sink(tmp_path / "out", keep_snapshots=0)
    out.begin(parts)
    for part in parts[:39]:
        out.write(made(part))
    out.commit(parts[:39])
    names = {path.name for path in tars(tmp_path / "out")}

    def read(self: TarFiles, url: str) -> pa.Table:
        raise AssertionError(f"{url} is read to be written anew")

    monkeypatch.setattr(TarFiles, "read", read)
    out.write(made(parts[39]))
    out.commit(parts)
    after = {path.name for path in tars(tmp_path / "out")}
    assert len(after) == 40
    assert names < after


def test_bad_samples_are_in_the_quarantine_alone_and_come_when_they_are_tried_again(
    tmp_path: Path,
) -> None:
    write_tar(tmp_path / "x.tar", make_samples(3, seed=1))
    [part] = plan(expand(str(tmp_path / "x.tar")))
    table = made(part)
    strict = decode_here(
        part,
        Decoder.build(
            ModalitiesConfig.model_validate(
                {"image": {"fields": ["png"], "size": 8, "max_megapixels": 1e-9}}
            ),
            None,
        ),
    )
    bad = table.set_column(
        table.column_names.index("error"),
        "error",
        pa.concat_arrays(
            [strict["error"].combine_chunks().slice(0, 1), table["error"].combine_chunks().slice(1)]
        ),
    )
    out = sink(tmp_path / "out")
    out.begin([part])
    assert out.write(bad).quarantined == 1
    out.commit([part])
    assert len(samples(tmp_path / "out")) == 2
    [again] = out.retries([part])
    assert len(again.only) == 1
    out.write(made(again))
    out.commit([part])
    assert len(samples(tmp_path / "out")) == 3
    [path] = tars(tmp_path / "out")
    with tarfile.open(path) as tar:
        keys = [member.name.partition(".")[0] for member in tar]
    assert keys == sorted(keys), "a sample's members lie side by side"


def test_a_shard_that_changed_meanwhile_is_refused(tmp_path: Path, parts: list[Part]) -> None:
    out = sink(tmp_path / "out")
    out.begin(parts)
    table = made(parts[0])
    others = {f"other-{key}": fields for key, fields in make_samples(5, seed=0).items()}
    write_tar(tmp_path / parts[0].shard, others)
    with pytest.raises(SinkError, match="is not in its shard any more"):
        out.write(table)
    assert out.done(parts) == set()


def test_a_file_that_lost_a_sample_is_not_committed(
    tmp_path: Path, parts: list[Part], monkeypatch: pytest.MonkeyPatch
) -> None:
    write = TarFiles.write

    def short(self: TarFiles, file: Any, tables: Any) -> None:
        write(self, file, [table.slice(1) for table in tables])

    monkeypatch.setattr(TarFiles, "write", short)
    out = sink(tmp_path / "out")
    out.begin(parts)
    with pytest.raises(SinkError, match=r"has \d samples instead of \d"):
        out.write(made(parts[0]))
    assert out.done(parts) == set()

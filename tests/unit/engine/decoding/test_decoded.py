"""A preprocessed folder gives the rows that decoding its shards again would give."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.tones import make_samples, write_tar

from pipeline import storage
from pipeline.config import Config, validate
from pipeline.engine.decoding import decoded_folder as decoded
from pipeline.engine.decoding.decoded_folder import find_folder, limit_rows, num_rows, split_input
from pipeline.engine.decoding.part import decode_part
from pipeline.engine.executors.workplace import Workplace
from pipeline.engine.plans.prepare import ensure_tokenizer, plan_parts
from pipeline.engine.plans.preprocess import preprocess_job
from pipeline.engine.train.survey import survey_parts
from pipeline.errors import BadDataError, ConfigError
from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.objectives.classify.labels import ClassTarget
from pipeline.sample import (
    ERROR,
    KEY,
    ORDINAL,
    PART,
    PART_ROWS,
    PART_SAMPLES,
    PART_STRAYS,
    SHARD,
)
from pipeline.shards.planning.plan import expand, plan
from pipeline.sinks.provenance import identity_digest

SETTINGS = {
    "image": {"fields": ["png"], "size": 8},
    "text": {"fields": ["txt"], "max_tokens": 12, "vocab_size": 300},
    "audio": {"fields": ["wav"], "sample_rate_hz": 8000, "max_seconds": 0.3, "num_mels": 20},
}


def configure(folder: Path, **sections: object) -> Config:
    tree = {
        "run": str(folder / "run"),
        "input": {"train": str(folder / "data"), "metadata": ["json"]},
        "modalities": SETTINGS,
        "objective": {"kind": "classify", "label": "cls"},
        "sink": {"kind": "parquet", "row_group_mb": 1},
    }
    return validate({**tree, **sections})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``data/`` with three shards and ``run/decoded`` with what preprocess makes of them."""
    folder = tmp_path_factory.mktemp("decoded")
    for index in range(3):
        samples = make_samples(15, seed=index)
        samples["s0001"]["png"] = b"broken"
        del samples["s0004"]["cls"]
        samples["s0005"] = {name: samples["s0005"][name] for name in ("txt", "cls", "json")}
        write_tar(folder / "data" / f"x-{index}.tar", samples)
    run_preprocess(configure(folder))
    return folder


def run_preprocess(config: Config) -> None:
    job = preprocess_job(config, Workplace(config.cluster))
    job.begin()
    for part in job.todo:
        job.sink.write(decode_part(part, job.decoder))
    job.sink.commit(job.parts)


def both(folder: Path, decoder: Decoder) -> tuple[pa.Table, pa.Table]:
    """What decoding the shards gives, and what the folder gives."""
    shards = plan(expand(str(folder / "data")))
    found = find_folder(str(folder / "run" / "decoded"))
    assert found is not None
    tables = [
        pa.concat_tables(decode_part(p, decoder) for p in parts)
        for parts in (shards, found.parts())
    ]
    return tables[0], tables[1]


def rows(table: pa.Table, *without: str) -> list[dict[str, object]]:
    return table.drop_columns([PART, PART_ROWS, PART_SAMPLES, PART_STRAYS, *without]).to_pylist()


def build(folder: Path, *names: str, **options: object) -> Decoder:
    modalities = ModalitiesConfig.model_validate({n: SETTINGS[n] for n in names or SETTINGS})
    tokenizer = (folder / "run" / "tokenizer.json").read_text()
    return Decoder.build(modalities, tokenizer, **options)  # type: ignore[arg-type]


def test_the_same_rows_as_from_the_shards(folder: Path) -> None:
    shards, again = both(folder, build(folder, metadata=["json"]))
    assert again.schema.equals(shards.schema, check_metadata=True)
    good = shards.filter(shards[ERROR].is_null())
    # Preprocess left the bad samples behind, so that the rows after them have moved up.
    assert rows(again, ORDINAL) == rows(good, ORDINAL)
    ordinals: dict[str, list[int]] = {}
    for row in again.to_pylist():
        ordinals.setdefault(row[SHARD], []).append(row[ORDINAL])
    assert all(found == list(range(14)) for found in ordinals.values())
    for name, codec in build(folder).codecs.items():
        ours = codec.collate(again[name].combine_chunks())
        theirs = codec.collate(good[name].combine_chunks())
        assert ours.values.dtype == theirs.values.dtype
        np.testing.assert_array_equal(ours.values, theirs.values)
        np.testing.assert_array_equal(ours.present, theirs.present)


def test_labels_and_modalities_that_are_missing_give_the_same_reasons(folder: Path) -> None:
    for options in (
        {"target": ClassTarget("cls")},
        {"target": ClassTarget("cls", frozenset(["low", "mid"]))},
    ):
        shards, again = both(folder, build(folder, "image", **options))
        found = [
            {(r[SHARD], r[KEY]): r[ERROR]["reason"] for r in table.to_pylist() if r[ERROR]}
            for table in (shards, again)
        ]
        assert found[1] == {k: v for k, v in found[0].items() if v != "bad_image"}
        assert set(found[1].values()) >= {"missing_label", "no_modality"}
        good = [rows(table.filter(table[ERROR].is_null()), ORDINAL) for table in (shards, again)]
        assert good[0] == good[1]
        bad = again.filter(again[ERROR].is_valid()).to_pylist()
        assert all(row["image"] is None and row["modalities"] == [] for row in bad)


@pytest.mark.parametrize("part_bytes", [1, 20_000, 60_000, 32 << 20])
def test_parts_of_any_size_hold_each_row_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch, part_bytes: int
) -> None:
    monkeypatch.setattr(decoded, "PART_BYTES", part_bytes)
    found = find_folder(str(folder / "run" / "decoded"))
    assert found is not None
    parts = found.parts()
    assert len({part.id for part in parts}) == len(parts)
    assert len(parts) == {1: 3, 20_000: 3, 60_000: 2, 32 << 20: 1}[part_bytes]
    assert num_rows(parts) == 42
    one = build(folder, metadata=["json"])
    table = pa.concat_tables(decode_part(part, one) for part in parts)
    assert len(set(zip(table[SHARD].to_pylist(), table[ORDINAL].to_pylist(), strict=True))) == 42
    for count in (1, 14, 15, 41, 42, 100):
        kept = limit_rows(parts, count)
        assert num_rows(kept) == min(count, 42)
        rows_kept = pa.concat_tables(decode_part(part, one) for part in kept)
        assert rows(rows_kept) == rows(table)[:count]


def test_row_groups_of_one_shard_go_on_counting(tmp_path: Path) -> None:
    write_tar(tmp_path / "data" / "a.tar", make_samples(10, seed=0))
    config = configure(tmp_path)
    run_preprocess(config)
    [file] = (tmp_path / "run" / "decoded").glob("part-*.parquet")
    pq.write_table(pq.read_table(file), file, row_group_size=3)
    found = find_folder(str(file.parent))
    assert found is not None
    [part] = found.parts()
    cut = [replace(part, start=s, end=e, first_ordinal=s) for s, e in [(0, 2), (2, 7), (7, 10)]]
    one = build(tmp_path)
    pieces = pa.concat_tables(decode_part(each, one) for each in cut)
    assert rows(pieces) == rows(decode_part(part, one))
    assert pieces[ORDINAL].to_pylist() == list(range(10))


def test_planning_labels_and_the_tokenizer(folder: Path, tmp_path: Path) -> None:
    given = str(folder / "run" / "decoded")
    config = configure(tmp_path, input={"train": given, "metadata": ["json"]})
    parts = plan_parts(config, "train", "input.train", target=ClassTarget("cls"), metadata=["json"])
    objective = config.require_objective()
    surveyed = survey_parts(parts, objective, config.limits)
    assert surveyed.samples == 42
    assert surveyed.targets.count == 39
    tokenizer = ensure_tokenizer(config, "train")
    assert tokenizer == (folder / "run" / "tokenizer.json").read_text()
    assert (tmp_path / "run" / "tokenizer.json").read_text() == tokenizer
    mixed = configure(tmp_path, input={"train": [given, str(folder / "data")], "max_samples": 50})
    parts = plan_parts(mixed, "train", "input.train")
    assert num_rows(parts[:1]) == 42
    rest = survey_parts(parts[1:], objective, config.limits)
    assert rest.samples == 8, "the folder comes first"


def refuse(config: Config, **options: object) -> str:
    with pytest.raises(ConfigError) as caught:
        plan_parts(config, "train", "input.train", **options)  # type: ignore[arg-type]
    return str(caught.value)


def test_other_settings_are_refused_by_name(folder: Path, tmp_path: Path) -> None:
    given = {"train": str(folder / "run" / "decoded")}

    def changed(**modalities: object) -> Config:
        return configure(tmp_path, input=given, modalities={**SETTINGS, **modalities})

    size = changed(image={"fields": ["png"], "size": 16})
    assert "modalities.image.size was 8 and is now 16" in refuse(size)
    mels = changed(audio={**SETTINGS["audio"], "num_mels": 24})
    assert "modalities.audio.num_mels was 20 and is now 24" in refuse(mels)
    same = changed()
    assert "label was 'cls' and is now 'json.who.label'" in refuse(
        same, target=ClassTarget("json.who.label")
    )
    assert "tokenizer was" in refuse(same, tokenizer="another")
    assert "no input.metadata=txt" in refuse(same, metadata=["txt"])
    one = configure(tmp_path, input=given, modalities={"image": SETTINGS["image"]})
    assert plan_parts(one, "train", "input.train"), "fewer modalities are fine"
    flipped = changed(image={**SETTINGS["image"], "augment": {"flip_probability": 0.5}})
    assert plan_parts(flipped, "train", "input.train"), "augmentation comes later"
    run_preprocess(
        configure(
            tmp_path, input={"train": str(folder / "data")}, modalities={"text": SETTINGS["text"]}
        )
    )
    lacking = configure(tmp_path, input={"train": str(tmp_path / "run" / "decoded")})
    assert "modalities.audio was None" in refuse(lacking)


def test_a_folder_of_before_a_setting_was_there_means_its_default(
    folder: Path, tmp_path: Path
) -> None:
    """It is an input as ever, and preprocess goes on with it."""
    shutil.copytree(folder / "run", tmp_path / "run")
    written = tmp_path / "run" / "decoded"
    identity = json.loads((written / "_commit" / "_identity.json").read_text())
    del identity["modalities"]["text"]["encoding"]
    (written / "_commit" / "_identity.json").write_text(json.dumps(identity))
    manifest = json.loads((written / "_manifest.json").read_text())
    manifest["fingerprint"] = identity_digest(identity)
    (written / "_manifest.json").write_text(json.dumps(manifest))
    given = {"input": {"train": str(written)}}
    assert plan_parts(configure(tmp_path, **given), "train", "input.train")
    latin = {"text": {**SETTINGS["text"], "encoding": "latin-1"}}
    assert "text.encoding was None" in refuse(configure(tmp_path, **given, modalities=latin))
    config = configure(tmp_path, input={"train": str(folder / "data"), "metadata": ["json"]})
    job = preprocess_job(config, Workplace(config.cluster))
    job.begin()
    assert job.todo == []


def test_what_is_no_folder_of_preprocess(folder: Path, tmp_path: Path) -> None:
    shard = str(folder / "data" / "x-0.tar")
    folders, shards = split_input([shard, str(folder / "data"), f"{folder}/data/*.tar"])
    assert (folders, len(shards)) == ([], 3)
    half = tmp_path / "half"
    (half / "_commit").mkdir(parents=True)
    identity = (folder / "run" / "decoded" / "_commit" / "_identity.json").read_text()
    (half / "_commit" / "_identity.json").write_text(identity)
    with pytest.raises(ConfigError, match="has not ended"):
        find_folder(str(half))
    other = json.loads(identity) | {"kind": "something else"}
    (half / "_commit" / "_identity.json").write_text(json.dumps(other))
    assert find_folder(str(half)) is None


@pytest.mark.parametrize("harm", ["missing row", "no parquet", "bad page"])
def test_a_damaged_file_is_named(folder: Path, tmp_path: Path, harm: str) -> None:
    config = configure(tmp_path, input={"train": str(folder / "data"), "metadata": ["json"]})
    run_preprocess(config)
    [file] = (tmp_path / "run" / "decoded").glob("part-*.parquet")
    whole = file.read_bytes()
    if harm == "missing row":
        pq.write_table(pq.read_table(file).slice(1), file)
    elif harm == "no parquet":
        file.write_bytes(whole[: len(whole) // 2])
    else:
        file.write_bytes(whole[:100] + bytes(2000) + whole[2100:])

    def read() -> None:
        for part in plan_parts(configure(tmp_path, input={"train": str(file.parent)}), "train", ""):
            decode_part(part, build(tmp_path))

    with pytest.raises(BadDataError) as caught:
        read()
    assert file.name in str(caught.value)


def test_a_folder_in_an_object_store(folder: Path, bucket: str) -> None:
    source = folder / "run" / "decoded"
    for path in source.rglob("*"):
        if path.is_file():
            storage.write_bytes(f"{bucket}/decoded/{path.relative_to(source)}", path.read_bytes())
    found = find_folder(f"{bucket}/decoded")
    local = find_folder(str(source))
    assert found is not None
    assert local is not None
    one = build(folder)
    remote = [decode_part(part, one) for part in found.parts()]
    here = [decode_part(part, one) for part in local.parts()]
    assert [rows(table) for table in remote] == [rows(table) for table in here]
    assert find_folder(f"{bucket}/nothing") is None

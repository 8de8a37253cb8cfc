"""Inputs that are damaged, hostile or odd: each ends as it is to end, alone and among good ones."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.bad_inputs import MARKER, Case, canary, images, sounds, tars, texts
from support.bad_inputs.reading import MODALITIES, decoder, tables
from support.bad_inputs.tars import TarCase
from support.tones import png, wav, write_tar

from pipeline.errors import SampleError
from pipeline.modalities.decoding.targets import read_label
from pipeline.sample import NOTES, REASONS, Field, Sample
from pipeline.shards.planning.plan import expand, plan
from pipeline.shards.reading.reader import read_part, settled

TESTS = Path(__file__).parents[1]
IMAGES, SOUNDS, TEXTS = list(images.cases()), list(sounds.cases()), list(texts.cases())
JSONS, LABELS = list(texts.json_cases()), list(texts.label_cases())
TARS = list(tars.cases())
SAMPLE_CASES = [*IMAGES, *SOUNDS, *TEXTS, *JSONS, *LABELS]
PICKLED = ("pkl", "pickle", "pth", "pt", "npy", "pyd", "joblib", "dill", "py", "so")


def named(cases: list[Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases, ids=[case.name for case in cases])


@pytest.fixture(autouse=True)
def nothing_is_loaded() -> Iterator[None]:
    """No test leaves behind what a canary makes."""
    yield
    assert not MARKER.exists()


def fields_of(case: Case) -> dict[str, bytes]:
    """A sample whose only fault, if any, is the case."""
    return {"txt": b"a low tone", "cls": b"low", case.field: case.data}


def outcome(case: Case) -> tuple[str, str]:
    """Reason and detail of decoding a sample; of a good one, those of what is odd about it."""
    fields = fields_of(case)
    members = {name: Field(memoryview(data), 0, len(data)) for name, data in fields.items()}
    [row] = decoder().decode([Sample("k", "x.tar", 0, members)], "{}").to_pylist()
    error = row["error"]
    if error is None:
        for name, config in MODALITIES.by_name().items():
            assert (name in row["modalities"]) == bool(fields.keys() & set(config.fields))
        for remark in row["remarks"]:
            assert remark["field"] == case.field
            return remark["reason"], remark["detail"]
        return "", ""
    assert error["field"] == case.field
    assert error["size"] == len(case.data)
    return error["reason"], error["detail"]


def check(case: Case) -> None:
    reason, detail = outcome(case)
    assert reason == case.reason + case.noted, detail
    assert re.search(case.detail, detail)
    assert len(detail) <= 200
    if case.reason and not case.bomb:
        assert outcome(case) == (reason, detail), "two runs give the same quarantine"


def test_the_set_is_large_and_its_names_are_its_own() -> None:
    names = [case.name for case in SAMPLE_CASES] + [case.name for case in TARS]
    assert len(names) == len(set(names))
    assert len(names) >= 170
    assert {case.reason for case in SAMPLE_CASES} <= {"", *REASONS}
    # Of what a model writes or learns, and not of what is decoded.
    of_texts = {"noted_cut_text", "noted_cut_target"}
    assert {case.noted for case in SAMPLE_CASES} == {"", *NOTES} - of_texts


@named(IMAGES)
def test_images(case: Case) -> None:
    check(case)


@named(SOUNDS)
def test_sounds(case: Case) -> None:
    check(case)


@named(TEXTS)
def test_texts(case: Case) -> None:
    check(case)


@named([*JSONS, *LABELS])
def test_metadata_and_labels(case: Case) -> None:
    check(case)


@pytest.mark.parametrize(("data", "label", "reason"), texts.JSON_LABELS)
def test_labels_inside_json(data: bytes, label: str, reason: str) -> None:
    one = Sample("k", "x.tar", 0, {"json": Field(memoryview(data), 0, len(data))})
    if not reason:
        assert read_label(one, "json.a.b") == label
        return
    with pytest.raises(SampleError) as caught:
        read_label(one, "json.a.b")
    assert caught.value.reason == reason


@pytest.mark.parametrize("case", TARS, ids=[case.name for case in TARS])
def test_shards(case: TarCase, tmp_path: Path) -> None:
    for name, data in case.shards.items():
        (tmp_path / name).write_bytes(data)
    before = sorted(tmp_path.iterdir())
    keys, faults = [], []
    for part in plan(expand(str(tmp_path))):
        for item in settled(read_part(part)):
            if isinstance(item, Sample):
                keys.append(item.key)
            else:
                faults.append((item.source.key, item.reason))
    assert (keys, faults) == (case.keys, case.faults)
    assert {reason for _, reason in faults} <= set(REASONS)
    assert sum(table.num_rows for table in tables(tmp_path)) == len(keys) + len(faults)
    assert sorted(tmp_path.iterdir()) == before, "nothing is written"


@pytest.mark.parametrize("extension", PICKLED)
@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_pickles_beside_a_modality_are_not_even_looked_at(
    extension: str, protocol: int, tmp_path: Path
) -> None:
    samples = {
        "a": {"png": png(), extension: canary(protocol), "cls": b"low"},
        "b": {extension: canary(protocol), "cls": b"low"},
    }
    write_tar(tmp_path / "x.tar", samples)
    [table] = tables(tmp_path)
    good, bad = table.to_pylist()
    assert good["error"] is None
    assert bad["error"]["reason"] == "no_modality"


def packed(folder: Path, cases: list[Case]) -> dict[str, Case | None]:
    """Writes cases with a good sample behind each; returns which key is which."""
    whole = {"png": png(), "wav": wav(), "txt": b"a low tone", "cls": b"low", "json": b"{}"}
    keys: dict[str, Case | None] = {}
    for shard in range(0, len(cases), 100):
        samples = {}
        for number, case in enumerate(cases[shard : shard + 100], start=shard):
            samples[f"c{number:04d}"], samples[f"g{number:04d}"] = fields_of(case), whole
            keys |= {f"c{number:04d}": case, f"g{number:04d}": None}
        write_tar(folder / f"s{shard:04d}.tar", samples)
    return keys


def test_all_of_them_among_good_ones(tmp_path: Path) -> None:
    keys = packed(tmp_path, SAMPLE_CASES)
    found = {}
    for table in tables(tmp_path):
        table.validate(full=True)
        for row in table.select(["key", "error"]).to_pylist():
            assert row["key"] not in found
            found[row["key"]] = row["error"]
    assert found.keys() == keys.keys()
    for key, case in keys.items():
        error = found[key]
        if case is None or not case.reason:
            assert error is None, (key, case and case.name, error)
        else:
            assert (error["reason"], error["field"]) == (case.reason, case.field), case.name


def read_in_a_child(folder: Path) -> tuple[int, float]:
    """Number of rows, and the most memory in MiB that reading them took."""
    command = [sys.executable, "-m", "support.bad_inputs.reading", str(folder)]
    paths = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    env = {**os.environ, "PYTHONPATH": paths}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    rows, peak = done.stdout.split()
    return int(rows), float(peak)


def test_bombs_take_no_memory(tmp_path: Path) -> None:
    bombs = [case for case in SAMPLE_CASES if case.bomb]
    assert len(bombs) > 10
    calm = [case for case in SAMPLE_CASES if not case.bomb]
    for folder in ("calm", "bombs"):
        packed(tmp_path / folder, calm)
    packed(tmp_path / "bombs" / "more", bombs)
    for case in TARS:
        if case.bomb:
            for name, data in case.shards.items():
                (tmp_path / "bombs" / f"{case.name}-{name}").write_bytes(data)
    few, before = read_in_a_child(tmp_path / "calm")
    many, after = read_in_a_child(tmp_path / "bombs")
    assert many > few
    assert after - before < 64

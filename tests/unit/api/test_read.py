"""Samples and batches in a program of one's own, without a job and without Ray."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from support.children import children
from support.ray_cluster import PROJECT
from support.tones import make_samples, png, write_tar

import pipeline
from pipeline.engine.decoding.isolated import (
    decode_alone,
    decode_by,
    decode_here,
    decoding_processes,
)
from pipeline.shards.planning.plan import expand, plan


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three shards of 20 samples, with a bad picture in each, and samples that lack a modality."""
    folder = tmp_path_factory.mktemp("read")
    for number in range(3):
        samples = make_samples(20, seed=number)
        samples["s0001"]["png"] = b"no picture"
        write_tar(folder / f"x-{number:03d}.tar", samples)
    return folder


def read(folder: Path, **settings: object) -> pipeline.Samples:
    settings = {
        "image": {"fields": ["png"], "size": 16},
        "audio": {"fields": ["wav"], "sample_rate_hz": 8000, "max_seconds": 0.3, "num_mels": 20},
        "label": "cls",
        "num_cpus": 1,
        "limits": {"isolate": False},  # what comes of it is the same
    } | settings
    return pipeline.read(f"{folder}/x-{{000..002}}.tar", **settings)


def identities(batches: Iterator[dict]) -> list[tuple[str, bytes]]:
    """What tells samples apart that have one key in different shards."""
    return [
        (str(key), image.tobytes() + audio.tobytes())
        for batch in batches
        for key, image, audio in zip(batch["key"], batch["image"], batch["audio"], strict=True)
    ]


def test_samples_are_what_decoding_gives(folder: Path) -> None:
    samples = read(folder, metadata=["json"])
    rows = list(samples)
    tables = [
        decode_here(part, samples._decoder) for part in plan(expand(f"{folder}/*.tar", where="x"))
    ]
    expected = [row for table in tables for row in table.to_pylist() if row["error"] is None]
    assert len(rows) == len(expected) == 57
    for sample, row in zip(rows, expected, strict=True):
        assert (sample.key, sample.shard, sample.label) == (row["key"], row["shard"], row["label"])
        assert json.loads(sample.metadata["json"]) == {"who": {"label": sample.label}}
        for name, shape, dtype in (
            ("image", (16, 16, 3), np.uint8),
            ("audio", (20, samples._decoder.codecs["audio"].shape[1]), np.float16),
        ):
            value = sample[name]
            assert (value is None) == (row[name] is None)
            if value is not None:
                assert value.shape == shape
                assert value.dtype == dtype
                assert value.flags.writeable
                assert value.ravel().tolist() == row[name]
    bad = [(row.key, row.field, row.reason) for row in samples.quarantine]
    assert bad == [("s0001", "png", "bad_image")] * 3
    assert [row.shard for row in samples.quarantine] == ["x-000.tar", "x-001.tar", "x-002.tar"]
    list(samples)
    assert len(samples.quarantine) == 3, "once, however often the shards are read"


def test_columns_have_the_names_that_the_user_gives(tmp_path: Path) -> None:
    write_tar(tmp_path / "x.tar", {"a": {"left.png": png(size=8), "right.png": png(size=9)}})
    sections = {
        side: {"kind": "image", "fields": [f"{side}.png"], "size": size}
        for side, size in (("left", 8), ("right", 12))
    }
    [sample] = pipeline.read(tmp_path / "x.tar", modalities=sections, num_cpus=1)
    assert sample["left"] is not None
    assert sample["left"].shape == (8, 8, 3)
    assert sample["right"] is not None
    assert sample["right"].shape == (12, 12, 3)
    assert sample.label is None


def test_wrong_settings_are_told(folder: Path) -> None:
    with pytest.raises(pipeline.ConfigError, match=r"modalities\.image\.sise.*size"):
        pipeline.read(f"{folder}/*.tar", image={"sise": 3})
    with pytest.raises(pipeline.ConfigError, match="no modality is named"):
        pipeline.read(f"{folder}/*.tar")
    with pytest.raises(pipeline.PipelineError, match=r"pipeline\.read"):
        pipeline.read(f"{folder}/none-*.tar", image={})
    with pytest.raises(pipeline.ConfigError, match="size is 0"):
        read(folder).batches(0)
    with pytest.raises(pipeline.ConfigError, match="none of the classes"):
        list(read(folder).batches(8, classes=["high", "low"]))


def test_batches_have_all_good_samples(folder: Path) -> None:
    samples = read(folder)
    batches = samples.batches(8)
    with pytest.raises(TypeError):
        len(batches)
    epoch = list(batches)
    assert [len(batch["key"]) for batch in epoch] == [8] * 7 + [1]
    assert len(batches) == 8
    assert len(epoch) == 8
    assert epoch[0]["image"].shape == (8, 16, 16, 3)
    assert epoch[0]["image_present"].dtype == bool
    alone = list(samples)
    assert [key for batch in epoch for key in batch["key"]] == [sample.key for sample in alone]
    assert [label for batch in epoch for label in batch["label"]] == [s.label for s in alone]
    present = [there for batch in epoch for there in batch["image_present"]]
    assert present == [sample["image"] is not None for sample in alone]
    values = [value for batch in epoch for value in batch["image"]]
    for value, sample in zip(values, alone, strict=True):
        image = sample["image"]
        assert np.array_equal(value, np.zeros_like(value) if image is None else image)
    dropping = samples.batches(8, drop_last=True)
    assert len(list(dropping)) == len(dropping) == 7


def test_an_order_is_fixed_by_seed_and_epoch(folder: Path) -> None:
    samples = read(folder)
    batches = samples.batches(8, shuffle=5)
    first, second = identities(iter(batches)), identities(iter(batches))
    assert len(set(first)) == len(set(second)) == 57
    assert set(first) == set(second)
    assert first != second
    assert identities(iter(samples.batches(8, shuffle=5, epoch=1))) == second
    assert identities(iter(samples.batches(8, shuffle=6))) != first
    assert identities(iter(samples.batches(8, shuffle=False))) == identities(
        iter(samples.batches(8))
    )


@pytest.mark.parametrize("shuffle", [None, 5])
def test_a_loop_goes_on_where_it_was(folder: Path, shuffle: int | None) -> None:
    samples = read(folder)
    whole = identities(iter(samples.batches(8, shuffle=shuffle)))
    for taken in (1, 4, 8):
        batches = samples.batches(8, shuffle=shuffle)
        iterator = iter(batches)
        before = identities(next(iterator) for _ in range(taken))
        state = json.loads(json.dumps(batches.state()))
        iterator.close()
        after = identities(iter(samples.batches(8, shuffle=shuffle, **state)))
        assert before + after == whole


def test_tensors(folder: Path) -> None:
    classes = ["high", "low", "mid"]
    batch = next(iter(read(folder).batches(8, torch=True, classes=classes)))
    assert batch["image"].dtype == torch.uint8
    assert batch["audio_present"].dtype == torch.bool
    assert batch["label"].dtype == torch.int64
    labels = [sample.label for sample in read(folder)][:8]
    assert [classes[number] for number in batch["label"]] == labels


def ended(pid: int, seconds: float = 10.0) -> bool:
    end = time.monotonic() + seconds
    while Path(f"/proc/{pid}").exists() and time.monotonic() < end:
        time.sleep(0.05)
    return not Path(f"/proc/{pid}").exists()


def test_one_that_is_given_up_leaves_no_process_and_no_other_alone(folder: Path) -> None:
    before = children(os.getpid())
    isolated = read(folder, limits={})
    outer = iter(isolated.batches(8))
    keys = list(next(outer)["key"])
    assert len(children(os.getpid())) > len(before)
    for _ in isolated:
        break
    keys += [key for batch in outer for key in batch["key"]]
    assert len(keys) == 57
    assert set(children(os.getpid())) <= set(before)


def test_the_processes_of_one_loop_are_not_anothers(folder: Path) -> None:
    decoder = read(folder, limits={})._decoder
    with (
        decoding_processes(2) as guards,
        ThreadPoolExecutor(1, initializer=decode_by, initargs=(guards,)) as pool,
    ):
        pool.submit(decode_alone, decoder, {"png": png()}).result()
        before = children(os.getpid())
        with decoding_processes(1):
            pass
        assert children(os.getpid()) == before != []
        assert guards.limit == 2


PROGRAM = """
import sys, time

class NoRay:
    def find_spec(self, name, *_):
        if name.partition(".")[0] == "ray":
            raise ImportError(f"{name} is imported where none is needed")

sys.meta_path.insert(0, NoRay())
import pipeline

print("main", flush=True)
samples = pipeline.read(sys.argv[1], image={"fields": ["png"], "size": 16})
for batch in samples.batches(4):
    print(len(batch["key"]), "torch" in sys.modules, flush=True)
    time.sleep(float(sys.argv[2]))
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "script.py"  # without a guard for children that import it
    path.write_text(PROGRAM)
    return path


def test_a_script_without_ray_torch_or_main_guard(folder: Path, script: Path) -> None:
    words = [sys.executable, str(script), f"{folder}/x-000.tar", "0"]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["main", *["4 False"] * 4, "2 False"]


def test_ctrl_c_ends_all_processes(folder: Path, script: Path) -> None:
    words = [sys.executable, str(script), f"{folder}/x-*.tar", "60"]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    process = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"main\n"
    process.stdout.readline()
    started = children(process.pid)
    assert started
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert b"KeyboardInterrupt" in errors
    assert process.returncode != 0
    assert all(ended(pid) for pid in started)

"""What is a sign of life, and what is none."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from support.web_server import serve

from pipeline import pulse, storage
from pipeline.cleaning.copies import TRAIN, Signatures, find_copies
from pipeline.isolation import Guard
from pipeline.limits import Limits as DecodeLimits
from pipeline.modalities.base import Item
from pipeline.modalities.decoding.watch import Care, Ticking, Unwatched, Watch
from pipeline.modalities.text.likeness import TextLikeness
from pipeline.prediction.ahead import ahead
from pipeline.shards.planning.plan import Shard, hash_shard
from pipeline.storage.locking.lease import Lease


class Beats:
    """Counts those of this process."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


@pytest.fixture
def beats(monkeypatch: pytest.MonkeyPatch) -> Beats:
    counter = Beats()
    monkeypatch.setattr(pulse, "_forward", None)
    pulse.forward(counter)
    return counter


def written(folder: Path) -> Path:
    path = folder / "x.bin"
    path.write_bytes(bytes(100))
    return path


def download(folder: Path) -> None:
    written(folder)
    with serve(folder) as web:
        source = storage.open_source(f"{web.url}/x.bin")
        assert len(source.read(0, 100)) == 100
        source.close()


def search_for_copies(folder: Path) -> None:
    content = np.arange(12, dtype=np.uint64).reshape(6, 2)
    texts = np.repeat(np.arange(128, dtype=np.uint8)[None], 6, axis=0)
    texts[np.arange(6), np.arange(6)] = 255  # alike, and none the same
    splits = np.full(6, TRAIN, dtype=np.uint8)
    present = {"text": np.ones(6, dtype=bool)}
    comparisons = {"text": partial(TextLikeness().compare, nearness=0.8)}
    find_copies(Signatures(content, splits, {"text": texts}, present), comparisons)


def decode(folder: Path) -> None:
    watch = Unwatched()
    list(Ticking([Item(memoryview(b""), "")], watch))


def predict(folder: Path) -> None:
    list(ahead([(1, ())], torch.device("cpu")))


MOVES: dict[str, Callable[[Path], object]] = {
    "writing": lambda folder: storage.write_bytes(f"{folder}/a", b"x"),
    "reading": lambda folder: storage.read_bytes(str(written(folder))),
    "listing": lambda folder: storage.list_files(str(folder)),
    "copying": lambda folder: storage.copy(str(written(folder)), f"{folder}/b"),
    "removing": lambda folder: storage.remove_all([str(written(folder))]),
    "hashing": lambda folder: hash_shard(Shard("x.bin", str(written(folder)), 100, "1")),
    "downloading": download,
    "searching for copies": search_for_copies,
    "decoding": decode,
    "predicting": predict,
}


@pytest.mark.parametrize("name", MOVES)
def test_whatever_moves_beats(name: str, tmp_path: Path, beats: Beats) -> None:
    before = pulse.last_beat()
    MOVES[name](tmp_path)
    assert beats.count > 0
    assert pulse.last_beat() > before


def test_what_a_decoding_process_does_is_a_beat_here(beats: Beats) -> None:
    """Its steps, and what it reads between them."""
    for work in (_steps, _reads):
        guard = Guard(work, ("",), DecodeLimits())
        before = beats.count
        guard(None)
        guard.close()
        assert beats.count > before, work.__name__


def _steps(request: object, watch: Watch, care: Care) -> None:
    watch.begins("", 0, 1)
    for _ in range(10):
        time.sleep(0.1)
        watch.ticks()


def _reads(request: object, watch: Watch, care: Care) -> None:
    for _ in range(10):
        time.sleep(0.1)
        storage.list_files("/nowhere")


@pytest.mark.parametrize("kind", ["disk", "store"])
def test_a_lease_that_is_renewed_is_no_sign_of_life(
    kind: str, tmp_path: Path, beats: Beats, request: pytest.FixtureRequest
) -> None:
    folder = str(tmp_path) if kind == "disk" else request.getfixturevalue("bucket")
    lease = Lease(f"{folder}/lease", "here", seconds=1)
    lease.acquire()
    beats.count = 0
    renewals = lease._renewals
    while lease._renewals < renewals + 3:
        time.sleep(0.05)
    assert beats.count == 0
    lease.release()

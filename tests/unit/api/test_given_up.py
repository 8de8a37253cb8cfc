"""Loops that end early: whatever ends one, its decoding processes, threads, memory and files end with it."""

from __future__ import annotations

import gc
import os
import tempfile
import threading
from collections.abc import Callable, Generator
from pathlib import Path
from typing import cast

import pytest
from support.children import children
from support.tones import png, write_tar

import pipeline

Loop = Generator[object, None, None]
Begin = Callable[[], Loop]
Look = Callable[[], None]


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> pipeline.Samples:
    """Of eight shards: more than are decoded ahead."""
    folder = tmp_path_factory.mktemp("shards")
    for number in range(8):
        write_tar(
            folder / f"x-{number}.tar", {f"s{row}": {"png": png(size=8)} for row in range(10)}
        )
    return pipeline.read(f"{folder}/*.tar", image={"fields": ["png"], "size": 8}, num_cpus=1)


def started() -> tuple[set[int], set[str], set[str]]:
    """Processes, threads and files of shared memory that this process has."""
    threads = {thread.name for thread in threading.enumerate()}
    files = (Path(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd"))
    memory = {str(file) for file in files if file.is_symlink() and "memfd" in os.readlink(file)}
    return set(children(os.getpid())), threads, memory


def broken_off(begin: Begin, look: Look) -> None:
    for _ in begin():
        look()
        break


def closed(begin: Begin, look: Look) -> Loop:
    loop = begin()
    next(loop)
    look()
    loop.close()
    return loop  # still there, and at its end all the same


def forgotten(begin: Begin, look: Look) -> None:
    loop = begin()
    next(loop)
    look()
    del loop


def collected(begin: Begin, look: Look) -> None:
    ring: list[object] = [begin()]
    next(cast(Loop, ring[0]))
    look()
    ring.append(ring)
    del ring
    gc.collect()


def failed(begin: Begin, look: Look) -> None:
    def work() -> None:
        for number, _ in enumerate(begin()):
            look()
            assert 1 / number

    with pytest.raises(ZeroDivisionError):
        work()


def read_to_its_end(begin: Begin, look: Look) -> None:
    for number, _ in enumerate(begin()):
        if number == 0:
            look()


ENDS = (broken_off, closed, forgotten, collected, failed, read_to_its_end)


@pytest.mark.parametrize(
    ("kind", "end"),
    [*(("samples", end) for end in ENDS), ("batches", broken_off), ("batches", closed)],
)
def test_a_loop_leaves_nothing_behind(
    samples: pipeline.Samples,
    kind: str,
    end: Callable[[Begin, Look], Loop | None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    shards = Path(samples.parts[0].url).parent
    listed = set(shards.iterdir())
    gc.collect()  # what tests before have left
    before = started()

    def begin() -> Loop:
        return cast(Loop, iter(samples if kind == "samples" else samples.batches(4)))

    def look() -> None:
        assert started()[0] - before[0], "it is decoded beside this process"

    loop = end(begin, look)
    assert [now - then for now, then in zip(started(), before, strict=True)] == [set()] * 3
    assert list(tmp_path.rglob("*")) == []
    assert set(shards.iterdir()) == listed
    assert list(loop or ()) == []

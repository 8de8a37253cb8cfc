"""What is shown under its name has reached the disk before, and its name after: a power cut takes nothing back."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline import storage
from pipeline.shards.writing.writer import ShardSetWriter

DATA = b"x" * 100_000


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, int]]:
    """(what, name, size) of each call that makes something last or visible, in their order."""
    log = list[tuple[str, str, int]]()

    def fsync(handle: int, real: Callable[[int], None] = os.fsync) -> None:
        real(handle)
        path = Path(os.readlink(f"/proc/self/fd/{handle}"))
        log.append(("fsync", path.name, 0 if path.is_dir() else os.fstat(handle).st_size))

    def showing(name: str) -> Callable[..., None]:
        real = getattr(os, name)

        def show(source: str, target: str, **options: object) -> None:
            log.append(("show", Path(target).name, os.stat(source).st_size))
            real(source, target, **options)

        return show

    monkeypatch.setattr(os, "fsync", fsync)
    for name in ("link", "replace", "rename"):
        monkeypatch.setattr(os, name, showing(name))
    return log


@pytest.mark.parametrize("replace", [True, False])
def test_a_file_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, steps: list[tuple[str, str, int]], replace: bool
) -> None:
    folder = tmp_path / "out"
    with storage.create(str(folder / "a.bin"), replace=replace) as file:
        file.write(DATA)
    [content, name, place] = steps
    assert content[0] == "fsync"
    assert content[1].startswith("a.bin.")
    assert content[2] == len(DATA), "all of it"
    assert name == ("show", "a.bin", len(DATA))
    assert place == ("fsync", "out", 0)


def test_a_second_name_is_on_the_disk(tmp_path: Path, steps: list[tuple[str, str, int]]) -> None:
    (tmp_path / "a.bin").write_bytes(DATA)
    storage.copy(str(tmp_path / "a.bin"), str(tmp_path / "kept" / "b.bin"))
    assert steps == [("show", "b.bin", len(DATA)), ("fsync", "kept", 0)]


def test_shards_are_on_the_disk_before_they_have_their_names(
    tmp_path: Path, steps: list[tuple[str, str, int]]
) -> None:
    folder = tmp_path / "shards"
    with ShardSetWriter(folder, name="x", max_shard_bytes=10**6, max_shard_samples=2) as writer:
        for number in range(3):
            writer.write("train", f"k{number}", {"txt": DATA})
        shards = writer.publish()
    assert steps[-1] == ("fsync", "shards", 0)
    for shard in shards:
        content, name = [step for step in steps if shard.name in step[1]]
        assert (content[0], content[2]) == ("fsync", shard.num_bytes)
        assert name[0] == "show"

"""The cache of decoded parts: the same table again, whatever has happened to its file."""

import functools
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pytest
from support.tones import make_samples, write_tar

from pipeline.engine.decoding import cache
from pipeline.engine.decoding.cache import (
    Cache,
    CachedDecoder,
    cached,
    clear_cache,
    is_cached,
    prepare_cache,
)
from pipeline.engine.decoding.part import decode_part
from pipeline.errors import ConfigError
from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.objectives.classify.labels import ClassTarget
from pipeline.shards.planning.plan import Part, expand, plan

DECODER = Decoder.build(
    ModalitiesConfig.model_validate({"image": {"fields": ["png"], "size": 8}}),
    None,
    target=ClassTarget("cls"),
)
IDENTITY = {"modalities": {"image": {"size": 8}}}


@pytest.fixture
def parts(tmp_path: Path) -> list[Part]:
    for index in range(2):
        samples = make_samples(12, seed=index)
        samples["s0004"]["png"] = b"broken"
        write_tar(tmp_path / f"x-{index}.tar", samples)
    return plan(expand(str(tmp_path / "x-*.tar")))


def never() -> pa.Table:
    raise AssertionError("decoded although it was in the cache")


def test_decoded_once_and_found_again(tmp_path: Path, parts: list[Part]) -> None:
    kept = prepare_cache(str(tmp_path / "run"), IDENTITY, parts)
    decoder = CachedDecoder.of(DECODER, kept)
    plain = [decode_part(part, DECODER) for part in parts]
    assert [decode_part(part, decoder) for part in parts] == plain
    found = [cached(kept, part, never) for part in parts]
    assert found == plain
    assert all(table.schema.equals(DECODER.schema, check_metadata=True) for table in found)
    assert sorted(os.listdir(kept.folder)) == sorted(f"{part.id}.arrow" for part in parts)


@pytest.mark.parametrize(
    "harm",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data[:-1],
        lambda data: b"",
        lambda data: b"short",
        lambda data: data[:300] + bytes([data[300] ^ 1]) + data[301:],
        lambda data: data[:-20] + bytes([data[-20] ^ 128]) + data[-19:],
        lambda data: bytes(len(data)),
    ],
)
def test_damage_is_seen_and_decoded_anew(tmp_path: Path, parts: list[Part], harm) -> None:
    kept = prepare_cache(str(tmp_path / "run"), IDENTITY, parts)
    table = cached(kept, parts[0], lambda: decode_part(parts[0], DECODER))
    path = Path(kept.folder) / f"{parts[0].id}.arrow"
    whole = path.read_bytes()
    path.write_bytes(harm(whole))
    calls = []

    def decode() -> pa.Table:
        calls.append(1)
        return decode_part(parts[0], DECODER)

    assert cached(kept, parts[0], decode) == table
    assert calls == [1]
    assert path.read_bytes() == whole, "repaired"


def test_other_settings_and_changed_shards_leave_nothing_behind(
    tmp_path: Path, parts: list[Part]
) -> None:
    run = str(tmp_path / "run")
    first = prepare_cache(run, IDENTITY, parts)
    for part in parts:
        cached(first, part, lambda: DECODER.schema.empty_table())
    (Path(first.folder) / f"{parts[0].id}.arrow.123").write_bytes(b"of a worker that was killed")
    assert prepare_cache(run, IDENTITY, parts[:1]).folder == first.folder
    assert os.listdir(first.folder) == [f"{parts[0].id}.arrow"]
    second = prepare_cache(run, {"modalities": {"image": {"size": 9}}}, parts)
    assert second.folder != first.folder
    assert os.listdir(tmp_path / "run" / "cache") == [Path(second.folder).name]
    clear_cache(run)
    assert not (tmp_path / "run" / "cache").exists()
    clear_cache(run)


def test_a_full_disk_ends_nothing(
    tmp_path: Path, parts: list[Part], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = prepare_cache(str(tmp_path / "run"), IDENTITY, parts)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache.os, "replace", full)
    table = cached(kept, parts[0], lambda: decode_part(parts[0], DECODER))
    assert table == decode_part(parts[0], DECODER)
    assert os.listdir(kept.folder) == []


def test_an_object_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="local disk"):
        prepare_cache("s3://bucket/run", IDENTITY, [])
    with pytest.raises(ConfigError, match="local disk"):
        prepare_cache(str(tmp_path), IDENTITY, [], shared="s3://bucket/cache")
    prepare_cache("s3://bucket/run", IDENTITY, [], shared=str(tmp_path / "cache"))


def sized(tmp_path: Path, run: str, max_bytes: int | None, **identity: object) -> Cache:
    shared = str(tmp_path / "shared")
    return prepare_cache(str(tmp_path / run), identity, [], shared=shared, max_bytes=max_bytes)


def part_of(number: int) -> Part:
    return Part(f"x-{number}.tar", f"x-{number}.tar", f"{number:024d}")


def table_of(number: int, rows: int = 1000) -> pa.Table:
    return pa.table({"value": pa.array([number] * rows, pa.int64())})


def held(cache: Cache) -> set[int]:
    return {number for number in range(9) if is_cached(cache, part_of(number))}


def total(cache: Cache) -> int:
    return sum(file.stat().st_size for file in Path(cache.folder).parent.rglob("*.arrow"))


def fill(cache: Cache, numbers: Sequence[int]) -> list[int]:
    """Asks for parts; those that had to be decoded."""
    decoded = []

    def decode(number: int) -> pa.Table:
        decoded.append(number)
        return table_of(number)

    for number in numbers:
        table = cached(cache, part_of(number), functools.partial(decode, number))
        assert table == table_of(number)
    return decoded


def test_a_bound_is_kept_and_what_has_no_room_is_decoded_each_time(tmp_path: Path) -> None:
    cache = sized(tmp_path, "a", 30_000)
    assert fill(cache, range(6)) == list(range(6))
    assert total(cache) <= 30_000
    assert held(cache) == {0, 1, 2}, "what is used again and again stays, and is not driven out"
    assert fill(cache, range(6)) == [3, 4, 5]
    cached(sized(tmp_path, "a", 1_000, other=1), part_of(0), lambda: table_of(0))
    assert total(cache) <= 30_000, "one that is larger than all the room is not kept"


def test_a_new_training_takes_the_room_of_what_is_not_used(tmp_path: Path) -> None:
    old = sized(tmp_path, "a", 30_000, size=8)
    fill(old, [0, 1, 2])
    for number in range(3):
        os.utime(old.path(part_of(number)), (100 + number, 100 + number))
    new = sized(tmp_path, "b", 30_000, size=9)
    assert fill(new, [5]) == [5]
    assert (held(old), held(new)) == ({1, 2}, {5}), "the one that was not used for longest is gone"
    assert fill(old, [1]) == [], "and is used now"
    assert fill(new, [6, 7]) == [6, 7]
    assert (held(old), held(new)) == ({1}, {5, 6})


def test_runs_share_what_was_decoded_with_the_same_settings(tmp_path: Path) -> None:
    first, second = (sized(tmp_path, run, None, size=8) for run in ("a", "b"))
    assert fill(first, range(4)) == list(range(4))
    assert fill(second, range(4)) == []
    assert fill(sized(tmp_path, "c", None, size=9), range(4)) == list(range(4))
    assert held(first) == set(range(4)), "other settings remove nothing here"


def test_what_another_removes_stays_readable(tmp_path: Path) -> None:
    old = sized(tmp_path, "a", 30_000, size=8)
    fill(old, [0, 1, 2])
    mapped = cached(old, part_of(0), never)
    for number in range(3):
        os.utime(old.path(part_of(number)), (100, 100))
    fill(sized(tmp_path, "b", 30_000, size=9), [5, 6, 7])
    assert held(old) == set()
    assert mapped == table_of(0)


def test_processes_that_use_one_folder_at_once_read_whole_parts(tmp_path: Path) -> None:
    """Of two settings and a room that is too small, so that each removes what the other has left."""
    program = """
import sys, time
from pathlib import Path
sys.path[:0] = sys.argv[3].split(":")
from test_cache import fill, sized
for turn in range(12):
    cache = sized(Path(sys.argv[1]), sys.argv[2], 40_000, size=int(sys.argv[2]) % 2)
    fill(cache, [(turn + step) % 7 for step in range(5)])
"""
    folders = f"{Path(__file__).parent}:{Path(__file__).parents[3]}"
    command = [sys.executable, "-c", program, str(tmp_path)]
    running = [subprocess.Popen([*command, str(run), folders]) for run in range(3)]
    assert [process.wait(120) for process in running] == [0, 0, 0]
    room = 40_000 + 3 * 9_000
    assert total(sized(tmp_path, "0", None)) <= room

"""The cache of decoded parts: the same table again, whatever has happened to its file."""

import os
from pathlib import Path

import pyarrow as pa
import pytest
from support.tones import make_samples, write_tar

from pipeline.engine.decoding import cache
from pipeline.engine.decoding.cache import CachedDecoder, cached, clear_cache, prepare_cache
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
    folder = prepare_cache(str(tmp_path / "run"), IDENTITY, parts)
    decoder = CachedDecoder.of(DECODER, folder)
    plain = [decode_part(part, DECODER) for part in parts]
    assert [decode_part(part, decoder) for part in parts] == plain
    found = [cached(folder, part, never) for part in parts]
    assert found == plain
    assert all(table.schema.equals(DECODER.schema, check_metadata=True) for table in found)
    assert sorted(os.listdir(folder)) == sorted(f"{part.id}.arrow" for part in parts)


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
    folder = prepare_cache(str(tmp_path / "run"), IDENTITY, parts)
    table = cached(folder, parts[0], lambda: decode_part(parts[0], DECODER))
    path = Path(folder) / f"{parts[0].id}.arrow"
    whole = path.read_bytes()
    path.write_bytes(harm(whole))
    calls = []

    def decode() -> pa.Table:
        calls.append(1)
        return decode_part(parts[0], DECODER)

    assert cached(folder, parts[0], decode) == table
    assert calls == [1]
    assert path.read_bytes() == whole, "repaired"


def test_other_settings_and_changed_shards_leave_nothing_behind(
    tmp_path: Path, parts: list[Part]
) -> None:
    run = str(tmp_path / "run")
    first = prepare_cache(run, IDENTITY, parts)
    for part in parts:
        cached(first, part, lambda: DECODER.schema.empty_table())
    (Path(first) / f"{parts[0].id}.arrow.123").write_bytes(b"of a worker that was killed")
    assert prepare_cache(run, IDENTITY, parts[:1]) == first
    assert os.listdir(first) == [f"{parts[0].id}.arrow"]
    second = prepare_cache(run, {"modalities": {"image": {"size": 9}}}, parts)
    assert second != first
    assert os.listdir(tmp_path / "run" / "cache") == [Path(second).name]
    clear_cache(run)
    assert not (tmp_path / "run" / "cache").exists()
    clear_cache(run)


def test_a_full_disk_ends_nothing(
    tmp_path: Path, parts: list[Part], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = prepare_cache(str(tmp_path / "run"), IDENTITY, parts)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache.os, "replace", full)
    table = cached(folder, parts[0], lambda: decode_part(parts[0], DECODER))
    assert table == decode_part(parts[0], DECODER)
    assert os.listdir(folder) == []


def test_an_object_store_is_refused() -> None:
    with pytest.raises(ConfigError, match="local disk"):
        prepare_cache("s3://bucket/run", IDENTITY, [])

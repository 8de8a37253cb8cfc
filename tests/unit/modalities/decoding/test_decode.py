"""Samples to rows: every sample has one, and a bad one says where and why."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.tones import png, sample_fields, wav, write_tar

from pipeline.engine.decoding.part import decode_part
from pipeline.errors import SampleError
from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.modalities.decoding.targets import read_label
from pipeline.modalities.text.codec import train_tokenizer
from pipeline.objectives.classify.labels import ClassTarget
from pipeline.sample import REASONS, Field, Sample
from pipeline.shards.planning.plan import expand, plan

MODALITIES = ModalitiesConfig.model_validate(
    {
        "image": {"fields": ["png", "jpg"], "size": 8},
        "text": {"max_tokens": 8},
        "audio": {"sample_rate_hz": 8000, "max_seconds": 0.1, "num_mels": 8},
    }
)


def decoder(**options: object) -> Decoder:
    return Decoder.build(MODALITIES, train_tokenizer(["a tone"], 300), **options)  # type: ignore[arg-type]


def sample(**fields: bytes) -> Sample:
    members = {name: Field(memoryview(data), 0, len(data)) for name, data in fields.items()}
    return Sample("k", "x.tar", 0, members)


def test_bad_samples_keep_their_place_and_say_why(tmp_path: Path) -> None:
    fields = {"png": png(), "wav": wav(), "txt": b"a tone", "cls": b"low", "json": b"{}"}
    samples = {
        "a": fields,
        "b": {**fields, "png": b"no image"},
        "c": {**fields, "wav": wav()[:100]},
        "d": {**fields, "txt": b"\xff"},
        "e": {**fields, "json": b"{"},
        "f": {name: fields[name] for name in ("txt", "cls")},
        "g": {"pdf": b"x", "cls": b"low"},
        "h": {name: fields[name] for name in ("png", "txt")},
        "i": {**fields, "cls": b"other"},
        "j": {**fields, "json": b'{"a": NaN}'},
    }
    path = write_tar(tmp_path / "x.tar", samples)
    [part] = plan(expand(str(path)))
    table = decode_part(
        part, decoder(metadata=["json"], target=ClassTarget("cls", frozenset(["low"])))
    )
    rows = {row["key"]: row for row in table.to_pylist()}
    reasons = {
        key: (r["error"]["reason"], r["error"]["field"]) for key, r in rows.items() if r["error"]
    }
    assert reasons == {
        "b": ("bad_image", "png"),
        "c": ("bad_audio", "wav"),
        "d": ("bad_text", "txt"),
        "e": ("bad_metadata", "json"),
        "g": ("no_modality", None),
        "h": ("missing_label", "cls"),
        "i": ("unknown_label", "cls"),
        "j": ("bad_metadata", "json"),
    }
    assert rows["a"]["modalities"] == ["image", "text", "audio"]
    assert rows["a"]["meta.json"] == "{}"
    assert rows["f"]["modalities"] == ["text"]
    assert rows["f"]["image"] is None
    data = path.read_bytes()
    error = rows["b"]["error"]
    assert data[error["offset"] : error["offset"] + error["size"]] == b"no image"
    assert {row["part_rows"] for row in table.to_pylist()} == {len(samples)}
    assert {reason for reason, _ in reasons.values()} <= set(REASONS)


def test_labels() -> None:
    who = json.dumps({"who": {"age": 7, "name": "ann", "ok": True, "list": [1]}}).encode()
    one = sample(cls=b" 3\n", json=who)
    assert read_label(one, "cls") == "3"
    assert read_label(one, "json.who.age") == "7"
    assert read_label(one, "json.who.name") == "ann"
    for label, reason in [
        ("txt", "missing_label"),
        ("json.who.nobody", "missing_label"),
        ("json.who.ok", "bad_label"),
        ("json.who.list", "bad_label"),
        ("cls.x", "missing_label"),
    ]:
        with pytest.raises(SampleError) as caught:
            read_label(one, label)
        assert caught.value.reason == reason, label
    with pytest.raises(SampleError, match="empty"):
        read_label(sample(cls=b""), "cls")


@settings(max_examples=40)
@given(data=st.data())
def test_any_damage_ends_in_a_row(data: st.DataObject) -> None:
    import numpy as np

    one = decoder(metadata=["json"], target=ClassTarget("cls"))
    good = sample_fields("low", np.random.default_rng(0))
    name = data.draw(st.sampled_from(sorted(good)))
    broken = bytearray(good[name])
    for _ in range(data.draw(st.integers(1, 6))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(broken)))
    table = one.decode([sample(**{**good, name: bytes(broken[:cut])})], "{}")
    assert table.num_rows == 1
    assert table.schema.equals(one.schema)

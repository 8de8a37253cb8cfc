"""Decoding modality by modality gives the table that decoding sample by sample would."""

from __future__ import annotations

import pickle
import weakref
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.tones import sample_fields

from pipeline.errors import SampleError
from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.base import Codec, Item
from pipeline.modalities.codecs import dense_to_column
from pipeline.modalities.decoding import rows, values
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.modalities.text.codec import train_tokenizer
from pipeline.objectives.classify.labels import ClassTarget
from pipeline.sample import Fault, Field, Sample, Source

MODALITIES = ModalitiesConfig.model_validate(
    {
        "image": {"fields": ["png", "jpg"], "size": 8},
        "text": {"max_tokens": 8},
        "audio": {"sample_rate_hz": 8000, "max_seconds": 0.1, "num_mels": 8},
    }
)
DECODER = Decoder.build(
    MODALITIES,
    train_tokenizer(["a high tone", "a low tone"], 300),
    metadata=["json"],
    target=ClassTarget("cls", frozenset(["low", "high"])),
)
BROKEN = {
    "png": b"no image",
    "wav": b"RIFF no sound",
    "txt": b"\xff",
    "json": b"{",
    "cls": b"other",
}


@st.composite
def read_items(draw: st.DrawFn) -> list[Sample | Fault]:
    """Samples of which any field may be broken or missing, and faults of the reader between them."""
    random = np.random.default_rng(draw(st.integers(0, 99)))
    found: list[Sample | Fault] = []
    for ordinal in range(draw(st.integers(0, 9))):
        if draw(st.integers(0, 5)) == 0:
            where = Source("x.tar", None, None, 512, 100)
            found.append(Fault(where, ordinal, "bad_header", "a damaged header"))
            continue
        fields = sample_fields(draw(st.sampled_from(["low", "high"])), random)
        for name in list(fields):
            fate = draw(st.sampled_from(["good", "good", "good", "broken", "missing"]))
            if fate == "broken":
                fields[name] = BROKEN[name]
            elif fate == "missing":
                del fields[name]
        members = {
            name: Field(memoryview(data), 1000 * ordinal + len(name), len(data))
            for name, data in fields.items()
        }
        found.append(Sample(f"k{ordinal}", "x.tar", ordinal, members))
    return found


def one_by_one(items: Sequence[Sample | Fault], part: str) -> list[dict[str, object]]:
    """What each row must hold, from nothing but the codecs and the rules."""
    expected = []
    for item in items:
        row: dict[str, object] = dict.fromkeys(DECODER.schema.names)
        row |= {
            "ordinal": item.ordinal,
            "part": part,
            "part_rows": len(items),
            "part_samples": sum(isinstance(i, Sample) or i.source.key is not None for i in items),
            "part_strays": 0,
            "modalities": [],
            "dropped": [],
            "remarks": [],
        }
        fault = item if isinstance(item, Fault) else None
        values: dict[str, object] = {}
        if isinstance(item, Sample):
            row |= {"key": item.key, "shard": item.shard}
            try:
                label, metadata = DECODER.check(item)
                for name, codec in DECODER.codecs.items():
                    field = next((f for f in DECODER.fields[name] if f in item.fields), None)
                    if field is not None:
                        value = codec.decode(item.fields[field].data, field)
                        values[name] = value.reshape(-1).tolist()
                values |= {"label": label, "meta.json": metadata.get("json")}
                row["modalities"] = [name for name in DECODER.codecs if name in values]
            except SampleError as error:
                values, at = {}, item.fields.get(error.field)
                where = Source(item.shard, item.key, error.field or None)
                if at:
                    where = Source(item.shard, item.key, error.field, at.offset, at.size)
                others = any(
                    error.field not in names and set(names) & set(item.fields)
                    for names in DECODER.fields.values()
                )
                decoding = error.reason in ("bad_image", "bad_audio", "bad_text")
                setting = error.setting or ("input.on_bad_field" if decoding and others else "")
                fault = Fault(where, item.ordinal, error.reason, error.what, setting)
        if fault:
            row |= {"key": fault.source.key, "shard": fault.source.shard}
            row["error"] = {
                "field": fault.source.field,
                "reason": fault.reason,
                "detail": fault.detail,
                "setting": fault.setting or None,
                "offset": fault.source.offset,
                "size": fault.source.size,
                "bytes": None,
            }
        expected.append(row | values)
    return expected


@settings(max_examples=60)
@given(items=read_items(), group=st.integers(1, 4))
def test_the_table_is_that_of_decoding_one_by_one(items: list[Sample | Fault], group: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "GROUP_SAMPLES", group)
        patch.setattr(values, "FIRST_ROWS", 2)  # so that there is too little room
        table = DECODER.decode(iter(items), "the part")
    assert table.schema.equals(DECODER.schema, check_metadata=True)
    table.validate(full=True)
    assert table.to_pylist() == one_by_one(items, "the part")


@settings(max_examples=10)
@given(items=read_items())
def test_a_bad_row_holds_no_trace_of_its_values(items: list[Sample | Fault]) -> None:
    table = DECODER.decode(iter(items), "{}")
    for name in ("image", "audio"):
        column = table[name].combine_chunks()
        flat = np.asarray(column.values).reshape(len(items), column.type.list_size)
        assert not flat[np.asarray(column.is_null())].any()
        assert len(column.values) == len(items) * column.type.list_size, "nothing besides the rows"


def test_encoded_bytes_are_not_held_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shard that is unpacked on the way, or read over a network, is larger than what is in memory of it."""
    fields = sample_fields("low", np.random.default_rng(0))
    size = sum(map(len, fields.values()))
    monkeypatch.setattr(rows, "GROUP_BYTES", 5 * size)
    alive: list[weakref.ref[object]] = []
    most = 0

    class Bytes(bytearray):
        """Can be referred to weakly."""

    def read() -> Iterator[Sample]:
        nonlocal most
        for number in range(40):
            held = {name: Bytes(data) for name, data in fields.items()}
            alive.append(weakref.ref(held["png"]))
            members = {name: Field(memoryview(data), 0, len(data)) for name, data in held.items()}
            del held
            yield Sample(f"k{number}", "x.tar", number, members)
            del members
            most = max(most, sum(one() is not None for one in alive))

    assert DECODER.decode(read(), "{}").num_rows == 40
    assert most <= 6


def test_every_codec_decodes_together_as_alone() -> None:
    random = np.random.default_rng(0)
    samples = [sample_fields(label, random) for label in ("low", "high", "mid", "low")]
    for name, codec in DECODER.codecs.items():
        field = next(f for f in DECODER.fields[name] if f in samples[0])
        items = [Item(memoryview(fields[field]), field) for fields in samples]
        items.insert(2, Item(memoryview(BROKEN[field]), field))
        for out in (None, rows_of(codec, len(items))):
            values = codec.decode_batch(items, out)
            assert [isinstance(value, SampleError) for value in values] == [0, 0, 1, 0, 0]
            for item, value in zip(items, values, strict=True):
                if not isinstance(value, SampleError):
                    np.testing.assert_array_equal(value, codec.decode(item.data, item.field))


def rows_of(codec: Codec, count: int) -> list[np.ndarray] | None:
    room = codec.empty(count)
    return None if room is None else list(room)


def test_values_are_not_copied_into_their_columns() -> None:
    room = np.arange(24, dtype=np.uint8).reshape(2, 12)
    field = pa.field("x", pa.list_(pa.uint8(), 12))
    column = dense_to_column(room, np.array([False, True]), field)
    assert column.to_pylist() == [list(range(12)), None]
    room[0, 0] = 99
    assert column[0].as_py()[0] == 99


def test_a_used_decoder_can_be_shipped() -> None:
    random = np.random.default_rng(0)
    fields = sample_fields("low", random)
    members = {name: Field(memoryview(data), 0, len(data)) for name, data in fields.items()}
    items = [Sample("k", "x.tar", 0, members)]
    first = DECODER.decode(items, "{}")
    assert pickle.loads(pickle.dumps(DECODER)).decode(items, "{}").equals(first)

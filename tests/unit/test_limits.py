"""Limits and filters: each fault of one names the setting that moves it, in decoding and in lint alike."""

import gzip
import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.tones import wav, write_tar

from pipeline.config import Config, validate
from pipeline.engine.cleaning.verdict import SETTINGS as CLEANING
from pipeline.engine.lint.findings import Inspector
from pipeline.errors import OF_SETTINGS, NoSettingError, SampleError
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.modalities.text.codec import train_tokenizer
from pipeline.sample import FILTERS, REASONS, Fault, Source
from pipeline.settings import apply_override, settings
from pipeline.shards.planning.plan import expand, plan
from pipeline.shards.reading.reader import read_part

SETTING_NAMES = {path for path, _, _ in settings(Config)}
LIMITED = sorted(name for name in {**REASONS, **FILTERS} if name.startswith(OF_SETTINGS))
# What other tests make, since they need more than one sample or a decoder that hangs: see faults/test_isolation.py.
ELSEWHERE = {"decoder_crashed", "decoder_memory", "decoder_timeout", "filtered_modality", *CLEANING}
TOKENIZER = train_tokenizer(["a low tone"], 300)


@dataclass(frozen=True)
class Case:
    """A sample that one setting refuses.

    Attributes:
        reason: For which.
        setting: The setting.
        value: What refuses it.
        fields: The sample's.
        lint: Whether headers tell as much.
        remedy: What lets it through; None takes the value that the fault tells.
        packed: Whether the shard is compressed.
    """

    reason: str
    setting: str
    value: Any
    fields: dict[str, bytes]
    lint: bool = True
    remedy: Any = None
    packed: bool = False

    @property
    def name(self) -> str:
        return self.setting


def picture(width: int, height: int, form: str = "PNG", **options: object) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, form, **options)
    return data.getvalue()


TEXT, DEEP = {"txt": b"to be or not to be or not to be or not to be"}, {"json": b"[[[[1]]]]"}
LOUD = wav(seconds=1.0)
IMAGE, FILTER = "modalities.image", "modalities.{}.filter.{}".format
CASES = [
    Case("too_large", "limits.member_bytes", 64, {"txt": b"a" * 100}),
    Case("too_large", "limits.unpacked_bytes", 2000, TEXT, remedy=1 << 20, packed=True),
    Case("too_large", "limits.expansion", 1, {"txt": b"a" * 9000}, remedy=10000, packed=True),
    Case("too_large", f"{IMAGE}.max_megapixels", 0.0012, {"jpg": picture(37, 41, "JPEG")}),
    Case("too_large", f"{IMAGE}.max_megapixels", 0.0012, {"jpg": picture(37, 41)}),
    Case("too_large", f"{IMAGE}.max_scans", 3, {"jpg": picture(40, 40, "JPEG", progressive=True)}, lint=False),
    Case("too_large", "modalities.text.max_bytes", 10, TEXT),
    Case("too_large", "modalities.audio.max_minutes", 0.01, {"wav": LOUD}),
    Case("too_large", "modalities.audio.max_minutes", 0.01, {"flac": LOUD}),
    Case("bad_metadata", "limits.json_depth", 3, DEEP | TEXT, remedy=4),
    Case("filtered_size", FILTER("image", "min_side"), 50, {"png": picture(60, 44)}, lint=False),
    Case("filtered_aspect", FILTER("image", "max_aspect"), 1.2, {"png": picture(61, 44)}, lint=False),
    Case("filtered_blank", FILTER("image", "min_contrast"), 0.5, {"png": picture(60, 44)}, lint=False),
    Case("filtered_duration", FILTER("audio", "min_seconds"), 2, {"wav": LOUD}, lint=False),
    Case("filtered_duration", FILTER("audio", "max_seconds"), 0.5, {"wav": LOUD}, lint=False),
    Case("filtered_silence", FILTER("audio", "max_silence_fraction"), 0.1, {"wav": wav(0.0)}, lint=False),
    Case("filtered_clipping", FILTER("audio", "max_clipped_fraction"), 0.0, {"wav": b""}, lint=False),
    Case("filtered_length", FILTER("text", "min_characters"), 100, TEXT, lint=False),
    Case("filtered_length", FILTER("text", "max_characters"), 10, TEXT, lint=False),
    Case("filtered_repetition", FILTER("text", "max_repetition"), 0.2, TEXT, lint=False),
    Case("filtered_script", FILTER("text", "scripts"), ["Han"], TEXT, lint=False, remedy=["Latin"]),
    Case("bad_text", "modalities.text.encoding", "utf-8", {"txt": "caf\xe9".encode("latin-1")}, remedy="latin-1"),
    Case("missing_label", "objective.label", "other", TEXT, lint=False, remedy="cls"),
    Case("unknown_label", "objective.classes", ["a", "b"], TEXT, lint=False, remedy=["a", "low"]),
    Case("bad_metadata", "input.metadata", ["json"], {"json": b"{"} | TEXT, remedy=[]),
]  # fmt: skip


def config(folder: Path, *overrides: str) -> Config:
    tree: dict[str, Any] = {
        "run": str(folder / "run"),
        "input": {"train": str(folder), "metadata": ["json"]},
        "modalities": {
            "image": {"fields": ["jpg", "png"], "size": 16},
            "text": {},
            "audio": {"fields": ["wav", "flac"], "max_seconds": 0.25},
        },
        "objective": {"kind": "classify", "label": "cls", "classes": ["low", "high"]},
        "limits": {"expansion_from_bytes": 0, "expansion": 10000},
    }
    for override in overrides:
        apply_override(tree, override)
    return validate(tree)


def shard(folder: Path, case: Case) -> None:
    fields = dict(case.fields)
    if fields.get("wav") == b"":
        import soundfile

        square = io.BytesIO()
        soundfile.write(square, np.ones(8000), 8000, format="WAV")
        fields["wav"] = square.getvalue()
    path = write_tar(folder / "x.tar", {"k": fields | {"cls": b"low"}})
    if case.packed:
        (folder / "x.tar.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()


def decoded(folder: Path, settings: Config) -> list[dict[str, Any]]:
    """The errors of all rows."""
    decoder = Decoder.build(
        settings.modalities,
        TOKENIZER,
        metadata=settings.input.metadata,
        target=settings.require_objective().targets(settings.require_objective().preset),
        **settings.handling(),
    )
    [part] = plan(expand(str(folder)))
    rows = decoder.decode(read_part(part, settings.limits), part.to_json()).to_pylist()
    return [row["error"] for row in rows if row["error"]]


@pytest.mark.parametrize("case", CASES, ids=[f"{c.setting} {next(iter(c.fields))}" for c in CASES])
def test_a_fault_names_the_setting_that_lets_the_sample_through(tmp_path: Path, case: Case) -> None:
    shard(tmp_path, case)
    refusing = config(tmp_path, f"{case.setting}={case.value}")
    error = decoded(tmp_path, refusing)[0]
    assert (error["reason"], error["setting"]) == (case.reason, case.setting)
    assert case.setting in SETTING_NAMES
    assert len(error["detail"]) <= 200
    told = re.search(
        rf"{re.escape(case.setting)} is (.*), and would have to be (\S+)$", error["detail"]
    )
    if case.reason.startswith(OF_SETTINGS):
        assert told, error["detail"]
        assert told[1] == (
            f"[{case.value[0]}]" if isinstance(case.value, list) else f"{case.value:g}"
        )
    if case.lint:
        [part] = plan(expand(str(tmp_path)))
        fault = Inspector(refusing, 0).inspect(part, 1).faults[0]
        assert (fault.reason, fault.detail, fault.setting) == (
            error["reason"],
            error["detail"],
            error["setting"],
        )
    remedy = told[2] if case.remedy is None and told else case.remedy
    assert decoded(tmp_path, config(tmp_path, f"{case.setting}={remedy}")) == []


def test_every_reason_of_a_setting_is_looked_at() -> None:
    assert {case.reason for case in CASES if case.reason in LIMITED} | ELSEWHERE == set(LIMITED)
    assert set(CLEANING.values()) < SETTING_NAMES


@pytest.mark.parametrize("reason", LIMITED)
def test_none_can_be_made_without_its_setting(reason: str) -> None:
    with pytest.raises(NoSettingError, match=reason):
        SampleError("too much", reason=reason)
    with pytest.raises(NoSettingError, match=reason):
        Fault(Source("x.tar"), 0, reason, "too much")


def test_a_bad_field_names_the_setting_that_does_without_it(tmp_path: Path) -> None:
    write_tar(
        tmp_path / "x.tar",
        {"a": {"png": b"none", "txt": b"a", "cls": b"low"}, "b": {"png": b"none", "cls": b"low"}},
    )
    errors = decoded(tmp_path, config(tmp_path))
    assert [error["setting"] for error in errors] == ["input.on_bad_field", None]
    [part] = plan(expand(str(tmp_path)))
    faults = Inspector(config(tmp_path), 0).inspect(part, 1).faults
    assert [fault.setting for fault in faults] == ["input.on_bad_field", ""]
    [row] = decoded(tmp_path, config(tmp_path, "input.on_bad_field=drop"))
    assert (row["reason"], row["setting"]) == ("bad_image", None)

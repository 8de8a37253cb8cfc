"""Labels: in which field one stands, whatever dots its name has, and which class one names, however it is written."""

import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.tones import write_tar

from pipeline.config import Config, validate
from pipeline.engine.lint.findings import Inspector
from pipeline.engine.lint.page import build
from pipeline.engine.lint.plan import Findings
from pipeline.engine.train.survey import survey_parts
from pipeline.errors import SampleError
from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.decoding.decoded import read_decoded
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.modalities.decoding.targets import fields_at, label_place, read_label
from pipeline.modalities.text.codec import train_tokenizer
from pipeline.objectives.classify.labels import ClassTarget, LabelSurvey, class_of
from pipeline.sample import Field, Sample
from pipeline.shards.planning.plan import Part, expand, plan
from pipeline.shards.reading.reader import read_part

COMPOSED, APART = (unicodedata.normalize(form, "caf\xe9") for form in ("NFC", "NFD"))


def sample(fields: dict[str, bytes]) -> Sample:
    members = {name: Field(memoryview(data), 0, len(data)) for name, data in fields.items()}
    return Sample("k", "x.tar", 0, members)


@pytest.mark.parametrize(
    ("label", "fields", "found"),
    [
        ("cls", {"cls": b"low"}, "low"),
        ("target.cls", {"target.cls": b"low"}, "low"),
        ("target.cls", {"target": b'{"cls": "high"}'}, "high"),
        ("target.cls", {"target": b'{"cls": "high"}', "target.cls": b"low"}, "low"),
        ("info.json.kind", {"info.json": b'{"kind": "low"}'}, "low"),
        ("info.json.kind", {"info.json": b'{"kind": "low"}', "info": b'{"json": {"kind": "high"}}'}, "low"),
        ("info.json.kind", {"info": b'{"json": {"kind": "high"}}'}, "high"),
        ("info.json.a.b", {"info.json": b'{"a": {"b": 3}}'}, "3"),
        ("info.json.a.b", {"info.json.a": b'{"b": 4}', "info.json": b'{"a": {"b": 3}}'}, "4"),
        ("json.kind", {"json": b'{"kind": " low\\n"}'}, "low"),  # as in a field of its own
        ("cls", {"cls": b" low\n"}, "low"),
        ("json.kind", {"info.json": b'{"kind": "low"}'}, None),
        ("target.cls", {"cls": b"low"}, None),
        ("info.json.kind", {"info.json": b'{"other": "low"}'}, None),
    ],
)  # fmt: skip
def test_the_longest_field_that_there_is(
    label: str, fields: dict[str, bytes], found: str | None, tmp_path: Path
) -> None:
    """In decoding, in counting for training, and in lint."""
    if found is not None:
        assert read_label(sample(fields), label) == found
    else:
        with pytest.raises(SampleError) as caught:
            read_label(sample(fields), label)
        assert caught.value.reason == "missing_label"
    write_tar(tmp_path / "x.tar", {"k": fields | {"txt": b"a"}})
    parts = plan(expand(str(tmp_path / "x.tar")))
    settings = config(tmp_path, label)
    counted = survey_parts(parts, settings.require_objective(), settings.limits)
    assert counted.targets.labels == Counter([found] if found else [])
    census = Inspector(settings, 0).inspect(parts[0], 1).census
    assert census.labels == counted.targets.labels
    assert census.unlabelled == counted.reasons
    rows = decoded(parts[0], label, None)
    assert [row["label"] for row in rows] == [found]


@pytest.mark.parametrize(
    ("label", "fields"), [("cls", {"cls": b" \n"}), ("json.kind", {"json": b'{"kind": " "}'})]
)
def test_an_empty_label_is_none(label: str, fields: dict[str, bytes]) -> None:
    with pytest.raises(SampleError, match="the label is empty") as caught:
        read_label(sample(fields), label)
    assert caught.value.reason == "bad_label"


def config(folder: Path, label: str, **objective: object) -> Config:
    return validate(
        {
            "run": str(folder / "run"),
            "input": {"train": str(folder / "*.tar")},
            "modalities": {"text": {}},
            "objective": {"kind": "classify", "label": label, **objective},
        }
    )


def survey(parts: Sequence[Part], settings: Config) -> LabelSurvey:
    return survey_parts(parts, settings.require_objective(), settings.limits).targets


def decoded(part: object, label: str, classes: list[str] | None) -> list[dict]:
    decoder = Decoder.build(
        ModalitiesConfig.model_validate({"text": {}}),
        train_tokenizer(["a"], 300),
        target=ClassTarget(label, classes and frozenset(classes)),
    )
    return decoder.decode(read_part(part), "{}").to_pylist()  # type: ignore[arg-type]


def test_what_a_label_is_for_is_told_by_the_field_that_there_is(tmp_path: Path) -> None:
    write_tar(tmp_path / "x.tar", {"k": {"target.cls": b"low", "target": b"x", "txt": b"a"}})
    settings = config(tmp_path, "target.cls")
    [part] = plan(expand(str(tmp_path / "x.tar")))
    census = Inspector(settings, 0).inspect(part, 1).census
    report = build(settings, Findings({"train": census}))
    uses = {name: field.use for name, field in report.total.fields.items()}
    assert uses == {"target.cls": "label", "target": "", "txt": "text"}


def test_labels_that_look_the_same_are_one_class(tmp_path: Path) -> None:
    labels = [COMPOSED, APART, "tea", APART, COMPOSED]
    samples = {f"k{n}": {"cls": label.encode(), "txt": b"a"} for n, label in enumerate(labels)}
    write_tar(tmp_path / "x.tar", samples)
    parts = plan(expand(str(tmp_path / "x.tar")))
    settings = config(tmp_path, "cls")
    counted = survey(parts, settings)
    assert counted.labels == {COMPOSED: 4, "tea": 1}
    assert counted.respelled == {COMPOSED: 2}
    assert settings.require_objective().learn(counted) == {"classes": [COMPOSED, "tea"]}
    for classes in (
        [COMPOSED, "tea"],
        [APART, "tea"],
    ):  # of a bundle that was trained on one of the forms
        named = config(tmp_path, "cls", classes=classes).require_objective()
        assert named.learn(counted) == {"classes": [COMPOSED, "tea"]}
        rows = decoded(parts[0], "cls", classes)
        assert [row["label"] for row in rows] == [
            classes[0],
            classes[0],
            "tea",
            classes[0],
            classes[0],
        ]
    census = Inspector(settings, 0).inspect(parts[0], 1).census
    assert census.labels == counted.labels
    report = build(settings, Findings({"train": census}))
    [note] = [problem for problem in report.problems if "Unicode form" in problem.what]
    assert (note.count, note.examples) == (2, [COMPOSED])


def test_joining_is_told_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_tar(tmp_path / "x.tar", {"a": {"cls": APART.encode()}, "b": {"cls": b"tea"}})
    settings = config(tmp_path, "cls")
    counted = survey(plan(expand(str(tmp_path / "x.tar"))), settings)
    with caplog.at_level("INFO"):
        settings.require_objective().learn(counted)
    assert "labels_joined" in caplog.text


def test_a_class_is_named_in_any_form() -> None:
    assert class_of(APART, frozenset([COMPOSED, "tea"])) == COMPOSED
    assert class_of(COMPOSED, frozenset([APART])) == APART
    assert class_of(COMPOSED, frozenset([APART, COMPOSED])) == COMPOSED
    assert class_of("coffee", frozenset([COMPOSED])) is None


def test_the_place_of_a_label_without_a_field_is_its_first_part() -> None:
    assert label_place("json.a.b", {"txt"}) == ("json", "a.b")
    assert label_place("cls", ()) == ("cls", "")


def test_the_fields_that_a_place_may_be_in_are_all_that_may_be_chosen() -> None:
    assert fields_at(["json.a.b", "cls"]) == {"json", "json.a", "json.a.b", "cls"}
    assert fields_at([]) == set()


def test_a_label_is_read_in_one_form() -> None:
    assert read_label(sample({"cls": APART.encode()}), "cls") == COMPOSED
    assert read_label(sample({"json": f'{{"a": "{APART}"}}'.encode()}), "json.a") == COMPOSED


@pytest.mark.parametrize("form", [COMPOSED, APART])
def test_rows_that_were_decoded_before_are_joined_with_a_models_classes(
    tmp_path: Path, form: str
) -> None:
    table = pa.table(
        {
            "key": ["a", "b", "c"],
            "shard": ["x.tar"] * 3,
            "label": [COMPOSED, APART, "coffee"],
            "text": pa.array([[1], [2], [3]], pa.list_(pa.int32())),
        }
    )
    url = str(tmp_path / "part.parquet")
    pq.write_table(table, url)
    decoder = Decoder.build(
        ModalitiesConfig.model_validate({"text": {}}),
        train_tokenizer(["a"], 300),
        target=ClassTarget("cls", frozenset([form, "tea"])),
    )
    rows = read_decoded(url, 0, 3, 0, "{}", decoder).to_pylist()
    assert [row["label"] for row in rows] == [form, form, None]
    assert rows[2]["error"]["reason"] == "unknown_label"

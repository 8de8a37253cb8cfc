"""What a sample is to teach or to be judged by: where it stands, and what it says. Objectives know what it means."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from math import isfinite
from typing import Protocol

from pydantic import JsonValue

from pipeline.errors import SampleError
from pipeline.modalities.decoding.members import field_json, field_text
from pipeline.modalities.strict_json import DEPTH
from pipeline.modalities.text.repair import normalized
from pipeline.sample import Field, Sample

SETTING = "objective.label"  # that names where labels stand, unless told otherwise


class Target(Protocol):
    """What is read of a sample beside its modalities; picklable, and imports no torch."""

    @property
    def setting(self) -> str:
        """The setting that names its places."""

    @property
    def places(self) -> Sequence[str]:
        """Where it stands: fields, or paths in JSON fields, as the configuration names them; nothing else is read."""

    @property
    def identity(self) -> JsonValue:
        """What the texts of :meth:`read` depend on where none is refused for what it says, ready for JSON."""

    @property
    def accepted(self) -> Sequence[str] | None:
        """The texts that are not refused, sorted; None where none is refused for what it says."""

    @property
    def countable(self) -> bool:
        """Whether many samples share a text, so that it says something how many have which."""

    def read(self, sample: Sample, json_depth: int = DEPTH) -> str:
        """The target of a sample, as canonical text: equal targets have equal texts.

        Args:
            sample: The sample.
            json_depth: Levels that JSON may have.

        Raises:
            SampleError: The sample has none that can be used.
        """

    def accept(self, text: str | None) -> str:
        """A target that preprocess has read, as :meth:`read` gives it.

        Args:
            text: What was read; None where the sample had none.

        Raises:
            SampleError: It cannot be used.
        """


def label_place(label: str, fields: Container[str]) -> tuple[str, str]:
    """Splits a label's setting at the longest field that there is, since a field's name may hold a dot.

    Args:
        label: ``cls``, ``target.cls``, or a path in a JSON field, such as ``json.person.age``.
        fields: The fields that there are.

    Returns:
        The field, and the path in it, which is empty where the field is the label. Where there is no such field, what
        stands before the first dot.
    """
    name = label
    while name not in fields and "." in name:
        name = name.rpartition(".")[0]
    return name, label[len(name) + 1 :]


def fields_at(places: Iterable[str]) -> frozenset[str]:
    """The fields that places may be in, all that :func:`label_place` may choose of them."""
    return frozenset(
        place[:end]
        for place in places
        for end in range(1, len(place) + 1)
        if place[end : end + 1] in ("", ".")
    )


def read_label(sample: Sample, label: str, json_depth: int = DEPTH) -> str:
    """Reads a sample's label: the text of a field, or a value inside a JSON field; in Unicode's form NFC.

    Args:
        sample: The sample.
        label: Where it stands; see :func:`label_place`.
        json_depth: Levels that the JSON may have.

    Raises:
        SampleError: The label is missing or not a single value.
    """
    return normalized(written_label(sample, label, json_depth))


def written_label(
    sample: Sample, label: str, json_depth: int = DEPTH, setting: str = SETTING
) -> str:
    """A sample's label as it is written; see :func:`read_label`.

    Args:
        sample: The sample.
        label: Where it stands.
        json_depth: Levels that the JSON may have.
        setting: That names the place, for the fault of a sample without one.
    """
    name, path = label_place(label, sample.fields)
    if name not in sample.fields:
        raise missing_label(name, setting=setting)
    data = sample.fields[name].data
    if not path:
        return _not_empty(field_text(data, name, "bad_label"), name)
    value = field_json(data, name, "bad_label", json_depth)
    for step in path.split("."):
        if not isinstance(value, dict) or step not in value:
            raise missing_label(name, f"no {path} in the JSON", setting)
        value = value[step]
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise SampleError(f"{path} is not a text or a number", reason="bad_label", field=name)
    if isinstance(value, float) and not isfinite(value):
        raise SampleError(f"{path} is not finite", reason="bad_label", field=name)
    return _not_empty(str(value), name)


def value_at(fields: Mapping[str, str | None], place: str, json_depth: int = DEPTH) -> str | None:
    """What metadata that was carried along says at a place; None where it says nothing, or no single value.

    Args:
        fields: Field -> its text; None where a sample has none.
        place: As :func:`read_label` takes it.
        json_depth: Levels that the JSON may have.
    """
    members = {
        name: Field(memoryview(text.encode()), 0, 0)
        for name, text in fields.items()
        if text is not None
    }
    try:
        return read_label(Sample("", "", 0, members), place, json_depth)
    except SampleError:
        return None


def _not_empty(text: str, field: str) -> str:
    """A label without the white space around it: one class, however it was stored."""
    text = text.strip()
    if not text:
        raise SampleError("the label is empty", reason="bad_label", field=field)
    return text


def missing_label(
    field: str, what: str = "the sample has no label", setting: str = SETTING
) -> SampleError:
    """The fault of a sample without a label in the field that should hold it."""
    return SampleError(what, reason="missing_label", field=field, setting=setting)

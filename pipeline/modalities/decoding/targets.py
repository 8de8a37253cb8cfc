"""Labels of samples: which field holds one, what it says, and which class it names."""

from __future__ import annotations

from collections.abc import Container, Mapping
from functools import cache
from math import isfinite

from pipeline.errors import SampleError
from pipeline.modalities.members import field_json, field_text
from pipeline.modalities.strict_json import DEPTH
from pipeline.modalities.text.repair import normalized
from pipeline.sample import Sample


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


def written_label(sample: Sample, label: str, json_depth: int = DEPTH) -> str:
    """A sample's label as it is written; see :func:`read_label`."""
    name, path = label_place(label, sample.fields)
    if name not in sample.fields:
        raise missing_label(name)
    data = sample.fields[name].data
    if not path:
        return _not_empty(field_text(data, name, "bad_label"), name)
    value = field_json(data, name, "bad_label", json_depth)
    for step in path.split("."):
        if not isinstance(value, dict) or step not in value:
            raise missing_label(name, f"no {path} in the JSON")
        value = value[step]
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise SampleError(f"{path} is not a text or a number", reason="bad_label", field=name)
    if isinstance(value, float) and not isfinite(value):
        raise SampleError(f"{path} is not finite", reason="bad_label", field=name)
    return _not_empty(str(value), name)


def _not_empty(text: str, field: str) -> str:
    """A label without the white space around it: one class, however it was stored."""
    text = text.strip()
    if not text:
        raise SampleError("the label is empty", reason="bad_label", field=field)
    return text


def class_of(label: str, classes: frozenset[str]) -> str | None:
    """The class that a label names, as the class is spelled; None where it is none of them."""
    return _by_label(classes).get(normalized(label))


@cache
def _by_label(classes: frozenset[str]) -> Mapping[str, str]:
    """NFC -> class; of classes that differ in their form only, the one in NFC counts."""
    ordered = sorted(classes, key=lambda name: normalized(name) == name)
    return {normalized(name): name for name in ordered}


def missing_label(field: str, what: str = "the sample has no label") -> SampleError:
    """The fault of a sample without a label in the field that should hold it."""
    return SampleError(what, reason="missing_label", field=field, setting="objective.label")


def unknown_label(label: str, field: str) -> SampleError:
    """The fault of a sample whose label is none of the classes."""
    what = f"the label {label[:80]!r} is not one of the classes"
    return SampleError(what, reason="unknown_label", field=field, setting="objective.classes")

"""A look at samples -> the text of a configuration, which says beside each guess what it was guessed from."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from textwrap import wrap
from typing import Any

import yaml

from pipeline.modalities import kinds
from pipeline.modalities.decoding.targets import label_place
from pipeline.starter.look import FieldLook, Look, is_bookkeeping
from pipeline.starter.sources import Start


def draft(start: Start, look: Look, run: str) -> tuple[str, list[str]]:
    """Writes a configuration.

    Args:
        start: Where the samples come from.
        look: What they hold.
        run: Folder of the run.

    Returns:
        The YAML text, and what its reader should check, in sentences.
    """
    notes = list(start.notes)
    label = look.label()
    records = [name for name in look.fields if name.rpartition(".")[2] == "json"]
    others = look.other_labels({label, *records})
    metadata = records + others
    tree: dict[str, Any] = {"run": run, "input": dict(start.inputs)}
    if metadata:
        tree["input"]["metadata"] = metadata
    tree["modalities"] = modalities(look, {*metadata, *([label] if label else [])})
    withheld = [_withheld(name, label, look) for name in others]
    if label:
        tree["objective"] = {"kind": "classify", "label": label}
    else:
        notes.append("nothing looks like a label: set objective before jobs.train")
    notes += withheld
    if not tree["modalities"]:
        notes.append("no field is an image, a text or a sound: set modalities")
        tree["modalities"] = None
    if start.pack:
        tree["pack"] = dict(start.pack)
    unread = sorted(set(look.fields) - set(_used(tree, look.fields)))
    if unread:
        notes.append(f"no setting reads the fields {', '.join(unread)}")
    return _text(tree, look, start, withheld), notes


def _withheld(field: str, label: str | None, look: Look) -> str:
    """Why a field that looks like a label, and was not taken for it, is no input, and how it is used."""
    look_of_field = look.fields[field]
    if look.holds_numbers(field):
        what = f"{field} holds a number of each sample's own, which is no class"
        use = f"objective={{kind: regress, target: {field}}} estimates it"
    elif is_bookkeeping(field, look_of_field.texts):
        what = f"{field} looks like a note on where a sample is from or what it is used for"
        use = f"objective.label={field} learns it all the same"
    elif look_of_field.could_be_label:
        what = f"{field} looks like a label too, and {label} was taken"
        use = f"objective.label={field} learns it instead"
    else:
        what = f"{field} is called like a label, and its values are no classes"
        use = "remove it there if nothing needs it"
    return (
        f"{what}: {field} is carried along in input.metadata, and shown to no model, to which it might give the answer "
        f"away; {use}, and among modalities.{look_of_field.kind}.fields it would be an input"
    )


def modalities(look: Look, taken: set[str]) -> dict[str, dict[str, Any]]:
    """The section ``modalities``: each that a field is of, with settings that fit its members.

    One whose members do not tell what it requires, such as a shape, is left out.

    Args:
        look: The samples.
        taken: Fields that are something else.
    """
    sections: dict[str, dict[str, Any]] = {}
    for name, config in kinds().items():
        free = {key: field for key, field in look.fields.items() if key not in taken}
        fields = [key for key, field in free.items() if field.kind == name and field.holds(config)]
        # What is of this kind alone is decoded rather than what is of another's as well.
        fields += [
            key
            for key, field in free.items()
            if field.format in config.SHARED_FORMATS and field.holds(config)
        ]
        if not fields:
            continue
        members = [data for field_name in fields for data in look.fields[field_name].contents]
        section = {"fields": fields, **config.suited_to(members)}
        if config.required() <= section.keys():
            sections[name] = section
    return sections


def _used(tree: Mapping[str, Any], fields: Container[str]) -> Iterator[str]:
    for section in (tree["modalities"] or {}).values():
        yield from section["fields"]
    yield from tree["input"].get("metadata", [])
    label = tree.get("objective", {}).get("label", "")
    yield label
    yield label_place(label, fields)[0]


def _text(tree: Mapping[str, object], look: Look, start: Start, withheld: Sequence[str]) -> str:
    about = {
        "run": "everything the jobs write lies below",
        "input": "\n".join(withheld),
        "modalities": f"guessed from {look.samples} samples: {_fields(look.fields)}",
        "objective": "what the model learns; label: a field, or json.path inside one",
        "pack": "python -m jobs.pack makes the shards from this",
    }
    blocks = []
    for name, section in tree.items():
        comment = "".join(f"# {line}\n" for line in _wrapped(about.get(name, "")))
        body = yaml.safe_dump({name: section}, sort_keys=False, allow_unicode=True, width=100)
        blocks.append(comment + body)
    order = ["jobs.pack"] * bool(start.pack) + ["jobs.lint"]
    if "objective" in tree:
        order += ["jobs.train", "jobs.infer", "jobs.evaluate", "jobs.report"]
    head = f"# Run these, each with this file: {', '.join(order)}\n"
    return head + "\n" + "\n".join(blocks)


def _wrapped(text: str) -> list[str]:
    """The lines of a comment."""
    return [line for sentence in text.splitlines() for line in wrap(sentence, width=110)]


def _fields(fields: Mapping[str, FieldLook]) -> str:
    return ", ".join(
        f"{name} ({field_look.kind}, {field_look.samples})" for name, field_look in fields.items()
    )


def advice(notes: Sequence[str], path: str, *, is_packed: bool) -> str:
    """What to do with the file, for a terminal."""
    lines = [f"wrote {path}", *(f"  look: {note}" for note in notes)]
    job = "lint" if is_packed else "pack"
    return "\n".join([*lines, f"next: python -m jobs.{job} {path}"])

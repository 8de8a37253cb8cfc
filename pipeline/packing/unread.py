"""Fields that were packed and that no job will read: named, with what to do about them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pipeline.modalities import kinds
from pipeline.modalities.content import EXTENSIONS, SNIFFED_BYTES, TEXT, sniff
from pipeline.modalities.known_kinds import expected_kind, kinds_of_formats
from pipeline.packing.reading import Reading


def unread_fields(
    heads: Mapping[str, bytes], reading: Reading, *, from_folder: bool
) -> Iterator[str]:
    """A sentence for each field that no job reads.

    Args:
        heads: Field -> the beginning of the content of one of them.
        reading: How the other jobs read fields.
        from_folder: Whether fields are extensions of files, rather than named for columns.
    """
    for name, head in sorted(heads.items()):
        if not reading.kind(name):
            ways = "; ".join(_ways(name, head, reading, from_folder=from_folder))
            yield f"no modality reads the field {name}: {ways}"


def _ways(name: str, head: bytes, reading: Reading, *, from_folder: bool) -> Iterator[str]:
    last = name.rpartition(".")[2]
    format_ = sniff(head[:SNIFFED_BYTES])
    kind = expected_kind(last) or kinds_of_formats().get(format_, "")
    usual = _usual(last, format_, kind, reading)
    if from_folder and last != name and last in reading.modality_of:
        yield f"set pack.extension=last_dot, which reads it as {last}"
    elif from_folder and usual:
        yield f"rename the files to end in .{usual}"
    elif usual:
        yield f"call it {usual} in pack.columns"
    if kind in kinds():
        yield f"add {name} to modalities.{reading.modalities.name_for(kind)}.fields"
    if kind in ("", kinds_of_formats()[TEXT]):
        yield f"set objective.label={name} where it is the label, or name it in input.metadata to carry it along"


def _usual(last: str, format_: str, kind: str, reading: Reading) -> str:
    """A field that is read as such content."""
    formats = EXTENSIONS.get(last, (format_,))
    for extension, its in EXTENSIONS.items():
        if its[0] in formats and reading.kind_of_modality(extension) == kind:
            return extension
    return next(
        (field for field in reading.modality_of if reading.kind_of_modality(field) == kind), ""
    )

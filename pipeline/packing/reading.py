"""What the other jobs will read of a sample, and what they would refuse: asked of their own checks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from pipeline.errors import SampleError
from pipeline.limits import Limits
from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.modalities.decoding.naming import under_name
from pipeline.modalities.decoding.targets import Target, read_label
from pipeline.modalities.known_kinds import expected_kind
from pipeline.runs import fingerprint
from pipeline.sample import Fault, Field, Sample
from pipeline.shards.reading.walk import group_fault
from pipeline.shards.tar.grouping import Group, group_members
from pipeline.shards.tar.members import Member

LABEL_FIELDS = ("cls", "label")


@dataclass(frozen=True)
class Reading:
    """How the other jobs of a configuration read samples.

    Attributes:
        modalities: Those that are configured; all of them, as they are by default, unless given.
        metadata: Fields that are carried along.
        target: What jobs read beside the modalities; None where the configuration names none.
        limits: What is not read.
    """

    modalities: ModalitiesConfig = field(default_factory=ModalitiesConfig.of_every_kind)
    metadata: tuple[str, ...] = ()
    target: Target | None = None
    limits: Limits = field(default_factory=Limits)

    @cached_property
    def modality_of(self) -> Mapping[str, str]:
        """Field -> the modality that reads it."""
        configs = self.modalities.by_name()
        return {name: modality for modality, section in configs.items() for name in section.fields}

    def is_label(self, name: str) -> bool:
        """Whether labels are read from a field; both names of it count where none is configured."""
        if self.target is None:
            return name in LABEL_FIELDS
        return any(path == name or path.startswith(f"{name}.") for path in self.target.places)

    def kind(self, name: str) -> str:
        """What a field is for: the modality that reads it, ``label``, ``metadata``, or empty where no job reads it."""
        if name in self.modality_of:
            return self.modality_of[name]
        if name in self.metadata:
            return "metadata"
        if self.is_label(name):
            return "label"
        return "metadata" if _is_json(name) else ""

    def is_value(self, name: str) -> bool:
        """Whether a cell for a field usually holds the content itself, rather than the path of a file."""
        return self.modalities.is_value(self.modality_of.get(name, ""))

    def kind_of_content(self, name: str) -> str:
        """What a field's content is by its modality, or else by its extension: ``text``, ``image``, ...; or empty."""
        return self.kind_of_modality(name) or expected_kind(name)

    def kind_of_modality(self, name: str) -> str:
        """The kind of the modality that reads a field; empty where none does."""
        return self.modalities.kinds().get(self.modality_of.get(name, ""), "")

    def encode(self, name: str, text: str) -> bytes:
        """The bytes of a text, as the readers of its field take them.

        Raises:
            SampleError: It holds half of a character, or one that ``modalities.text.encoding`` lacks.
        """
        config = self.modalities.by_name().get(self.modality_of.get(name, ""))
        encoding = config.text_encoding() if config is not None else "utf-8"
        reason = {"label": "bad_label", "metadata": "bad_metadata"}.get(self.kind(name), "bad_text")
        try:
            data = text.encode(encoding)
        except UnicodeEncodeError as error:
            letter = text[error.start]
            half = "\ud800" <= letter <= "\udfff"
            what = "half of a character (a lone surrogate)" if half else f"no {letter!r}"
            what = f"the text has {what}" if half else f"{encoding} has {what}"
            raise SampleError(what, reason=reason, field=name) from None
        return data

    def label_of(self, fields: Mapping[str, bytes]) -> str | None:
        """The label of a sample; None where it has none.

        Raises:
            SampleError: It cannot be read.
        """
        try:
            sample = _sample("", fields)
            if self.target is not None:
                return self.target.read(sample, self.limits.json_depth)
            name = next((name for name in LABEL_FIELDS if name in fields), "cls")
            return read_label(sample, name, self.limits.json_depth)
        except SampleError as error:
            if error.reason == "missing_label":
                return None
            raise

    def check(self, key: str, fields: Mapping[str, bytes]) -> None:
        """Refuses a sample that another job would refuse without decoding its pictures and sounds.

        Raises:
            SampleError: For its key, its fields, the size, label, metadata or JSON, a text, or since it holds nothing
                that any modality reads.
        """
        self._check_members(key, {name: len(data) for name, data in fields.items()})
        self.label_of(fields)
        configs = self.modalities.by_name()
        json = {name for name in fields if _is_json(name)}
        Decoder(
            codecs={},
            fields={name: config.fields for name, config in configs.items()},
            metadata=tuple(sorted(json.union(self.metadata))),
            limits=self.limits,
        ).check(_sample(key, fields))
        for name, data in fields.items():
            if name in self.modality_of:
                modality = self.modality_of[name]
                try:
                    configs[modality].check_content(memoryview(data), name)
                except SampleError as error:
                    raise under_name(error, modality) from None

    def _check_members(self, key: str, sizes: Mapping[str, int]) -> None:
        members = [Member(f"{key}.{name}", 0, 0, size) for name, size in sorted(sizes.items())]
        groups = [group for group in group_members(members) if isinstance(group, Group)]
        if len(groups) != 1:
            raise SampleError("readers pass over such a name", reason="bad_key")
        group = groups[0]
        fault = group_fault("", group, 0, repeat="", limits=self.limits)
        if fault is not None:
            raise _error(fault)
        if group.key != key or [name for name, _ in group.members] != sorted(sizes):
            raise SampleError("readers give the name back as another one", reason="bad_key")

    def load(self, name: str, content: bytes | Path) -> bytes:
        """The content of a field.

        Raises:
            SampleError: Its file cannot be read, or is larger than readers take.
        """
        if isinstance(content, bytes):
            return content
        try:
            with content.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size > self.limits.member_bytes:
                    self._check_members("sample", {name: size})
                return file.read()
        except OSError as error:
            what = f"{content!s} cannot be read: {error.strerror}"
            raise SampleError(what, reason="unreadable", field=name) from None

    def identity(self) -> str:
        """Digest of all that decides whether a sample is refused."""
        values: dict[str, object] = {
            "modalities": self.modalities.model_dump(mode="json"),
            "metadata": list(self.metadata),
            "label": self.target.identity if self.target else None,
            "limits": self.limits.model_dump(mode="json"),
        }
        return fingerprint(values)


def _is_json(name: str) -> bool:
    return name.rpartition(".")[2] == "json"


def _sample(key: str, fields: Mapping[str, bytes]) -> Sample:
    members = {name: Field(memoryview(data), 0, len(data)) for name, data in fields.items()}
    return Sample(key, "", 0, members)


def _error(fault: Fault) -> SampleError:
    name = fault.source.field or ""
    return SampleError(fault.detail, reason=fault.reason, field=name, setting=fault.setting)

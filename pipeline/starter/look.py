"""What the fields of some samples hold: of which kind they are, and what could be a label."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field

from pipeline.modalities.base import ModalityConfig
from pipeline.modalities.content import SNIFFED_BYTES, TEXT, UNKNOWN, sniff
from pipeline.modalities.known_kinds import kinds_of_formats

# Of each field, the contents that are kept to be measured.
KEPT = 64
# A label is short, and hardly a sentence.
LABEL_BYTES, LABEL_WORDS = 80, 4
# A label comes so often, on average; a name of the sample's own does not.
REPEATED = 3
LABEL_NAMES = ("cls", "label", "class", "category", "target", "y")
# What the collector of a data set notes of a sample, rather than what is in it.
BOOKKEEPING_NAMES = {
    "split",
    "subset",
    "partition",
    "fold",
    "source",
    "annotator",
    "license",
    "licence",
}
_SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val"}
_SPLITS |= {"dev": "val", "test": "test", "testing": "test", "eval": "test"}


@dataclass
class FieldLook:
    """One field.

    Attributes:
        samples: How many have it.
        formats: Format of the content (:func:`pipeline.modalities.content.sniff`) -> samples.
        contents: Of the first samples, to be measured.
        texts: Short texts -> samples.
    """

    samples: int = 0
    formats: Counter[str] = field(default_factory=Counter)
    contents: list[memoryview] = field(default_factory=list)
    texts: Counter[str] = field(default_factory=Counter)

    @property
    def kind(self) -> str:
        """What most of the contents are (:func:`pipeline.modalities.known_kinds.kinds_of_formats`)."""
        kinds = Counter[str]()
        for name, number in self.formats.items():
            kinds[kinds_of_formats().get(name, UNKNOWN)] += number
        return kinds.most_common(1)[0][0] if kinds else UNKNOWN

    @property
    def format(self) -> str:
        """The format of most of the contents."""
        return self.formats.most_common(1)[0][0] if self.formats else UNKNOWN

    def holds(self, modality: type[ModalityConfig]) -> bool:
        """Whether any of the contents that were kept holds something of a modality, by its header."""
        return any(map(modality.is_in, self.contents))

    def add(self, data: memoryview) -> None:
        """Looks at one content."""
        self.samples += 1
        content = sniff(bytes(data[:SNIFFED_BYTES]))
        self.formats[content] += 1
        if len(self.contents) < KEPT:
            self.contents.append(data)
        if content == TEXT and len(data) <= LABEL_BYTES:
            self.texts[bytes(data).decode("utf-8", "replace").strip()] += 1

    @property
    def could_be_label(self) -> bool:
        """Whether the texts are few words that come again and again."""
        return self.texts.total() == self.samples and is_label(self.texts)


@dataclass
class Look:
    """The first samples of a source.

    Attributes:
        samples: How many were looked at.
        fields: Field -> what it holds, in the order in which they were met.
    """

    samples: int = 0
    fields: dict[str, FieldLook] = field(default_factory=dict)

    @classmethod
    def at(cls, samples: Iterable[Mapping[str, memoryview]]) -> Look:
        """Looks at samples, each as field -> content."""
        look = cls()
        for sample in samples:
            look.samples += 1
            for name, data in sample.items():
                look.fields.setdefault(name, FieldLook()).add(data)
        return look

    def label(self) -> str | None:
        """The field, or ``json.path``, that looks most like a label; None where nothing does."""
        candidates = [
            name
            for name, field in self.fields.items()
            if field.could_be_label and not is_bookkeeping(name, field.texts)
        ]
        paths = {
            f"{name}.{path}"
            for name, field in self.fields.items()
            if name.rpartition(".")[2] == "json"
            for path in _json_labels(field.contents)
        }
        for usual in LABEL_NAMES:
            # Shards may be sorted by class, so that the first samples have but one.
            if usual in candidates or (
                (look := self.fields.get(usual)) and len(look.texts) == 1 < look.samples
            ):
                return usual
        for usual in LABEL_NAMES:
            for path in sorted(paths):
                if path.rpartition(".")[2] == usual:
                    return path
        return candidates[0] if candidates else None

    def other_labels(self, taken: Container[str | None]) -> list[str]:
        """The fields beside those taken that look like a label, or are called like one: shown to a model, they may give
        the answer away.
        """
        return [
            name
            for name, field in self.fields.items()
            if name not in taken
            and (
                field.could_be_label
                or (is_called_label(name) and field.texts.total() == field.samples)
            )
        ]

    def holds_numbers(self, field: str) -> bool:
        """Whether a field holds a number with hardly two samples alike."""
        texts = self.fields[field].texts
        return not is_label(texts) and all(map(_is_number, texts))


def split_called(text: str) -> str | None:
    """The split that goes by a word in data sets, as ``val`` by ``dev``; None where none does."""
    return _SPLITS.get(text.lower())


def is_bookkeeping(field: str, values: Iterable[str]) -> bool:
    """Whether a field tells where a sample is from or what it is used for, by its name or as all values are splits."""
    if BOOKKEEPING_NAMES.intersection(field.lower().split(".")):
        return True
    return field.lower() not in LABEL_NAMES and all(map(split_called, values))


def is_called_label(field: str) -> bool:
    """Whether a field's extension is a usual name of labels."""
    return field.rpartition(".")[2] in LABEL_NAMES


def is_label(values: Counter[str]) -> bool:
    """Whether values are classes: two and more short ones, which come again."""
    return (
        len(values) > 1
        and values.total() >= REPEATED * len(values)
        and all(value and len(value.split()) <= LABEL_WORDS for value in values)
    )


def _json_labels(contents: Iterable[memoryview]) -> list[str]:
    """Names at the top of JSON objects whose values look like labels."""
    values: dict[str, Counter[str]] = {}
    for data in contents:
        try:
            tree = json.loads(bytes(data))
        except (ValueError, RecursionError):
            continue
        for name, value in tree.items() if isinstance(tree, dict) else ():
            if isinstance(value, str | int) and not isinstance(value, bool):
                values.setdefault(name, Counter())[str(value)] += 1
    return [
        name
        for name, counted in values.items()
        if is_label(counted) and not is_bookkeeping(name, counted)
    ]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True

"""What was packed: samples by split, modality and class."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.packing.reading import Reading

# Names that are told; of more, their number.
NAMED = 12
# Labels that hardly ever come twice are no classes.
_REPEATED = 2


@dataclass(frozen=True)
class PackedSplit:
    """What was packed of a split.

    Attributes:
        samples: Its samples.
        modalities: Modality, ``label`` or ``metadata`` -> samples that have it.
        classes: Label -> samples; empty where labels are no classes.
    """

    samples: int
    modalities: Mapping[str, int]
    classes: Mapping[str, int]


@dataclass
class Census:
    """Counts of the samples that were written.

    Attributes:
        samples: Split -> samples.
        modalities: Split -> modality, ``label`` or ``metadata`` -> samples that have it.
        fields: Field -> samples that have it.
        classes: Split -> label -> samples.
    """

    samples: Counter[str] = field(default_factory=Counter)
    modalities: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    fields: Counter[str] = field(default_factory=Counter)
    classes: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    def add(self, split: str, fields: Iterable[str], label: str | None, reading: Reading) -> None:
        """Counts a sample."""
        self.samples[split] += 1
        self.fields.update(list(fields))
        self.modalities[split].update({kind for kind in map(reading.kind, fields) if kind})
        if label is not None:
            self.classes[split][label] += 1

    @property
    def has_classes(self) -> bool:
        """Whether the labels are classes, and not a value of each sample's own."""
        labels: Counter[str] = sum(self.classes.values(), Counter())
        return bool(labels) and labels.total() >= _REPEATED * len(labels)

    def splits(self) -> dict[str, PackedSplit]:
        """The counts of each split."""
        return {
            split: PackedSplit(
                samples=number,
                modalities=dict(sorted(self.modalities[split].items())),
                classes=dict(sorted(self.classes[split].items())) if self.has_classes else {},
            )
            for split, number in self.samples.items()
        }

    def notes(self) -> Iterator[str]:
        """Splits without samples, and classes that a split lacks."""
        for split, number in self.samples.items():
            if not number and self.samples.total():
                yield f"the split {split} is empty"
        if not self.has_classes:
            return
        classes: set[str] = set().union(*self.classes.values())
        for split, number in self.samples.items():
            lacking = sorted(classes - self.classes[split].keys())
            if number and lacking:
                yield f"the split {split} lacks {len(lacking)} of {len(classes)} classes: {some(lacking)}"


def some(names: Sequence[str]) -> str:
    """The first of some names, and how many more there are."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def table(splits: Mapping[str, PackedSplit]) -> list[str]:
    """The lines of :meth:`Census.splits`: one a split, with its samples by modality and by class."""
    kinds = sorted({kind for split in splits.values() for kind in split.modalities})
    width = max(map(len, [*splits, "split"]), default=0)
    lines = [
        "  ".join([f"  {'split':<{width}}", f"{'samples':>8}", *(f"{kind:>8}" for kind in kinds)])
    ]
    for name, split in splits.items():
        numbers = [split.modalities.get(kind, 0) for kind in kinds]
        cells = [
            f"{number:>{max(8, len(kind))}}" for number, kind in zip(numbers, kinds, strict=True)
        ]
        lines.append("  ".join([f"  {name:<{width}}", f"{split.samples:>8}", *cells]))
    for name, split in splits.items():
        if split.classes:
            frequent = sorted(split.classes.items(), key=lambda item: (-item[1], item[0]))
            shown = some([f"{label} {number}" for label, number in frequent])
            lines.append(f"  classes of {name}: {shown}")
    return lines

"""What lint tells of shards: the records of ``lint.json``, and how they are written and read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from pipeline.metrics.distribution import Spread

VERSION = 1

Level = Literal["error", "warning", "note"]
# Of members' headers: the spread of a number, how often each of a few values comes, or how many members there are.
Quantity = Annotated[Spread | Mapping[str, int] | int, Field(union_mode="left_to_right")]


@dataclass(frozen=True)
class Problem:
    """What should worry the reader.

    Attributes:
        level: How much.
        what: In words, behind the count.
        count: Samples, members, shards, keys or classes.
        examples: The first few places.
    """

    level: Level
    what: str
    count: int
    examples: Sequence[str] = ()


@dataclass(frozen=True)
class FieldUse:
    """A field of the samples.

    Attributes:
        use: What a setting reads it as: a modality, ``metadata`` or ``label``; empty where none does.
        bytes: Sizes of its members.
    """

    use: str
    bytes: Spread


@dataclass(frozen=True)
class Contents:
    """What is in the shards of a split, or of all; the counts as in :class:`pipeline.inspection.census.Census`.

    Attributes:
        shards: Shards looked at.
        shards_damaged: Those with damage.
        samples: Samples, the bad ones included.
        samples_bad: Samples that decoding is bound to refuse.
        samples_noted: Good samples with something odd about them.
        members: Files in the shards.
        bytes: Size of the shards.
        sample_bytes: Content of each sample.
        shard_samples: Samples of each shard.
        shard_bytes: Size of each shard.
        modalities: Modalities of a sample joined by ``+`` -> samples, the most frequent first.
        lacking: Modality -> samples without it.
        fields: Field -> its use and sizes, the most frequent first.
        media: Modality -> ``formats`` and what else headers tell -> its values.
        labels: Label -> samples, the most frequent first.
        respelled: Label -> samples in which it is in another Unicode form.
        unlabelled: Reason -> samples without a usable label.
        damage: Reason -> places where a shard is damaged.
        strays: Kind -> members that belong to no sample.
        bad: Reason -> bad samples.
        noted: Reason -> good samples with something odd about them.
        settings: Reason -> setting that would let them through -> samples and damages.
        misnamed: ``field.content`` -> members whose content is not what the extension promises.
        indexes: What became of a shard's index -> shards.
    """

    shards: int
    shards_damaged: int
    samples: int
    samples_bad: int
    samples_noted: int
    members: int
    bytes: int
    sample_bytes: Spread
    shard_samples: Spread
    shard_bytes: Spread
    modalities: Mapping[str, int] = field(default_factory=dict)
    lacking: Mapping[str, int] = field(default_factory=dict)
    fields: Mapping[str, FieldUse] = field(default_factory=dict)
    media: Mapping[str, Mapping[str, Quantity]] = field(default_factory=dict)
    labels: Mapping[str, int] = field(default_factory=dict)
    respelled: Mapping[str, int] = field(default_factory=dict)
    unlabelled: Mapping[str, int] = field(default_factory=dict)
    damage: Mapping[str, int] = field(default_factory=dict)
    strays: Mapping[str, int] = field(default_factory=dict)
    bad: Mapping[str, int] = field(default_factory=dict)
    noted: Mapping[str, int] = field(default_factory=dict)
    settings: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    misnamed: Mapping[str, int] = field(default_factory=dict)
    indexes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Repeat:
    """A key that is in two places.

    Attributes:
        key: The key.
        shards: Both shards.
        same_fields: Fields that hold the same bytes in both.
    """

    key: str
    shards: tuple[str, str]
    same_fields: tuple[str, ...]


@dataclass(frozen=True)
class RepeatedKeys:
    """How many keys are in two places, and the first few of them."""

    keys: int
    examples: tuple[Repeat, ...]


@dataclass(frozen=True)
class Duplicates:
    """Keys that come more than once.

    Attributes:
        within_shards: Samples whose key an earlier sample of their shard has.
        across_shards: Split -> keys that are in several of its shards; splits that have some.
        across_splits: ``train & test`` -> keys that are in both; pairs that have some.
    """

    within_shards: int = 0
    across_shards: Mapping[str, RepeatedKeys] = field(default_factory=dict)
    across_splits: Mapping[str, RepeatedKeys] = field(default_factory=dict)


@dataclass(frozen=True)
class Estimate:
    """The cost of preprocessing.

    Attributes:
        of: The splits that it is for.
        drawn: Samples measured.
        samples: Samples it is carried over to.
        decode_cpu_seconds: CPU time of decoding.
        error_fraction: Standard error of it, as a fraction.
        write_cpu_seconds: CPU time of writing Parquet.
        cores: Of this machine, as many as the job would use.
        wall_seconds: At best: that time divided by the cores, the start of the job left out.
        output_bytes: Size of the Parquet files.
        decoded_bytes: Size of the decoded rows in memory, all of them.
        peak_memory_bytes: Of the workers, with one part in work on each core.
    """

    of: tuple[str, ...]
    drawn: int
    samples: int
    decode_cpu_seconds: float
    error_fraction: float
    write_cpu_seconds: float
    cores: int
    wall_seconds: float
    output_bytes: int
    decoded_bytes: int
    peak_memory_bytes: int


@dataclass(frozen=True)
class LintReport:
    """The content of ``lint.json``.

    Attributes:
        problems: The most serious first.
        total: All splits together.
        splits: Split -> what is in its shards.
        duplicates: Keys that come more than once.
        estimate: None where it was not asked for, or nothing can be decoded.
        version: Of the layout.
    """

    problems: tuple[Problem, ...]
    total: Contents
    splits: Mapping[str, Contents]
    duplicates: Duplicates = field(default_factory=Duplicates)
    estimate: Estimate | None = None
    version: int = VERSION

    def to_json(self) -> dict[str, object]:
        """The layout of ``lint.json``: a spread of no values has no quantiles, and no estimate is null."""
        values = asdict(self, dict_factory=_tree)
        return {"version": values.pop("version"), **values, "estimate": values.get("estimate")}

    @classmethod
    def from_json(cls, values: object) -> LintReport:
        """The other way round."""
        return TypeAdapter(cls).validate_python(values)


def _tree(pairs: list[tuple[str, object]]) -> dict[str, object]:
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in pairs
        if value is not None
    }

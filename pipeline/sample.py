"""A sample, where it came from, and the columns that carry it through the pipeline."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from pipeline.errors import require_setting

# Columns that every block of decoded samples has, in this order, before its modalities.
KEY = "key"  # string, null for damage to the shard itself
SHARD = "shard"  # string, path below the pattern's fixed prefix
ORDINAL = "ordinal"  # int64, position of the sample in its shard
PART = "part"  # string, the part's description as JSON (pipeline.shards.planning.plan.Part)
# The ledger of a part, in each of its rows: what the reader counted in the archive, whatever rows came of it.
PART_ROWS = "part_rows"  # int32, samples, and damages of the shard
PART_SAMPLES = "part_samples"  # int32, samples
PART_STRAYS = "part_strays"  # int32, members that belong to no sample
MODALITIES = "modalities"  # list<string>, those present
LABEL = "label"  # string, null where absent
ERROR = "error"  # struct, null for a good sample
DROPPED = "dropped"  # list<struct>, fields that a sample is kept without
REMARKS = "remarks"  # list<struct>, what is odd about fields of a good sample

# What became of the sample of a quarantine row, in its column ``outcome``.
OUTCOME = "outcome"
QUARANTINED = "quarantined"  # left out for its reason; the row of a damaged shard too
FILTERED = "filtered"  # left out because a filter of the configuration says so
FIELD_DROPPED = "field dropped"  # kept without this field (input.on_bad_field)
NOTED = "noted"  # kept whole, although something about this field is odd

ERROR_TYPE = pa.struct(
    [
        ("field", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("setting", pa.string()),  # that would let the sample through, where there is one
        ("offset", pa.int64()),
        ("size", pa.int64()),
        ("bytes", pa.binary()),  # the raw member, where it is kept
    ]
)

BASE_SCHEMA = pa.schema(
    [
        (KEY, pa.string()),
        (SHARD, pa.string()),
        (ORDINAL, pa.int64()),
        (PART, pa.string()),
        (PART_ROWS, pa.int32()),
        (PART_SAMPLES, pa.int32()),
        (PART_STRAYS, pa.int32()),
        (MODALITIES, pa.list_(pa.string())),
        (LABEL, pa.string()),
        (ERROR, ERROR_TYPE),
        (DROPPED, pa.list_(ERROR_TYPE)),
        (REMARKS, pa.list_(ERROR_TYPE)),
    ]
)

QUARANTINE_SCHEMA = pa.schema(
    [
        (KEY, pa.string()),
        (SHARD, pa.string()),
        (ORDINAL, pa.int64()),
        *ERROR_TYPE,
        (OUTCOME, pa.string()),
    ]
)

# The vocabulary of quarantine reasons; modalities may add words of their own (ModalityConfig.REASONS).
REASONS: Mapping[str, str] = {
    "not_tar": "the shard is not a tar archive",
    "empty_shard": "the shard holds no samples",
    "bad_header": "a tar header is damaged",
    "truncated_shard": "the shard ends before its declared content does",
    "missing_end": "the shard has no end-of-archive marker",
    "trailing_data": "there is data after the end-of-archive marker",
    "bad_compression": "the compressed shard cannot be unpacked further",
    "unreadable": "the shard could not be read",
    "unsafe_member": "a link, device or other special member",
    "no_extension": "a member without an extension belongs to no field",
    "duplicate_key": "an earlier sample of the shard has the same key",
    "interleaved": "members of other samples lie between those of this one",
    "duplicate_field": "the sample holds the same field twice",
    "no_modality": "the sample has none of the configured fields",
    "bad_image": "the image cannot be decoded",
    "bad_audio": "the audio cannot be decoded",
    "bad_text": "the text cannot be decoded",
    "bad_metadata": "a metadata field is not valid",
    "too_large": "a declared size is over its limit",
    "decoder_crashed": "decoding the sample ended its process, twice",
    "decoder_timeout": "decoding the sample took longer than its limit, twice",
    "decoder_memory": "decoding the sample took more memory than its limit, twice",
    "missing_label": "the sample has no label",
    "bad_label": "the label cannot be read",
    "unknown_label": "the label is not one of the model's classes",
    "too_short": "the sample is too short for its text",
    "missing_file": "a file that the packed table names is not there",
    "bad_key": "the key cannot name a sample of a shard",
    "bad_row": "the row of the packed table cannot be used",
    "outside_source": "a file that the packed table names lies outside the folder of the table",
}


# Why a sample that nothing is wrong with is left out: a setting asks for it. These are counted as filtered, and never
# add to the bad fraction.
FILTERS: Mapping[str, str] = {
    "filtered_size": "the image's short side is below image.filter.min_side",
    "filtered_aspect": "the image's long side is over image.filter.max_aspect times its short side",
    "filtered_blank": "the image's contrast is below image.filter.min_contrast",
    "filtered_duration": "the sound is shorter or longer than audio.filter allows",
    "filtered_silence": "more of the sound is silent than audio.filter.max_silence_fraction",
    "filtered_clipping": "more of the sound is clipped than audio.filter.max_clipped_fraction",
    "filtered_length": "the text is shorter or longer than text.filter allows",
    "filtered_repetition": "more of the text is one phrase again and again than text.filter.max_repetition",
    "filtered_script": "most letters of the text are of none of text.filter.scripts",
    "filtered_modality": "the sample has none of the modalities that the encoder of infer.model takes",
    "filtered_duplicate": "an earlier sample has the same content, byte for byte",
    "filtered_near_duplicate": "an earlier sample looks, reads and sounds nearly the same",
    "filtered_leak": "a sample of input.val or input.test has the same, or nearly the same, content",
}


# What is odd about a sample that is used all the same, as every player would use it. These are counted as noted, beside
# the samples that are written, and never add to the bad fraction.
NOTES: Mapping[str, str] = {
    "noted_cut_end": "less than a frame, or at most 1 % of what is declared, is missing at the sound's end",
    "noted_count": "the header's count does not fit, and every frame of the sound is whole",
    "noted_tracks": "the file holds several sounds side by side; the first is used",
    "noted_rest": "behind the sound or array, the file holds bytes that belong to nothing",
    "noted_cut_target": "the text to be learned is cut at objective.max_tokens",
    "noted_cut_text": "the text that a model wrote is cut at infer.settings.max_new_tokens",
}


@dataclass(frozen=True, slots=True)
class Source:
    """Where a value lies: shard, key, field, byte offset and size in the shard."""

    shard: str
    key: str | None = None
    field: str | None = None
    offset: int | None = None
    size: int | None = None

    def __str__(self) -> str:
        parts = [f"shard={self.shard}"]
        parts += [
            f"{name}={value}"
            for name in ("key", "field")
            if (value := getattr(self, name)) is not None
        ]
        return " ".join(parts)


@dataclass(frozen=True, slots=True)
class Field:
    """One member of a sample: its bytes, and where they lie in the shard.

    Attributes:
        data: Its bytes; empty where the reader was told that nobody needs them.
        offset: Of the first of them, in the shard.
        size: How many there are.
    """

    data: memoryview
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Sample:
    """A key with one field per file extension, in lower case and without the leading dot.

    Attributes:
        key: Name of the members up to the first dot of the file name, folders included.
        shard: Name of the shard.
        ordinal: Position in the shard, counted from 0.
        fields: Extension -> member.
    """

    key: str
    shard: str
    ordinal: int
    fields: Mapping[str, Field]


@dataclass(frozen=True, slots=True)
class Fault:
    """A sample, or a stretch of a shard, that cannot be used.

    Attributes:
        source: Where; ``source.key`` is None for damage to the shard itself.
        ordinal: Position of the sample in the shard.
        reason: A word of :data:`REASONS`, :data:`FILTERS` or :data:`NOTES`.
        detail: What is wrong, in words, without the sample's bytes.
        setting: Dotted path of the setting that would let it through; empty where there is none.
        data: The raw member at fault, where it is to be kept.
        amends: Whether it takes back what was said of the sample of this ordinal before: where a shard is read from
            front to end, only its end tells that a key's members do not lie side by side.
    """

    source: Source
    ordinal: int
    reason: str
    detail: str
    setting: str = ""
    data: bytes | None = None
    amends: bool = False

    def __post_init__(self) -> None:
        require_setting(self.reason, self.setting)

    def to_row(self) -> dict[str, object]:
        """A value of :data:`ERROR_TYPE`."""
        return {
            "field": self.source.field,
            "reason": self.reason,
            "detail": self.detail,
            "setting": self.setting or None,
            "offset": self.source.offset,
            "size": self.source.size,
            "bytes": self.data,
        }


@dataclass(slots=True)
class Tally:
    """What a reader found in a part, counted where the archive is walked; complete when the part has been read.

    Attributes:
        samples: Samples, the bad ones and those that a filter leaves out included.
        damages: Damages of the shard itself.
        strays: Kind -> members that belong to no sample, and are passed over.
        ended: Whether the part was read to its end.
    """

    samples: int = 0
    damages: int = 0
    strays: Counter[str] = field(default_factory=Counter)
    ended: bool = False

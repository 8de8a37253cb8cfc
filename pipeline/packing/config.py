"""The settings of packing."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipeline.locations import Location
from pipeline.modalities.section import Section

DEFAULT_SPLIT = {"train": 0.8, "val": 0.1, "test": 0.1}


class PackConfig(Section):
    """What is packed into shards, and how it is split."""

    source: Location = Field(description="a local folder, or a table: CSV, TSV, JSONL or Parquet")
    output: Location = Field(description="the local folder that the shards are written to")
    name: str = Field(default="data", description="the shards are called NAME-SPLIT-000000.tar")
    columns: dict[str, str] = Field(
        default_factory=dict,
        description="of a table: field -> column, as in {jpg: photo, txt: caption, cls: label}; path: or value: "
        "before the column's name says what it holds",
    )
    key: str | None = Field(
        default=None, description="of a table: the column of the keys; rows are numbered without it"
    )
    values: tuple[str, ...] = Field(
        default=(),
        description="of a table: columns or fields that hold the value itself, never the path of a file",
    )
    text_from_file: bool = Field(
        default=False,
        description="of a table: columns of text fields hold paths of text files, not the texts",
    )
    root: Location | None = Field(
        default=None,
        description="of a table: the folder that its paths count from; the table's own unless given",
    )
    allow_outside: bool = Field(
        default=False,
        description="of a table: files outside the folder that paths count from, or behind links out of it, are packed",
    )
    delimiter: str | None = Field(
        default=None,
        description="of a CSV: what stands between cells, tab for a tabulator; found by looking unless given",
    )
    encoding: str | None = Field(
        default=None,
        description="of a CSV or JSONL table, by Python's name, such as gb18030; found by looking unless given",
    )
    label: Literal["folder"] | None = Field(
        default=None,
        description="of a folder: folder makes the first sub-folder's name the label, as field cls",
    )
    layout: Literal["auto", "flat", "joined"] = Field(
        default="auto",
        description="of a folder: joined makes one sample of images/1.jpg and captions/1.txt, flat makes two; auto "
        "joins sub-folders that hold one modality each and share names",
    )
    extension: Literal["first_dot", "last_dot"] = Field(
        default="first_dot",
        description="of a folder: where a file's extension begins: first_dot reads a.seg.png as the field seg.png of "
        "the sample a, last_dot as the field png of the sample a.seg",
    )
    split: dict[str, float] = Field(
        default_factory=lambda: dict(DEFAULT_SPLIT),
        description="split -> its share of the samples; a hash of the key decides",
    )
    split_column: str | None = Field(
        default=None, description="of a table: the column that names each row's split"
    )
    stratify: bool = Field(
        default=False,
        description="gives each class the same shares in every split; new samples may then move a few others of their "
        "class",
    )
    group: str | None = Field(
        default=None,
        description="of a table: the column whose value decides the split, so that samples that share it stay together",
    )
    seed: int = Field(default=0, description="of the split")
    overwrite: bool = Field(
        default=False,
        description="replaces shards of the same name that were made from another source or with other settings",
    )
    max_shard_bytes: int = Field(
        default=256 << 20, ge=1 << 10, description="of a shard; a larger sample is a shard alone"
    )
    max_shard_samples: int = Field(default=10_000, ge=1, description="in a shard")

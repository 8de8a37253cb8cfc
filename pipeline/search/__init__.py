"""Nearest neighbours among the rows that a sink wrote: by comparing all of them, or through an index."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipeline.modalities.section import Section

Index = Literal["exact", "usearch"]


class SearchConfig(Section):
    """How written embeddings are searched."""

    index: Index = Field(
        default="exact",
        description="exact compares every row; usearch makes an approximate index, once a snapshot, in RUN/search",
    )

"""Samples that are drawn at random, to be measured."""

from __future__ import annotations

from dataclasses import dataclass, field

from pipeline.shards.planning.plan import Part
from pipeline.shards.reading.outline import Outline


@dataclass(order=True, frozen=True)
class Pick:
    """A sample drawn at random: one of those with the smallest hashes.

    Attributes:
        rank: Minus the hash, so that a heap gives up the largest hash first.
        part: Where the sample lies.
        outline: Its members.
    """

    rank: int
    part: Part = field(compare=False)
    outline: Outline = field(compare=False)

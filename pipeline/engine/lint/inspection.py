"""What was found in a stretch of a split: counts, faults, and drawn samples."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field, replace

from pipeline.inspection.census import Census
from pipeline.inspection.picks import Pick
from pipeline.sample import Fault


@dataclass
class Inspection:
    """What was found in a stretch of a split.

    Attributes:
        census: The counts.
        faults: Quarantine rows.
        picks: The drawn samples, a heap.
    """

    census: Census = field(default_factory=Census)
    faults: list[Fault] = field(default_factory=list)
    picks: list[Pick] = field(default_factory=list)
    _places: dict[int, int] | None = field(default=None, repr=False)  # of faults, by ordinal
    _drawn: set[int] = field(default_factory=set, repr=False)

    def refuse(self, fault: Fault) -> None:
        """Notes a sample, or a stretch of a shard, that cannot be used."""
        if fault.amends:
            self._amend(replace(fault, amends=False))
            return
        self.faults.append(fault)
        self.census.refuse(fault)

    def note(self, fault: Fault) -> None:
        """Notes a good sample with something odd about it."""
        self.faults.append(fault)
        self.census.note(fault)

    def _amend(self, fault: Fault) -> None:
        """Puts a fault in the place of what was said of its sample before."""
        if self._places is None:
            faults = enumerate(self.faults)
            self._places = {f.ordinal: at for at, f in faults if f.source.key is not None}
            self._drawn = {pick.outline.ordinal for pick in self.picks}
        if fault.ordinal in self._drawn:
            self.picks = [pick for pick in self.picks if pick.outline.ordinal != fault.ordinal]
            heapq.heapify(self.picks)
        place = self._places.get(fault.ordinal)
        if place is None:
            self.census.good -= 1
            self.faults.append(fault)
        else:
            self.census.forgive(self.faults[place])
            self.faults[place] = fault
        self.census.refuse(fault)

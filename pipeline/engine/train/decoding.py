"""How a training gets the tables of its parts: decoded once to see what is good, and again for every epoch, or kept.

Imports neither Ray nor torch: it runs in the processes that decode.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from pipeline.engine.decoding.part import decode_part
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.objectives.checks import SampleCheck
from pipeline.shards.planning.plan import Part
from pipeline.sinks.quarantine import judged, set_bad_aside
from pipeline.training.parts import PartRows


@dataclass(frozen=True)
class GoodRows:
    """Decodes parts and sets bad samples aside; picklable.

    Attributes:
        decoder: How; one with a cache looks there first.
        run: The folder whose quarantine takes the bad ones.
        check: What looks at the good ones beside their targets; None where nothing has to.
        with_index: Whether keys and labels are kept of each part; see :class:`pipeline.training.parts.PartRows`.
    """

    decoder: Decoder
    run: str
    check: SampleCheck | None = None
    with_index: bool = False

    def table(self, part: Part) -> pa.Table:
        """The good samples of a part."""
        return self.good(decode_part(part, self.decoder))

    def good(self, table: pa.Table) -> pa.Table:
        """The good samples of a decoded part; the others go to the quarantine."""
        if self.check is not None:
            table = judged(table, self.check(table))
        return set_bad_aside(table, self.run)

    def describe(self, part: Part, table: pa.Table) -> PartRows:
        """What there is to know of a part, from its good samples."""
        return PartRows.of(part, table, with_index=self.with_index)

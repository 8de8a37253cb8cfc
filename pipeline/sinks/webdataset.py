"""Rows as samples of WebDataset shards: the members that a sample had, and what was made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from pipeline.errors import SinkError
from pipeline.limits import Limits
from pipeline.sample import KEY, ORDINAL, Sample
from pipeline.shards.planning.plan import Part
from pipeline.shards.reading.reader import read_part, settled
from pipeline.sinks.file_sink import FileSink
from pipeline.sinks.files.members import made_members
from pipeline.sinks.files.tar import samples_table

_WITHOUT = 1 << 62
# What was decoded was within the limits of the job, whatever they are.
_UNLIMITED = Limits(
    **{
        name: _WITHOUT
        for name, setting in Limits.model_fields.items()
        if setting.annotation is int and name != "json_depth"
    }
)


@dataclass(frozen=True)
class WebDatasetSink(FileSink):
    """Writes tar shards. The members of samples are read a second time: they never travel with the rows."""

    def rows(self, good: pa.Table, part: Part) -> pa.Table:
        """``key``, and ``members``: those of the sample, in the order of the shard, then what was made.

        What was made takes the place of a member of the same name, so that a job can be chained to itself.

        Raises:
            SinkError: The shard has changed since it was decoded.
        """
        good = good.sort_by([(name, "ascending") for name in self.order])
        members_by_sample = _members(part, frozenset(good[ORDINAL].to_pylist()))
        made = made_members(good, self.columns)
        samples: list[tuple[str, Mapping[str, bytes | memoryview]]] = []
        for key, ordinal, addition in zip(
            good[KEY].to_pylist(), good[ORDINAL].to_pylist(), made, strict=True
        ):
            members = members_by_sample.get((ordinal, key))
            if members is None:
                raise SinkError(
                    "a sample that was decoded is not in its shard any more",
                    where=f"shard={part.shard} key={key}",
                    fix="check that the shard is not being written, and run the job again",
                )
            samples.append((key, {**members, **addition}))
        return samples_table(samples).replace_schema_metadata(dict(self.footer))


def _members(
    part: Part, ordinals: frozenset[int]
) -> dict[tuple[int, str], Mapping[str, memoryview]]:
    """Ordinal and key -> extension -> content, of those samples of a part."""
    items = settled(read_part(part, _UNLIMITED))
    samples = (item for item in items if isinstance(item, Sample))
    return {
        (sample.ordinal, sample.key): {name: field.data for name, field in sample.fields.items()}
        for sample in samples
        if sample.ordinal in ordinals
    }

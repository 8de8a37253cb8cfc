"""The drawn samples themselves, and the tokenizer of their texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pipeline import runs, storage
from pipeline.config import Config
from pipeline.inspection.picks import Pick
from pipeline.sample import Field, Sample
from pipeline.shards.packed.source import is_packed, open_shard
from pipeline.shards.reading.reader import read_part


def tokenizer_for(config: Config, ranked: Sequence[Pick]) -> str | None:
    """The run's tokenizer, or one from the drawn texts: lint leaves none behind that later jobs would use."""
    tokenized = config.modalities.tokenized()
    if not tokenized:
        return None
    spec = next(iter(tokenized.values()))
    if spec.ready is not None:
        return spec.ready()
    url = storage.join(config.run, runs.TOKENIZER)
    if storage.exists(url):
        return storage.read_bytes(url).decode()
    configs = config.modalities.by_name()
    fields = [field for name in tokenized for field in configs[name].fields]
    texts: list[str] = []
    for sample in read_picks(ranked, fields):
        members = {name: member.data for name, member in sample.fields.items()}
        texts += config.modalities.training_texts(members)
    return spec.train(texts)


def read_picks(picks: Sequence[Pick], only: Sequence[str] | None = None) -> list[Sample]:
    """Reads drawn samples, in their order; those of one shard together."""
    read: dict[tuple[str, int], Sample] = {}
    for part in {pick.part.url: pick.part for pick in picks}.values():
        pick_by_ordinal = {
            pick.outline.ordinal: pick for pick in picks if pick.part.url == part.url
        }
        if is_packed(part.shard):
            samples = (item for item in read_part(part) if isinstance(item, Sample))
            read |= {(part.url, s.ordinal): s for s in samples if s.ordinal in pick_by_ordinal}
            continue
        source = open_shard(part.shard, part.url)
        for ordinal, pick in pick_by_ordinal.items():
            fields = {
                name: Field(source.read(member.offset, member.size), member.offset, member.size)
                for name, member in pick.outline.members
            }
            read[part.url, ordinal] = Sample(pick.outline.key, part.shard, ordinal, fields)
        source.close()
    return [
        replace(
            sample, fields={n: f for n, f in sample.fields.items() if only is None or n in only}
        )
        for pick in picks
        if (sample := read.get((pick.part.url, pick.outline.ordinal))) is not None
    ]

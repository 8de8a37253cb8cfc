"""Packing for tests, and what came of it."""

from pipeline.packing import pack as packing
from pipeline.packing.config import PackConfig
from pipeline.shards.planning.plan import expand, plan
from pipeline.shards.reading.reader import read_part


def pack(source, output, *, reading=None, **settings):
    return packing.pack(PackConfig(source=str(source), output=str(output), **settings), reading)


def samples(folder, name="data"):
    """Key -> field -> bytes, as our own reader reads the shards."""
    read = {}
    for part in plan(expand(str(folder / f"{name}-*.tar"))):
        for sample in read_part(part):
            read[sample.key] = {field: bytes(one.data) for field, one in sample.fields.items()}
    return read


def split_of_keys(folder, name="data"):
    return {
        sample.key: part.shard.split("-")[1]
        for part in plan(expand(str(folder / f"{name}-*.tar")))
        for sample in read_part(part)
    }

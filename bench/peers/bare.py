"""Two bare processes that talk to nobody: the physical limit, and what they write as Parquet.

``--kernels published`` are the fastest kernels known (``bench.limit``), ``ours`` is this project's Decoder. Both are
timed warm, after a first shard in each process. With ``--write`` the Decoder's tables, a file a part, are written as
pyarrow does without compression, or, with ``--layout ours``, in the encodings of the project's sink and with an fsync
for each file, as it does.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from bench.limit import Bare
from bench.peers import common
from bench.workload import MODALITIES
from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.shards.planning.plan import Part, expand, plan
from pipeline.shards.reading.reader import read_part

PROCESSES = 2
COLUMNS = ["key", "shard", "modalities", "image", "text", "audio"]


def main() -> None:
    options = common.parser(__doc__, kernels=("ours", "published"))
    options.add_argument("--layout", choices=("plain", "ours"), default="plain")
    given = options.parse_args()
    paths, tokenizer = common.files(given.shards), given.tokenizer.read_text()
    if given.write:
        samples, seconds = write_all(given, paths, tokenizer)
        common.answer(samples, [seconds], bytes=_size(given.write))
        return
    bare = Bare(PROCESSES, tokenizer)
    spent = [bare.run(given.kernels, [Path(path) for path in paths]) for _ in range(given.passes)]
    bare.close()
    common.answer(
        spent[0].samples,
        [one.wall_seconds for one in spent],
        decode_cpu_seconds=spent[0].cpu_seconds,
    )


def write_all(
    options: argparse.Namespace, paths: Sequence[str], tokenizer: str
) -> tuple[int, float]:
    """Decodes and writes every part; returns the samples and the seconds, start-up left out."""
    options.write.mkdir(parents=True, exist_ok=True)
    parts = plan(expand(paths))
    decoder = Decoder.build(ModalitiesConfig.model_validate(MODALITIES), tokenizer)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        PROCESSES,
        mp_context=context,
        initializer=_set_up,
        initargs=(decoder, str(options.write), options.layout),
    ) as pool:
        list(pool.map(_warm, [parts[0]] * PROCESSES * 2))
        began = time.perf_counter()
        samples = sum(pool.map(_write, parts))
        return samples, time.perf_counter() - began


_STATE: dict[str, Any] = {}


def _set_up(decoder: Decoder, folder: str, layout: str) -> None:
    _STATE.update(decoder=decoder, folder=folder, layout=layout)


def _warm(part: Part) -> int:
    return int(_STATE["decoder"].decode(read_part(part), part.to_json()).num_rows)


def _write(part: Part) -> int:
    table = _STATE["decoder"].decode(read_part(part), part.to_json()).select(COLUMNS)
    with open(Path(_STATE["folder"], f"{part.id}.parquet"), "wb") as file:
        if _STATE["layout"] == "ours":
            from pipeline.sinks import ParquetConfig
            from pipeline.sinks.files.parquet import write_tables

            write_tables(file, [table], ParquetConfig().row_group_mb << 20)
            file.flush()
            os.fsync(file.fileno())
        else:
            from pyarrow import parquet

            parquet.write_table(table, file, compression="none")
    return int(table.num_rows)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.parquet"))


if __name__ == "__main__":
    main()

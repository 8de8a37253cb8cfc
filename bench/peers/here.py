"""This project without Ray: decoded parts handed to a consumer in this process, in their order."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bench.peers import common
from bench.workload import MODALITIES
from pipeline.engine.executors.here import HereExecutor
from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.shards.planning.plan import expand, plan

PROCESSES = 2
PART_BYTES = 8 << 20  # a consumer that waits for its first batch wants small parts


@contextmanager
def peer(options: argparse.Namespace) -> Iterator[common.Pass]:
    parts = plan(expand(options.shards), PART_BYTES)
    modalities = ModalitiesConfig.model_validate(MODALITIES)
    decoder = Decoder.build(modalities, options.tokenizer.read_text())

    def one_pass() -> Iterator[common.Batch]:
        for table in executor.in_order(parts, decoder):
            for start in range(0, table.num_rows, common.BATCH_SAMPLES):
                rows = table.slice(start, common.BATCH_SAMPLES)
                yield common.Batch(rows.num_rows, lambda t=rows: _arrays(t, decoder))

    with HereExecutor(PROCESSES) as executor:
        yield one_pass


def _arrays(table: Any, decoder: Decoder) -> Any:
    columns = {name: table[name].combine_chunks() for name in decoder.codecs}
    dense = {name: decoder.codecs[name].collate(columns[name]).values for name in columns}
    return dense["image"], dense["audio"], dense["text"]


if __name__ == "__main__":
    common.run(peer, common.parser(__doc__, kernels=("ours",)).parse_args())

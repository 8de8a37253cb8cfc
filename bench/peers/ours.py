"""This project: the batch job with nothing kept, or decoded batches handed to a consumer, once or several times.

``--mode job`` is what ``jobs.preprocess`` does with ``sink.kind=none``, so that a second pass can follow in the same
process; ``--mode batches`` iterates as the peers do, in batches of the same size.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bench.peers import common
from bench.workload import MODALITIES
from pipeline.config import ClusterConfig, Config, validate
from pipeline.engine.cluster.session import connect
from pipeline.engine.executors.batch import BatchJob
from pipeline.engine.executors.dataset import read_parts
from pipeline.engine.executors.workplace import Workplace
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.runs import Summary
from pipeline.shards.planning.plan import expand, plan
from pipeline.sinks.none import NoneSink


@contextmanager
def peer(options: argparse.Namespace) -> Iterator[common.Pass]:
    config = configuration(options)
    decoder = Decoder.build(config.modalities, options.tokenizer.read_text())
    build = run_job if options.mode == "job" else iterate_batches
    with connect(config.cluster):
        yield lambda: build(options.shards, decoder)


def run_job(shards: str, decoder: Decoder) -> Iterator[common.Batch]:
    """The whole batch job; its samples are counted at the end."""
    with Workplace(ClusterConfig(executor="ray")) as workplace:
        parts = plan(expand(shards))
        job = BatchJob("preprocess", parts, decoder, NoneSink(), workplace=workplace)
        job.begin()
        summary = Summary("preprocess")
        job.run(summary)
    yield common.Batch(summary.samples_written, None)


def iterate_batches(shards: str, decoder: Decoder) -> Iterator[common.Batch]:
    """Decoded batches, as Arrow tables."""
    blocks = read_parts(plan(expand(shards)), decoder)
    for table in blocks.iter_batches(batch_size=common.BATCH_SAMPLES, batch_format="pyarrow"):
        yield common.Batch(table.num_rows, lambda t=table: _arrays(t, decoder))


def configuration(options: argparse.Namespace) -> Config:
    """The configuration of a job on these shards."""
    return validate({"run": "unused", "modalities": MODALITIES, "input": {"train": options.shards}})


def _arrays(table: Any, decoder: Decoder) -> Any:
    columns = {name: table[name].combine_chunks() for name in decoder.codecs}
    dense = {name: decoder.codecs[name].collate(columns[name]).values for name in columns}
    return dense["image"], dense["audio"], dense["text"]


if __name__ == "__main__":
    parser = common.parser(__doc__, kernels=("ours",))
    parser.add_argument("--mode", choices=("job", "batches"), default="batches")
    common.run(peer, parser.parse_args())

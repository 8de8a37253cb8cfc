"""Ray Data as its documentation teaches: read_webdataset, map_batches, iter_batches (or write_parquet).

With conventional kernels, ``read_webdataset`` decodes what it decodes unless told otherwise (photos to full size, texts
to strings), and the function does the rest. With ours, it hands over bytes.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from bench.peers import common, kernels


@contextmanager
def peer(options: argparse.Namespace) -> Iterator[common.Pass]:
    import ray

    ray.init(
        address="local", include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR
    )
    ray.data.DataContext.get_current().enable_progress_bars = False
    paths, tokenizer = common.files(options.shards), options.tokenizer.read_text()

    def one_pass() -> Iterator[common.Batch]:
        if options.kernels == "ours":
            read = ray.data.read_webdataset(paths, decoder=None)
            decoded = read.map_batches(with_our_kernels, fn_kwargs={"tokenizer": tokenizer})
        else:
            read = ray.data.read_webdataset(paths)
            decoded = read.map_batches(conventionally, fn_kwargs={"tokenizer": tokenizer})
        if options.write:
            decoded.write_parquet(str(options.write))
            yield common.written(options.write)
            return
        for batch in decoded.iter_batches():
            yield common.Batch(
                len(batch["key"]), lambda b=batch: (b["image"], b["audio"], b["text"])
            )

    try:
        yield one_pass
    finally:
        ray.shutdown()


def conventionally(batch: dict[str, np.ndarray], tokenizer: str) -> dict[str, Any]:
    """A batch with decoded photos, encoded sounds and texts -> what is wanted."""
    from PIL import Image

    photos = [kernels.conventional_image(Image.fromarray(photo)) for photo in batch["jpg"]]
    return {
        "key": batch["__key__"],
        "image": np.stack(photos),
        "audio": np.stack([kernels.conventional_log_mel(sound) for sound in batch["wav"]]),
        "text": np.stack([kernels.conventional_ids(text, tokenizer) for text in batch["txt"]]),
    }


def with_our_kernels(batch: dict[str, np.ndarray], tokenizer: str) -> dict[str, Any]:
    """A batch of bytes -> what is wanted."""
    ours = kernels.our_kernels(tokenizer)
    return {
        "key": batch["__key__"],
        "image": ours.images(batch["jpg"]),
        "audio": ours.log_mels(batch["wav"]),
        "text": ours.ids(batch["txt"]),
    }


if __name__ == "__main__":
    common.run(peer, common.parser(__doc__).parse_args())

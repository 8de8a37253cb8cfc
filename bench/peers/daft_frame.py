"""Daft, given Parquet files with the encoded bytes instead of tars.

With conventional kernels, photos are decoded, cropped and resized by Daft itself (the centre square first, because its
resize takes one fixed size), sounds and texts by row-wise functions. ``mixed`` leaves it the photos and gives the
sounds and texts to this project's codecs, in batches; ``ours`` gives them all three. Functions return tensors, as its
documentation advises, and these it always runs in threads of its own process; the codecs leave the interpreter's lock
for most of their time.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import daft
import numpy as np
from daft import DataType, col
from daft.functions import (
    columns_min,
    crop,
    decode_image,
    image_height,
    image_width,
    resize,
    to_list,
)

from bench.peers import common, kernels

IMAGE = DataType.tensor(DataType.uint8(), (kernels.SIZE, kernels.SIZE, 3))
LOG_MEL = DataType.tensor(DataType.float16(), (kernels.NUM_MELS, kernels.NUM_FRAMES))
IDS = DataType.tensor(DataType.int32(), (kernels.MAX_TOKENS,))
SHAPES = {math.prod(kind.shape): kind.shape for kind in (IMAGE, LOG_MEL, IDS)}  # by their size
BATCH_SAMPLES = 64


@contextmanager
def peer(options: argparse.Namespace) -> Iterator[common.Pass]:
    tokenizer = options.tokenizer.read_text()

    def one_pass() -> Iterator[common.Batch]:
        frame = decoded(daft.read_parquet(common.files(options.shards)), options.kernels, tokenizer)
        if options.write:
            frame.write_parquet(str(options.write))
            yield common.written(options.write)
            return
        for batch in frame.to_arrow_iter():
            yield common.Batch(batch.num_rows, lambda b=batch: _arrays(b))

    yield one_pass


def decoded(frame: daft.DataFrame, kind: str, tokenizer: str) -> daft.DataFrame:
    """Encoded bytes -> what is wanted."""
    rows, batches = Rows(tokenizer), Batches(tokenizer)
    frame = frame.with_column("photo", decode_image(col("jpg"))) if kind != "ours" else frame
    image = batches.images(col("jpg")) if kind == "ours" else centre(col("photo"))
    if kind == "conventional":
        audio = rows.log_mel(col("wav"))
        text = rows.ids(col("txt").cast(DataType.string()))
    else:
        audio, text = batches.log_mels(col("wav")), batches.ids(col("txt"))
    return frame.select("key", image.alias("image"), audio.alias("audio"), text.alias("text"))


def centre(photo: daft.Expression) -> daft.Expression:
    """A decoded image -> its centre square, resized."""
    width, height = image_width(photo), image_height(photo)
    side = columns_min(width, height)
    box = [(width - side) // 2, (height - side) // 2, side, side]
    square = crop(photo, to_list(*(edge.cast(DataType.uint32()) for edge in box)))
    return resize(square, kernels.SIZE, kernels.SIZE)


@daft.cls
class Rows:
    """Conventional functions of one sound or text."""

    def __init__(self, tokenizer: str) -> None:
        self.tokenizer = tokenizer

    @daft.method(return_dtype=LOG_MEL)
    def log_mel(self, data: bytes) -> np.ndarray:
        return kernels.conventional_log_mel(data)

    @daft.method(return_dtype=IDS)
    def ids(self, text: str) -> np.ndarray:
        return kernels.conventional_ids(text, self.tokenizer)


@daft.cls
class Batches:
    """The project's codecs on batches."""

    def __init__(self, tokenizer: str) -> None:
        self.tokenizer = tokenizer

    @daft.method.batch(return_dtype=IMAGE, batch_size=BATCH_SAMPLES)
    def images(self, data: daft.Series) -> np.ndarray:
        return kernels.our_kernels(self.tokenizer).images(data.to_pylist())

    @daft.method.batch(return_dtype=LOG_MEL, batch_size=BATCH_SAMPLES)
    def log_mels(self, data: daft.Series) -> np.ndarray:
        return kernels.our_kernels(self.tokenizer).log_mels(data.to_pylist())

    @daft.method.batch(return_dtype=IDS, batch_size=BATCH_SAMPLES)
    def ids(self, data: daft.Series) -> np.ndarray:
        return kernels.our_kernels(self.tokenizer).ids(data.to_pylist())


def _arrays(batch: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return _dense(batch["image"]), _dense(batch["audio"]), _dense(batch["text"])


def _dense(column: Any) -> np.ndarray:
    """A column of one of the tensor types -> (B, ...), whatever extension type it has in Arrow."""
    lists = column.storage
    size = lists.type.list_size
    flat = lists.values.slice(lists.offset * size, len(lists) * size)
    return np.asarray(flat).reshape(len(lists), *SHAPES[size])


if __name__ == "__main__":
    options = common.parser(__doc__, kernels=("conventional", "mixed", "ours"))
    common.run(peer, options.parse_args())

"""webdataset and torch's DataLoader with two workers, shards split among them."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from bench.peers import common, kernels

WORKERS = 2
BATCH_SAMPLES = 64


@contextmanager
def peer(options: argparse.Namespace) -> Iterator[common.Pass]:
    import torch
    import webdataset
    from torch.utils.data import DataLoader

    torch.set_num_threads(1)
    shards, tokenizer = common.files(options.shards), options.tokenizer.read_text()

    samples: Any = webdataset.WebDataset(shards, shardshuffle=False)
    if options.kernels == "ours":
        batches = samples.batched(BATCH_SAMPLES, collation_fn=None)
        batches = batches.map(partial(with_our_kernels, tokenizer=tokenizer))
    else:
        decoded = samples.decode("pil").map(partial(conventionally, tokenizer=tokenizer))
        batches = decoded.batched(BATCH_SAMPLES)
    workers = {"num_workers": WORKERS, "persistent_workers": options.passes > 1}
    loader = DataLoader(batches, batch_size=None, **workers)

    def one_pass() -> Iterator[common.Batch]:
        for keys, images, mels, ids in loader:
            yield common.Batch(
                len(keys), lambda i=images, m=mels, t=ids: (i.numpy(), m.numpy(), t.numpy())
            )

    yield one_pass


def conventionally(sample: dict[str, Any], tokenizer: str) -> tuple[Any, ...]:
    """A sample with a Pillow image, an encoded sound and a text -> tensors."""
    import torch

    return (
        sample["__key__"],
        torch.from_numpy(kernels.conventional_image(sample["jpg"]).copy()),
        torch.from_numpy(kernels.conventional_log_mel(sample["wav"])),
        torch.from_numpy(kernels.conventional_ids(sample["txt"], tokenizer)),
    )


def with_our_kernels(samples: list[dict[str, Any]], tokenizer: str) -> tuple[Any, ...]:
    """Samples of bytes -> tensors of a batch."""
    import torch

    ours = kernels.our_kernels(tokenizer)
    return (
        [sample["__key__"] for sample in samples],
        torch.from_numpy(ours.images([sample["jpg"] for sample in samples])),
        torch.from_numpy(ours.log_mels([sample["wav"] for sample in samples])),
        torch.from_numpy(ours.ids([sample["txt"] for sample in samples])),
    )


if __name__ == "__main__":
    common.run(peer, common.parser(__doc__).parse_args())

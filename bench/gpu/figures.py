"""Sizes of the networks and data of :mod:`bench.gpu`, and what a trace says of copies."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

Interval = tuple[float, float]


@dataclass(frozen=True)
class Size:
    """How much is computed.

    Attributes:
        image: Side of the images, pixels.
        depth: Layers of the network that is trained.
        channels: Of its first stage.
        batch: Samples of a step, or of a micro-batch.
        steps: Of an epoch.
        rows: Samples that are predicted.
        encoder: Of torchvision's networks, the one that embeds.
        encoded: Samples that are embedded.
        precision: Of matrix products.
    """

    image: int
    depth: int
    channels: int
    batch: int
    steps: int
    rows: int
    encoder: str
    encoded: int
    precision: Literal["bfloat16", "float32"]

    @property
    def dtype(self) -> torch.dtype:
        return torch.bfloat16 if self.precision == "bfloat16" else torch.float32

    def count(self, kind: str) -> int:
        """Samples that a kind of predictor is given."""
        return self.encoded if kind == "encoder" else self.rows


def configuration(size: Size, folder: str = ".") -> dict[str, Any]:
    """Images alone, and a residual network over them."""
    encoder = {"kind": "resnet", "depth": size.depth, "channels": size.channels}
    return {
        "run": folder,
        "modalities": {"image": {"fields": ["png"], "size": size.image, "encoder": encoder}},
        "objective": {"kind": "classify", "label": "cls", "fusion": {"kind": "concat"}},
    }


def seconds_of(work: Callable[[], object], device: torch.device) -> float:
    """Of a call, until the device has done all of it."""
    finish(device)
    began = clock(device)
    work()
    finish(device)
    return clock(device) - began


def clock(device: torch.device) -> float:
    """Seconds of a GPU's host; of a CPU those that this process computed, whatever other work ran beside it."""
    return time.perf_counter() if device.type == "cuda" else time.process_time()


def finish(device: torch.device) -> None:
    """Waits for what was asked of the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def overlap(copies: Sequence[Interval], kernels: Sequence[Interval]) -> dict[str, float]:
    """How much of the time of copies a kernel runs, too.

    Args:
        copies: Beginning and end of each, in microseconds.
        kernels: As ``copies``.
    """
    busy = list(joined(kernels))
    total = sum(end - begin for begin, end in copies)
    shared = sum(
        max(0.0, min(end, stop) - max(begin, start))
        for begin, end in joined(copies)
        for start, stop in busy
    )
    return {
        "copies": len(copies),
        "copy_milliseconds": total / 1e3,
        "kernel_milliseconds": sum(end - begin for begin, end in busy) / 1e3,
        "overlapped": shared / total if total else 0.0,
    }


def joined(intervals: Sequence[Interval]) -> Iterator[Interval]:
    """The same time as intervals that do not overlap, in order."""
    last: Interval | None = None
    for begin, end in sorted(intervals):
        if last is None:
            last = begin, end
        elif begin <= last[1]:
            last = last[0], max(last[1], end)
        else:
            yield last
            last = begin, end
    if last is not None:
        yield last

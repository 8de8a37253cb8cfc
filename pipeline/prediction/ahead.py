"""Makes the next micro-batch ready, and copies it to the GPU, while the present one is computed."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

from pipeline import pulse

Prepared = tuple[int, tuple[Tensor, ...]]
Item = TypeVar("Item")
LOOK_SECONDS = 0.1  # how often a thread that is ahead looks whether it is still wanted
READY = 2  # micro-batches that wait on the device, beside the one that is computed


def ahead(batches: Iterable[Prepared], device: torch.device) -> Iterator[Prepared]:
    """Micro-batches on a device.

    Args:
        batches: How many rows count, and tensors on the CPU.
        device: On a GPU they are made and copied by a thread of their own, from pinned memory and on a stream of their
            own; on a CPU they are handed on as they are asked for, since another thread would take the network's time.
    """
    for batch in batches if device.type != "cuda" else _copied(batches, device):
        yield batch
        pulse.beat()  # what was made of it is done


def _copied(batches: Iterable[Prepared], device: torch.device) -> Iterator[Prepared]:
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call, unused-ignore]

    def copied() -> Iterator[tuple[int, tuple[Tensor, ...], torch.cuda.Event]]:
        with torch.inference_mode(), torch.cuda.stream(stream):
            for count, inputs in batches:
                on_device = tuple(
                    tensor.pin_memory().to(device, non_blocking=True) for tensor in inputs
                )
                done = torch.cuda.Event()  # type: ignore[no-untyped-call, unused-ignore]
                done.record(stream)
                yield count, on_device, done

    for count, inputs, done in threaded(copied(), READY):
        current = torch.cuda.current_stream(device)
        current.wait_event(done)
        for tensor in inputs:
            tensor.record_stream(
                current
            )  # its memory is not used again before the network has read it
        yield count, inputs


def threaded(items: Iterable[Item], ready: int) -> Iterator[Item]:
    """Items in their order, made by a thread that is at most ``ready`` ahead; its error is raised here."""
    waiting: queue.Queue[_Made[Item]] = queue.Queue(ready)
    given_up = threading.Event()

    def hand(outcome: _Made[Item]) -> bool:
        while not given_up.is_set():
            try:
                waiting.put(outcome, timeout=LOOK_SECONDS)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        try:
            for item in items:
                if not hand(_Made(item)):
                    return
            hand(_Made())
        except BaseException as error:  # noqa: BLE001 - raised again where the items are used
            hand(_Made(error=error))
        finally:
            if isinstance(items, Generator):
                items.close()  # here, whose stream and mode it has set

    thread = threading.Thread(target=work, name="ahead", daemon=True)
    thread.start()
    try:
        while True:
            outcome = waiting.get()
            if outcome.error is not None:
                raise outcome.error
            if outcome.item is None:
                return
            yield outcome.item
    finally:
        given_up.set()
        thread.join()


@dataclass(frozen=True)
class _Made(Generic[Item]):
    """An item, an error, or neither: the end."""

    item: Item | None = None
    error: BaseException | None = None

"""How a network is run for predictions: on which device, in which precision, compiled or not."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

import torch
from torch import nn

from pipeline.errors import ModelError, RunError, in_words
from pipeline.models.memory import keep_freed_memory
from pipeline.prediction.spec import ModelSpec

COMPILERS = ("torch._dynamo", "torch._inductor")  # modules that a compiler's errors are of

Network = TypeVar("Network", bound=nn.Module)
Given = ParamSpec("Given")
Made = TypeVar("Made")


class Execution:
    """Runs a network as a specification says; this process then computes on as many CPU threads as that names.

    Attributes:
        device: Where networks compute.
        one_shape: Whether all micro-batches are best of one shape: other shapes are compiled anew, and make GPUs wait.

    Args:
        spec: The model, and how it runs.

    Raises:
        RunError: A GPU is named, and torch sees none.
    """

    def __init__(self, spec: ModelSpec) -> None:
        self.device = _ready_device(spec)
        on_gpu = self.device.type == "cuda"
        self.one_shape = spec.compile or on_gpu
        self._bfloat16 = spec.precision == "bfloat16" or (spec.precision == "auto" and on_gpu)
        self._compiles = spec.compile
        self._model = spec.model
        self._num_threads = spec.num_threads
        self._ready_threads = threading.local()

    def ready(self, network: Network) -> Network:
        """Brings a network to the device, its convolutions with the channels last."""
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                module.to(memory_format=torch.channels_last)
        return network.to(self.device)

    def runner(self, function: Callable[Given, Made]) -> Callable[Given, Made]:
        """How a network, or one of its methods, is to be called: without gradients, in the precision asked for.

        Where that is asked for it is compiled, at its first call; the call raises ModelError where it cannot be.
        Only what is called is in that precision: a sound's features would suffer from it.
        """
        called = torch.compile(function, dynamic=False) if self._compiles else function
        kind = self.device.type

        def run(*args: Given.args, **kwargs: Given.kwargs) -> Made:
            self._set_threads()
            bfloat16 = torch.autocast(kind, torch.bfloat16, enabled=self._bfloat16)
            with self._plain_errors(), torch.inference_mode(), bfloat16:
                return called(*args, **kwargs)

        return run

    def _set_threads(self) -> None:
        """Sets how many threads a product is shared among; OpenMP keeps that for each thread that asks for one."""
        if self._num_threads is not None and not hasattr(self._ready_threads, "set"):
            torch.set_num_threads(self._num_threads)
            self._ready_threads.set = True

    @contextmanager
    def _plain_errors(self) -> Iterator[None]:
        """Says in one line what a compiler could not do."""
        try:
            yield
        except Exception as error:
            if not (self._compiles and type(error).__module__.startswith(COMPILERS)):
                raise
            raise ModelError(
                f"the network cannot be compiled: {in_words(error)}",
                where=self._model,
                fix="set infer.compile=false, or install a C++ compiler where the model runs",
            ) from None


def _ready_device(spec: ModelSpec) -> torch.device:
    """The device that is named, else a GPU where there is one, made ready."""
    if spec.num_threads is not None:
        torch.set_num_threads(spec.num_threads)
    has_gpu = torch.cuda.is_available()
    if spec.device == "cuda" and not has_gpu:
        raise RunError(
            "cluster.gpus_per_worker is set, and torch sees no GPU",
            where="the model's actor",
            fix="set cluster.gpus_per_worker=0, or install a driver that this torch knows",
        )
    device = torch.device(spec.device or ("cuda" if has_gpu else "cpu"))
    if device.type == "cpu":
        keep_freed_memory()
    return device

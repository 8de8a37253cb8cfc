"""Predictors over a decoded table, against a plain loop of the same network over tensors on the device."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from PIL import Image
from safetensors.torch import save
from torch import Tensor

from bench.gpu.figures import Interval, Size, configuration, finish, seconds_of
from bench.gpu.training import CLASSES
from pipeline.config import validate
from pipeline.models.batch import to_tensors
from pipeline.models.bundle import Bundle
from pipeline.objectives.sealed import build, restore
from pipeline.prediction.bundle import BundlePredictor
from pipeline.prediction.encoder import EncoderPredictor
from pipeline.prediction.predictor import load_predictor
from pipeline.prediction.spec import ModelSpec, open_model
from pipeline.sample import Field, Sample

PREDICTORS = ("bundle", "encoder")
DIFFERENT = 16  # images that are decoded; the table repeats them
Loop = Callable[[], object]


def predicting(
    kind: str, size: Size, device: torch.device, rounds: int, folder: Path, *, compiled: bool
) -> list[tuple[float, float]]:
    """(Seconds of the predictor, seconds of the bare loop), of each round."""
    ours, bare = _loops(_spec(kind, size, device, folder, compiled=compiled), size.count(kind))
    for loop in (ours, bare):
        loop()  # what is compiled or chosen at first
    return [(seconds_of(ours, device), seconds_of(bare, device)) for _ in range(rounds)]


def traced(size: Size, device: torch.device, folder: Path) -> tuple[list[Interval], list[Interval]]:
    """Copies from the host, and kernels, while the bundle predicts: beginning and end of each, in microseconds."""
    ours, _ = _loops(_spec("bundle", size, device, folder, compiled=False), size.rows)
    ours()
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as trace:
        ours()
        finish(device)
    copies: list[Interval] = []
    kernels: list[Interval] = []
    for event in trace.events() or []:
        if event.device_type != torch.autograd.DeviceType.CUDA:
            continue
        span = float(event.time_range.start), float(event.time_range.end)
        if event.name.startswith("Memcpy HtoD"):
            copies.append(span)
        elif not event.name.startswith(("Memcpy", "Memset")):
            kernels.append(span)
    return copies, kernels


def _spec(
    kind: str, size: Size, device: torch.device, folder: Path, *, compiled: bool
) -> ModelSpec:
    """A bundle of random weights, or torchvision's network with such."""
    config = validate(configuration(size))
    weights = None
    if kind == "bundle":
        model = str(folder / "bundle")
        _seal(model, size)
    else:
        import torchvision

        model = f"torchvision:{size.encoder}"
        weights = str(folder / f"{size.encoder}.pth")
        if not Path(weights).is_file():
            torch.manual_seed(0)
            network = torchvision.models.get_model(size.encoder, weights=None)
            torch.save(network.state_dict(), weights)
    return ModelSpec(
        model,
        config.modalities,
        weights,
        batch_size=size.batch,
        precision=size.precision,
        compile=compiled,
        device=device.type,
    )


def _seal(folder: str, size: Size) -> None:
    config = validate(configuration(size))
    objective, learned = config.require_objective(), {"classes": CLASSES}
    torch.manual_seed(0)
    state = build(objective, config.modalities, learned).state_dict()
    Bundle.of(
        objective=objective.model_dump(mode="json"),
        modalities=config.modalities,
        learned=learned,
        tokenizer=None,
        weights=save({name: value.contiguous() for name, value in state.items()}),
    ).save(folder)


def _loops(spec: ModelSpec, count: int) -> tuple[Loop, Loop]:
    """Ours, and the bare one."""
    predictor = load_predictor(spec)
    table = _table(spec, count)
    if isinstance(predictor, BundlePredictor):
        bare = _bare_bundle(predictor, spec, table)
    else:
        assert isinstance(predictor, EncoderPredictor)
        bare = _bare_encoder(predictor, spec, table)
    return lambda: predictor(table), bare


def _bare_bundle(predictor: BundlePredictor, spec: ModelSpec, table: pa.Table) -> Loop:
    network = predictor.execution.ready(restore(Bundle.load(spec.model)))
    tensors = to_tensors(table, predictor.codecs)

    def predict(image: Tensor, present: Tensor) -> Any:
        return network.predict({"image": image, "image_present": present})

    return _loop(
        predict, (tensors["image"], tensors["image_present"]), spec, predictor.execution.device
    )


def _bare_encoder(predictor: EncoderPredictor, spec: ModelSpec, table: pa.Table) -> Loop:
    [tower] = predictor.towers.values()
    inputs = tower.prepare(table["image"].combine_chunks())
    return _loop(tower.forward, inputs, spec, predictor.execution.device)


def _loop(
    predict: Callable[..., Any], inputs: tuple[Tensor, ...], spec: ModelSpec, device: torch.device
) -> Loop:
    """The network over micro-batches that lie on the device; what it makes is copied to the host in the end."""
    called = torch.compile(predict, dynamic=False) if spec.compile else predict
    resident = [tensor.to(device) for tensor in inputs]
    rows, bfloat16 = len(resident[0]), spec.precision == "bfloat16"

    def run() -> None:
        made: list[Tensor] = []
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
            for start in range(0, rows, spec.batch_size):
                answer = called(*(tensor[start : start + spec.batch_size] for tensor in resident))
                made += (
                    [value.float() for value in answer.values()]
                    if isinstance(answer, dict)
                    else [answer.float()]
                )
        for values in made:
            values.cpu()

    return run


def _table(spec: ModelSpec, count: int) -> pa.Table:
    """Decoded samples, as many as are predicted."""
    random = np.random.default_rng(0)
    samples = [
        Sample(f"{row}", "bench.tar", row, {"png": _png(random)}) for row in range(DIFFERENT)
    ]
    table = open_model(spec).decoder().decode(samples, "part")
    return pa.concat_tables([table] * -(-count // DIFFERENT)).slice(0, count).combine_chunks()


def _png(random: np.random.Generator) -> Field:
    data = io.BytesIO()
    pixels = random.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(data, "PNG")
    return Field(memoryview(data.getvalue()), 0, data.tell())

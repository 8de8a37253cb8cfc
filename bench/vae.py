"""Our three posteriors against those of the package multivae: the same networks, first weights, data and epochs.

    python -m jobs.demo cluster.executor=here      # once, for the data
    pip install multivae==1.0.3                    # the dev extra has it
    python -m bench.vae [--epochs 4] [--seeds 0] [--kinds product mixture mixture_of_products]

Each kind is trained twice from the same weights: by our loss, and by the loss of multivae's model, whose encoders and
decoders are ours. Both are then judged by the same two numbers of the validation split, which our network makes of its
weights: the ELBO and the importance-weighted bound of what each sample has. multivae wants Bernoulli values to be 0 or
1 and labels to be there, so that images are Gaussian here and no label is learned; its texts are one-hot, and places
behind the end of a text count in its loss. Result: bench/results/vae.json.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.ingest import environment
from pipeline.config import load
from pipeline.engine.decoding.part import decode_part
from pipeline.engine.plans.prepare import ensure_tokenizer
from pipeline.modalities.chance import CHANCE
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.models.batch import to_tensors
from pipeline.objectives.sealed import build
from pipeline.shards.planning.plan import expand, plan

RESULTS = Path(__file__).parent / "results" / "vae.json"
CONFIG = Path(__file__).parents[1] / "jobs" / "configs" / "vae.yaml"
KINDS = ("product", "mixture", "mixture_of_products")
WORDS = (
    "objective.label=null",
    "objective.likelihoods={image: gaussian, audio: laplace}",
    "objective.warmup_epochs=0",
    "objective.beta=1",
    "objective.weights={}",
    "objective.draw=false",
    "objective.importance_samples=32",
)
BATCH, RATE = 32, 1e-3
Batch = dict[str, Tensor]


def main() -> None:
    """What was measured before with as many epochs stays, so that a long measurement can be made in pieces."""
    given = options()
    results = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {"runs": []}
    for seed in given.seeds:
        for kind in given.kinds:
            for side in ("ours", "multivae"):
                about = {"kind": kind, "side": side, "seed": seed, "epochs": given.epochs}
                entry = {**about, **run(kind, side, seed, given)}
                entry |= {"load": round(os.getloadavg()[0], 1), "environment": environment()}
                print(entry, file=sys.stderr, flush=True)
                others = [row for row in results["runs"] if not about.items() <= row.items()]
                results["runs"] = [*others, entry]
                RESULTS.write_text(json.dumps(results, indent=1) + "\n")


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--run", default="runs/bench/vae")
    return parser.parse_args()


def run(kind: str, side: str, seed: int, given: argparse.Namespace) -> dict[str, Any]:
    """Trains one side, and judges it by the validation split."""
    subsets = {"product": ", random_subsets: 0"}.get(kind, "")
    words = [*WORDS, f"run={given.run}", f"objective.posterior={{kind: {kind}{subsets}}}"]
    config = load(str(CONFIG), words)
    tokenizer = ensure_tokenizer(config, "train")
    objective = config.require_objective()
    torch.manual_seed(seed)
    learned = objective.about_inputs(config.modalities.by_name())
    network = build(objective, config.modalities, learned)
    model = network if side == "ours" else wrapped(kind, network)
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE)
    samples = read(config, tokenizer, "train")
    began, step = time.process_time(), 0
    for epoch in range(given.epochs):
        network.train()
        for batch in batches(samples, np.random.default_rng([seed, epoch])):
            batch[CHANCE] = torch.arange(BATCH)[: len(batch["image"])] + BATCH * step
            step += 1
            optimizer.zero_grad()
            loss = network.loss(batch)[0] if side == "ours" else of_theirs(model, network, batch)
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
    seconds = time.process_time() - began
    return {**judged(network, read(config, tokenizer, "val")), "cpu_seconds": round(seconds, 1)}


def read(config: Any, tokenizer: str | None, split: str) -> Batch:
    """All samples of a split."""
    decoder = Decoder.build(config.modalities, tokenizer)
    parts = plan(expand(getattr(config.input, split)))
    tables = [to_tensors(decode_part(part, decoder), decoder.codecs) for part in parts]
    return {name: torch.cat([table[name] for table in tables]) for name in tables[0]}


def batches(samples: Batch, random: np.random.Generator) -> Iterator[Batch]:
    order = torch.from_numpy(random.permutation(len(samples["image"])))
    for rows in order.split(BATCH):
        yield {name: values[rows] for name, values in samples.items()}


def judged(network: Any, samples: Batch) -> dict[str, float]:
    """The means of the validation split's bounds."""
    network.eval()
    found: dict[str, list[Tensor]] = {}
    count = len(samples["image"])
    for rows in torch.arange(count).split(BATCH):
        batch = {name: values[rows] for name, values in samples.items()} | {CHANCE: rows}
        made = bounds(network, batch)
        for name in ("elbo", "importance_bound"):
            found.setdefault(name, []).append(made[name])
    return {name: round(float(torch.cat(values).mean()), 2) for name, values in found.items()}


def bounds(network: Any, batch: Batch) -> Batch:
    """What a network predicts of its bounds, without making sounds."""
    with patch.object(type(network), "_generated", lambda *_: {}):
        return dict(network.predict(batch))


class Encoder(nn.Module):
    """One of our encoders and its head."""

    def __init__(self, network: Any, name: str, latent: int) -> None:
        super().__init__()
        self.held, self.name, self.latent_dim = SimpleNamespace(network=network), name, latent

    def forward(self, values: Tensor) -> Any:
        from pythae.models.base.base_utils import ModelOutput

        network = self.held.network
        features = network.encoders[self.name](values)
        location, log_scale = network.heads[self.name](features)
        return ModelOutput(embedding=location, log_covariance=2 * log_scale)


class OfLatents(nn.Module):
    """One of our decoders: the values that it expects, or logits."""

    def __init__(self, network: Any, name: str, latent: int) -> None:
        super().__init__()
        self.held, self.name, self.latent_dim = SimpleNamespace(network=network), name, latent

    def forward(self, latent: Tensor) -> Any:
        from pythae.models.base.base_utils import ModelOutput

        network = self.held.network
        parameters = network.decoded(latent, self.name)
        if parameters.dtype.is_floating_point and self.name != "text":
            parameters = network.likelihoods[self.name].likeliest(parameters)
        return ModelOutput(reconstruction=parameters)


def wrapped(kind: str, network: Any) -> Any:
    """multivae's model of a kind, with our networks in the place of its own."""
    import multivae.models as theirs

    names, latent = network.modalities, network.settings.latent
    shapes = {name: (network.sizes[name],) for name in names}
    common: dict[str, Any] = {
        "n_modalities": len(names),
        "latent_dim": latent,
        "input_dims": shapes,
        "uses_likelihood_rescaling": True,
        "decoders_dist": {"image": "normal", "text": "categorical", "audio": "laplace"},
        "decoder_dist_params": {"image": {"scale": 0.1}, "audio": {"scale": 0.1}},
    }
    mixture = {"K": 1, "prior_and_posterior_dist": "normal", "learn_prior": False}
    model, config = {
        "product": (theirs.MVAE, theirs.MVAEConfig(**common, warmup=0, k=0)),
        "mixture": (theirs.MMVAE, theirs.MMVAEConfig(**common, **mixture, loss="iwae_looser")),
        "mixture_of_products": (theirs.MoPoE, theirs.MoPoEConfig(**common)),
    }[kind]
    encoders = nn.ModuleDict({name: Encoder(network, name, latent) for name in names})
    decoders = nn.ModuleDict({name: OfLatents(network, name, latent) for name in names})
    with (
        patch.object(model, "set_encoders", lambda self, _: setattr(self, "encoders", encoders)),
        patch.object(model, "set_decoders", lambda self, _: setattr(self, "decoders", decoders)),
    ):
        return model(config, dict(encoders), dict(decoders))


def of_theirs(model: Any, network: Any, batch: Batch) -> Tensor:
    """multivae's loss, the mean over the samples."""
    from multivae.data.datasets.base import IncompleteDataset

    # Their encoders are given what their decoders are to make: ours take the codecs' values.
    prepared = {name: values.values for name, values in network._prepared(batch).items()}
    symbols = model.decoders["text"].held.network.renderers["text"].last.out_features
    prepared["text"] = functional.one_hot(prepared["text"], symbols).float()
    data = {name: values.contiguous() for name, values in prepared.items()}
    masks = {name: batch[f"{name}_present"] for name in data}
    with patch.object(Encoder, "forward", of_codecs(batch, masks)):
        loss = model(IncompleteDataset(data, masks), epoch=1).loss
    return loss / len(batch["image"]) if type(model).__name__ == "MMVAE" else loss


def of_codecs(batch: Batch, masks: dict[str, Tensor]) -> Any:
    """An encoder's forward that takes the codecs' values of the rows that it is given values of."""
    forward = Encoder.forward

    def run(self: Encoder, values: Tensor) -> Any:
        original = batch[self.name]
        if len(values) != len(original):  # MVAE leaves out samples that lack what it looks at
            original = original[masks[self.name]]
        return forward(self, original)

    return run


if __name__ == "__main__":
    main()

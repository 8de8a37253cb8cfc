"""A generator by hand: bare processes that decode, and call a processor and ``generate`` of transformers.

Each process takes the next part, decodes it with this project's Decoder, and goes over it in the micro-batches that the
job makes, on one thread. Nothing is written and nobody is talked to: what a job adds to this is its engine.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from bench.peers import common

STATE: dict[str, Any] = {}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("config", type=Path, help="of the job, JSON")
    given = options.parse_args()
    from pipeline.shards.planning.plan import expand, plan

    tree = json.loads(given.config.read_text())
    parts = plan(expand(tree["infer"]["input"]))
    processes = os.cpu_count() or 1
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, set_up, (tree,)) as pool:
        began = time.perf_counter()
        samples = sum(pool.map(write, parts))
        common.answer(samples, [time.perf_counter() - began])


def set_up(tree: dict[str, Any]) -> None:
    """Reads the model, and builds the decoder of a process."""
    import torch
    import transformers

    from pipeline.modalities import ModalitiesConfig
    from pipeline.models.memory import keep_freed_memory
    from pipeline.prediction.spec import ModelSpec, open_model

    keep_freed_memory()  # as the job does on CPUs
    torch.set_num_threads(1)
    infer = tree["infer"]
    folder = infer["model"].removeprefix("hf:")
    modalities = ModalitiesConfig.model_validate(tree["modalities"])
    spec = ModelSpec(infer["model"], modalities, settings=infer["settings"])
    is_text = "text" in tree["modalities"]
    model = (
        transformers.AutoModelForSeq2SeqLM if is_text else transformers.AutoModelForSpeechSeq2Seq
    )
    STATE.update(
        is_text=is_text,
        decoder=open_model(spec).decoder(),
        model=model.from_pretrained(folder).eval(),
        tokenizer=transformers.AutoTokenizer.from_pretrained(folder),
        extractor=None if is_text else transformers.AutoFeatureExtractor.from_pretrained(folder),
        batch_size=infer["batch_size"],
        settings={**infer["settings"], "do_sample": False},
    )


def write(part: Any) -> int:
    """Decodes and writes about a part; returns its samples."""
    import torch

    from pipeline.shards.reading.reader import read_part

    table = STATE["decoder"].decode(read_part(part), part.to_json())
    texts = []
    with torch.inference_mode():
        for inputs in texts_in(table) if STATE["is_text"] else sounds_in(table):
            ids = STATE["model"].generate(**inputs, **STATE["settings"])
            texts += STATE["tokenizer"].batch_decode(ids, skip_special_tokens=True)
    return len(texts)


def sounds_in(table: Any) -> Any:
    """Features of micro-batches, sounds of like length together."""
    sounds = sorted((value.values.to_numpy() for value in table["audio"]), key=len)
    for start in range(0, len(sounds), STATE["batch_size"]):
        batch = [np.asarray(sound) for sound in sounds[start : start + STATE["batch_size"]]]
        rate = STATE["extractor"].sampling_rate
        yield dict(STATE["extractor"](batch, sampling_rate=rate, return_tensors="pt"))


def texts_in(table: Any) -> Any:
    """Tokens of micro-batches: texts of like length together, each padded to the longest of its micro-batch."""
    from pipeline.modalities.pretrained.generators.writing import Piece
    from pipeline.modalities.pretrained.towers import padded_length
    from pipeline.prediction.generator.runner import micro_batches

    encoded = STATE["tokenizer"](table["text"].to_pylist(), truncation=True)["input_ids"]
    pieces = [Piece(row, 0, padded_length(len(ids), 512), ids) for row, ids in enumerate(encoded)]
    for batch in micro_batches(pieces, STATE["batch_size"]):
        rows = {"input_ids": [piece.content for piece in batch]}
        yield dict(STATE["tokenizer"].pad(rows, return_tensors="pt"))


if __name__ == "__main__":
    main()

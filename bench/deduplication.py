"""Near copies among a million samples: memory and time of the driver, and how they grow.

    python -m bench.deduplication [--sizes 125000 250000 500000 1000000]

Signatures are synthetic, since a million pictures, texts and sounds with known copies are not at hand; what is done
with them is what a job does: they are read from the files that workers write, compared, and the samples to leave out
are written. Each size runs in a process of its own, whose largest resident memory counts. One sample in 20 is an
exact copy, one in 10 a near copy. Texts and sounds have a background in common, as real ones do. Writes
deduplication.json to bench/results/.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from bench.planning import environment, peak_bytes
from pipeline import storage
from pipeline.cleaning import CleaningConfig
from pipeline.cleaning.copies import Signatures, find_copies
from pipeline.engine.cleaning.signing import Signer, load
from pipeline.engine.cleaning.verdict import EXACT, NEAR, Compared, Result, Verdict
from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.shards.planning.plan import Part
from pipeline.shards.reading.left_out import write_left_out

RESULTS = Path(__file__).parent / "results"
SIZES = (125_000, 250_000, 500_000, 1_000_000)
PART_SAMPLES = 5_000
EXACT_SHARE, NEAR_SHARE = 0.05, 0.10
LIMIT_BYTES = 4e9
# What is compared; one modality alone is searched by its own signatures, all three by the one that tells most apart.
KINDS = {
    "exact": (),
    "image": ("image",),
    "text": ("text",),
    "audio": ("audio",),
    "near": ("image", "text", "audio"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="samples")
    parser.add_argument("--make", nargs=2, metavar=("COUNT", "FOLDER"), help=argparse.SUPPRESS)
    for kind in KINDS:
        parser.add_argument(
            f"--{kind}", nargs=2, metavar=("COUNT", "FOLDER"), help=argparse.SUPPRESS
        )
    options = parser.parse_args()
    if options.make:
        make(int(options.make[0]), options.make[1])
        return
    for kind in KINDS:
        if given := getattr(options, kind):
            print(json.dumps(find(int(given[0]), given[1], KINDS[kind])))
            return
    rows: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
    for count in options.sizes:
        with tempfile.TemporaryDirectory() as folder:
            _run("--make", count, folder)
            for kind in KINDS:
                rows[kind].append(_run(f"--{kind}", count, folder))
                print(kind, json.dumps(rows[kind][-1]))
    found = {
        **environment(),
        **{kind: {"rows": each, **slope(each)} for kind, each in rows.items()},
    }
    path = RESULTS / "deduplication.json"
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"written to {path}")


def slope(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What a sample more costs, by a line through all sizes, and whether the largest fits."""
    sizes = [row["samples"] for row in rows]
    names = ("peak_bytes", "seconds") if len(rows) > 1 else ()
    lines = {name: float(np.polyfit(sizes, [row[name] for row in rows], 1)[0]) for name in names}
    return {
        **{f"{name}_per_sample": value for name, value in lines.items()},
        "within_4_gb": max(row["peak_bytes"] for row in rows) <= LIMIT_BYTES,
    }


def _run(step: str, count: int, folder: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.deduplication", step, str(count), folder]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout or "{}")
    return found


def signer_and_parts(
    count: int, folder: str, names: tuple[str, ...] = KINDS["near"]
) -> tuple[Signer, list[Part]]:
    """What reads the files, without codecs: nothing is decoded here."""
    codecs: dict[str, Any] = dict.fromkeys(names)
    configs = ModalitiesConfig.of_every_kind().by_name()
    likenesses = {name: configs[name].likeness() for name in names}
    signer = Signer(Decoder(codecs=codecs, fields={}), folder, bool(names), likenesses)
    parts = [
        Part(f"x-{index:06d}.tar", f"x-{index:06d}.tar", f"{index:06d}")
        for index in range(-(-count // PART_SAMPLES))
    ]
    return signer, parts


def make(count: int, folder: str) -> None:
    """Writes the signatures of so many samples, of which some are copies of earlier ones of their part."""
    chance = np.random.default_rng(count)
    signer, parts = signer_and_parts(count, folder)
    profile = np.linspace(200, 60, 32).repeat(8)
    shapes = chance.normal(0, 14, (24, 256))
    for index, part in enumerate(parts):
        size = min(PART_SAMPLES, count - index * PART_SAMPLES)
        content = chance.integers(0, 256, (size, 16), dtype=np.uint8)
        image = chance.integers(0, 256, (size, 10), dtype=np.uint8)
        text = chance.integers(0, 256, (size, 128), dtype=np.uint8)
        common = chance.random((size, 128)) < 0.3  # words that most texts have
        text = np.where(common, np.arange(128, dtype=np.uint8), text)
        audio = profile + chance.normal(size=(size, 24)) @ shapes + chance.normal(0, 6, (size, 256))
        audio = np.clip(audio, 0, 255).astype(np.uint8)
        length = np.full((size, 2), (150, 0), dtype=np.uint8)
        audio = np.concatenate([audio, length], axis=1)
        copies = chance.permutation(size)[: int(size * (EXACT_SHARE + NEAR_SHARE))]
        of = chance.integers(0, size, len(copies))
        exact = np.arange(len(copies)) < size * EXACT_SHARE
        content[copies[exact]] = content[of[exact]]
        for rows in (image, text, audio):
            rows[copies] = rows[of]
        near = copies[~exact]
        image[near, 0] ^= 1 << chance.integers(0, 8, len(near), dtype=np.uint8)
        image[near, 5] ^= 1 << chance.integers(0, 8, len(near), dtype=np.uint8)
        changed = chance.random((len(near), 128)) < 0.08
        text[near] = np.where(changed, chance.integers(0, 256, changed.shape), text[near])
        noise = chance.integers(-2, 3, (len(near), 256))
        audio[near, :256] = np.clip(audio[near, :256] + noise, 0, 255)
        columns = [
            pa.array([f"{index:06d}/{number:06d}" for number in range(size)]),
            pa.array(np.arange(size)),
            *(
                pa.FixedSizeBinaryArray.from_buffers(
                    pa.binary(rows.shape[1]), size, [None, pa.py_buffer(rows.tobytes())]
                )
                for rows in (content, image, text, audio)
            ),
        ]
        table = pa.Table.from_arrays(columns, schema=signer.schema)
        with (
            storage.create(signer.location(part)) as file,
            pa.ipc.new_file(file, table.schema) as out,
        ):
            out.write_table(table)


def find(count: int, folder: str, names: tuple[str, ...]) -> dict[str, float]:
    """What the driver of a job does, once the workers have signed the samples."""
    signer, parts = signer_and_parts(count, folder, names)
    before = peak_bytes()
    began = time.perf_counter()
    compared = Compared.of({"input": parts}, frozenset())
    signed = load(signer, compared.parts)
    loaded = time.perf_counter()
    number = compared.splits_of_samples(signed)
    settings = CleaningConfig(duplicates="near" if names else "exact")
    signatures = Signatures(signed.content, number, signed.rows, signed.present)
    copies = find_copies(signatures, signer.comparisons(settings) if names else None)
    searched = time.perf_counter()
    verdict = Verdict.judge(settings, copies, np.ones(count, dtype=bool))
    result = Result(compared, signer, signed, verdict)
    write_left_out(storage.join(folder, "left-out.jsonl"), result.left_out())
    found = result.counts({"input": [EXACT, NEAR]})["input"]["found"]
    return {
        "samples": count,
        "seconds": time.perf_counter() - began,
        "load_seconds": loaded - began,
        "search_seconds": searched - loaded,
        "peak_bytes": peak_bytes(),
        "peak_growth_bytes": peak_bytes() - before,
        "duplicates": found[EXACT],
        "near_duplicates": found[NEAR],
    }


if __name__ == "__main__":
    main()

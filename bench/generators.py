"""``jobs.infer`` with a pretrained generator against a plain loop of transformers, in turn (A B A B ...).

    python -m bench.generators [--model whisper] [--model t5] [--rounds 3] [--quick]

Both run a Whisper over sounds, or a T5 over texts, of the same random weights and the same decoder, on all cores, over
the same micro-batches. The marginal rate is (4 n - n) samples over the difference of their whole runs, which leaves
start-up and shut-down out; that per second of CPU says more where others work on the same cores. Prints the ratios of
each round, and writes all single values with machine, versions and commit to bench/results/.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import io
import json
import os
import shutil
import statistics
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from bench.ingest import environment
from bench.measure import measure

RESULTS = Path(__file__).parent / "results" / "generators.json"
RUNS = ("loop", "job")
SHARDS, TIMES = 8, 4  # the large set is the small one's shards under several names
WANTED = 0.95  # of the plain loop's marginal rate
RATE, CHUNK_SECONDS = 16_000, 10
WORDS = [f"word{number}" for number in range(2_000)]


@dataclass(frozen=True)
class Case:
    """One generator.

    Attributes:
        samples: Of the small set.
        batch_size: Of a micro-batch.
        settings: ``infer.settings``.
        modalities: That are read.
    """

    samples: int
    batch_size: int
    settings: dict[str, Any]
    modalities: dict[str, Any]


CASES = {
    "whisper": Case(64, 8, {"max_new_tokens": 32, "num_beams": 1, "language": "en"}, {"audio": {"fields": ["wav"]}}),
    "t5": Case(800, 32, {"max_new_tokens": 32, "num_beams": 1}, {"text": {"fields": ["txt"]}}),
}  # fmt: skip


def main() -> None:
    given = options()
    head = {
        **environment(),
        "libraries": {"transformers": importlib.metadata.version("transformers")},
    }
    rounds: list[dict[str, Any]] = []
    for number in range(given.rounds):
        rounds.append({})
        for name in given.model:
            rounds[-1][name] = one_round(name, given, number + 1)
        found = {**head, "wanted": WANTED, "times": TIMES, "rounds": rounds}
        given.output.parent.mkdir(parents=True, exist_ok=True)
        given.output.write_text(json.dumps(found, indent=1) + "\n")
    report(rounds, given.output)


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="few samples: does all of it run?")
    parser.add_argument("--data", type=Path, default=Path("runs/bench/generators"))
    parser.add_argument("--output", type=Path, help="in the data folder with --quick")
    given = parser.parse_args()
    given.rounds = 1 if given.quick else given.rounds
    given.output = given.output or (given.data / RESULTS.name if given.quick else RESULTS)
    given.data = given.data.absolute()
    return given


def one_round(name: str, given: argparse.Namespace, number: int) -> dict[str, Any]:
    """Both over the small and the large set."""
    case = CASES[name]
    samples = SHARDS if given.quick else case.samples
    small, large = make_inputs(given.data / name, name, samples)
    folder = make_model(given.data / name / "model", name)
    runs: dict[str, Any] = {"samples": samples}
    for shards, times in ((small, 1), (large, TIMES)):
        for run in RUNS:
            done = runs[f"{run}-x{times}"] = one_run(run, case, folder, shards, samples * times)
            told = f"{done['wall_seconds']:.1f} s, {done['cpu_seconds']:.1f} CPU-s"
            print(f"round {number} {name} {run} x{times}: {told}", file=sys.stderr, flush=True)
    for run in RUNS:
        seconds = runs[f"{run}-x{TIMES}"]["wall_seconds"] - runs[f"{run}-x1"]["wall_seconds"]
        runs[f"{run} samples/s"] = round((TIMES - 1) * samples / seconds, 4)
        cpu = runs[f"{run}-x{TIMES}"]["cpu_seconds"] - runs[f"{run}-x1"]["cpu_seconds"]
        runs[f"{run} samples/CPU-s"] = round((TIMES - 1) * samples / cpu, 4)
    for unit in ("s", "CPU-s"):
        share = runs[f"job samples/{unit}"] / runs[f"loop samples/{unit}"]
        runs[f"job / loop, {unit}"] = round(share, 4)
    return runs


def make_inputs(folder: Path, name: str, samples: int) -> tuple[str, str]:
    """Shards of sounds or of texts; the globs of ``samples`` of them and of ``TIMES`` as many."""
    small, large = folder / f"x1-{samples}", folder / f"x{TIMES}-{samples}"
    if not large.is_dir():
        shutil.rmtree(small, ignore_errors=True)
        small.mkdir(parents=True)
        members = list(_sounds(samples) if name == "whisper" else _texts(samples))
        for shard in range(SHARDS):
            with tarfile.open(small / f"{name}-{shard:06d}.tar", "w") as archive:
                for field, data in members[shard::SHARDS]:
                    member = tarfile.TarInfo(field)
                    member.size = len(data)
                    archive.addfile(member, io.BytesIO(data))
        partial = large.with_suffix(".part")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        for time in range(TIMES):
            for path in small.glob("*.tar"):
                os.link(path, partial / f"{time}-{path.name}")
        partial.rename(large)
    return f"{small}/*.tar", f"{large}/*.tar"


def _sounds(samples: int) -> Iterator[tuple[str, bytes]]:
    random = np.random.default_rng(0)
    for number in range(samples):
        time = np.arange(int(random.uniform(2, CHUNK_SECONDS) * RATE)) / RATE
        sound = sum(np.sin(2 * np.pi * hz * time) for hz in random.uniform(100, 3000, 3)) / 4
        file = io.BytesIO()
        soundfile.write(file, sound, RATE, format="WAV", subtype="PCM_16")
        yield f"{number:08d}.wav", file.getvalue()


def _texts(samples: int) -> Iterator[tuple[str, bytes]]:
    random = np.random.default_rng(0)
    for number in range(samples):
        words = random.choice(WORDS, size=int(random.integers(4, 120)))
        yield f"{number:08d}.txt", " ".join(words).encode()


def make_model(folder: Path, name: str) -> Path:
    """A folder of random weights, as transformers saves it."""
    if not (folder / "config.json").is_file():
        import torch

        torch.manual_seed(0)
        partial = folder.with_suffix(".part")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        (_whisper if name == "whisper" else _t5)(partial)
        partial.rename(folder)
    return folder


def _t5(folder: Path) -> None:
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    ids = {word: number for number, word in enumerate(["<pad>", "</s>", "<unk>", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=512
    ).save_pretrained(folder)  # fmt: skip
    config = transformers.T5Config(
        vocab_size=len(ids), d_model=256, d_kv=32, d_ff=1024, num_layers=4, num_heads=8, decoder_start_token_id=0
    )  # fmt: skip
    transformers.T5ForConditionalGeneration(config).save_pretrained(folder)


def _whisper(folder: Path) -> None:
    """Of the tiny size, for windows of 10 s, with letters in place of 50,000 tokens."""
    import transformers

    letters = [chr(ord("a") + number) for number in range(26)]
    names = [
        "<|endoftext|>",
        "<|startoftranscript|>",
        "<|en|>",
        "<|translate|>",
        "<|transcribe|>",
        "<|notimestamps|>",
    ]
    ids = {name: number for number, name in enumerate([*letters, *names])}
    tokenizer = transformers.WhisperTokenizer(vocab=ids, merges=[], pad_token=names[0])
    tokenizer.add_special_tokens({"additional_special_tokens": names[1:]})
    tokenizer.save_pretrained(folder)
    transformers.WhisperFeatureExtractor(chunk_length=CHUNK_SECONDS).save_pretrained(folder)
    end, start = ids[names[0]], ids[names[1]]
    config = transformers.WhisperConfig(
        vocab_size=len(ids), max_source_positions=50 * CHUNK_SECONDS, d_model=384, encoder_layers=4, decoder_layers=4,
        encoder_attention_heads=6, decoder_attention_heads=6, encoder_ffn_dim=1536, decoder_ffn_dim=1536,
        pad_token_id=end, bos_token_id=end, eos_token_id=end, decoder_start_token_id=start, suppress_tokens=None,
        begin_suppress_tokens=None,
    )  # fmt: skip
    model = transformers.WhisperForConditionalGeneration(config)
    model.generation_config = transformers.GenerationConfig(
        pad_token_id=end, bos_token_id=end, eos_token_id=end, decoder_start_token_id=start, is_multilingual=True,
        lang_to_id={"<|en|>": ids["<|en|>"]}, return_timestamps=False, no_timestamps_token_id=ids[names[-1]],
        task_to_id={task: ids[f"<|{task}|>"] for task in ("translate", "transcribe")},
    )  # fmt: skip
    model.save_pretrained(folder)


def one_run(name: str, case: Case, folder: Path, shards: str, samples: int) -> dict[str, Any]:
    """Runs the loop or the job once, in a process of its own.

    Raises:
        SystemExit: It failed, or did not do all samples.
    """
    run_folder = folder.parent / "run"
    shutil.rmtree(run_folder, ignore_errors=True)
    config = folder.parent / "job.json"
    infer = {
        "input": shards,
        "model": f"hf:{folder}",
        "batch_size": case.batch_size,
        "settings": case.settings,
    }
    config.write_text(
        json.dumps({"run": str(run_folder), "modalities": case.modalities, "infer": infer})
    )
    load = round(os.getloadavg()[0], 2)
    module = "bench.peers.bare_generator" if name == "loop" else "jobs.infer"
    found = measure(
        [sys.executable, "-m", module, str(config), *(["--json"] if name == "job" else [])]
    )
    done = found.answer.get("samples", found.answer.get("samples_written"))
    if found.failed or done != samples:
        raise SystemExit(f"{name}: exit code {found.exit_code}, {done} samples, {found.error}")
    shutil.rmtree(run_folder, ignore_errors=True)
    found.answer.pop("outputs", None)  # locations of this machine
    return {**asdict(found), "load": load}


def report(rounds: list[dict[str, Any]], output: Path) -> None:
    """Prints medians and ranges over the rounds."""
    for name in rounds[0]:
        for figure in (figure for figure in rounds[0][name] if "/" in figure):
            values = [each[name][figure] for each in rounds]
            spread = f"({min(values):.2f}-{max(values):.2f})"
            reached = "reached" if statistics.median(values) >= WANTED else "NOT reached"
            verdict = f">= {WANTED} {reached}" if "/ loop" in figure else ""
            print(
                f"{name + ' ' + figure:<28}{statistics.median(values):>10.2f} {spread:<20}{verdict}"
            )
    print(f"\nwritten to {output}")


if __name__ == "__main__":
    main()

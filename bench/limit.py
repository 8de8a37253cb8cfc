"""The physical limit: the fastest kernels known, in bare processes that talk to nobody and keep nothing.

    python -m bench.limit [--samples 4000] [--processes 2] [--kernels published|ours]

Every other benchmark is a fraction of what this prints. ``published`` are the kernels of the first measurements:
JPEG by simplejpeg, scaled where a half is enough, and torch's antialiased uint8 resize; WAV parsed from its RIFF
header; log-mel by ``torch.fft.rfft`` on four sounds at a time; ``encode_batch_fast``; members found by their headers
in a mapped file. No check, no limit, no error handling: what it is given must be as ``bench.workload`` makes it.
``ours`` runs the pipeline's ``Decoder.decode`` on the same shards, in the same bare processes.
"""

from __future__ import annotations

import argparse
import json
import mmap
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bench.workload import MODALITIES, make_shards

_SETTINGS: dict[str, dict[str, Any]] = MODALITIES
SIZE = _SETTINGS["image"]["size"]
MAX_TOKENS = _SETTINGS["text"]["max_tokens"]
RATE_HZ = _SETTINGS["audio"]["sample_rate_hz"]
NUM_SAMPLES = round(RATE_HZ * _SETTINGS["audio"]["max_seconds"])
NUM_MELS = _SETTINGS["audio"]["num_mels"]
VOCAB_SIZE = _SETTINGS["text"]["vocab_size"]
WINDOW, HOP = RATE_HZ // 40, RATE_HZ // 100
MEL_GROUP = 4
BLOCK = 512
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
SHARD_SAMPLES = 250  # of the shards made here: about 58 MB


class Spent(NamedTuple):
    """What decoding some samples took."""

    samples: int
    cpu_seconds: float
    wall_seconds: float


def limit_part(path: str | Path, tokenizer: Any) -> int:
    """Decodes a whole shard and keeps nothing; returns how many samples it holds."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        view = memoryview(mapped)
        samples = list(read_samples(view))
        limit_samples(samples, tokenizer)
        count = len(samples)
        del samples
        view.release()
    return count


def limit_samples(samples: Sequence[dict[str, memoryview]], tokenizer: Any) -> None:
    """Decodes samples and keeps nothing."""
    for sample in samples:
        limit_image(sample["jpg"])
    for start in range(0, len(samples), MEL_GROUP):
        limit_log_mel([limit_wav(sample["wav"]) for sample in samples[start : start + MEL_GROUP]])
    texts = [str(sample["txt"], "utf-8") for sample in samples]
    for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False):
        np.array(encoding.ids[:MAX_TOKENS], dtype=np.int32)


def limit_sample(sample: dict[str, memoryview], tokenizer: Any) -> None:
    """Decodes one sample and keeps nothing."""
    limit_samples([sample], tokenizer)


def read_samples(view: memoryview) -> Iterator[dict[str, memoryview]]:
    """Members by their headers, grouped by key."""
    offset, last = 0, b""
    fields: dict[str, memoryview] = {}
    while offset < len(view):
        header = bytes(view[offset : offset + BLOCK])
        name = header[:100].rstrip(b"\0")
        if not name:
            break
        size = int(header[124:135], 8)
        key, _, extension = name.partition(b".")
        if key != last and fields:
            yield fields
            fields = {}
        last = key
        fields[extension.decode()] = view[offset + BLOCK : offset + BLOCK + size]
        offset += BLOCK + -(-size // BLOCK) * BLOCK
    if fields:
        yield fields


def limit_image(data: memoryview) -> np.ndarray:
    """JPEG -> (SIZE, SIZE, 3) uint8."""
    import simplejpeg
    import torch

    pixels = simplejpeg.decode_jpeg(
        data, "RGB", min_height=SIZE, min_width=SIZE, min_factor=2, strict=False
    )
    height, width = pixels.shape[:2]
    scale = SIZE / min(height, width)
    target = max(SIZE, round(height * scale)), max(SIZE, round(width * scale))
    planes = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    small = torch.nn.functional.interpolate(planes, size=target, mode="bilinear", antialias=True)
    top, left = (target[0] - SIZE) // 2, (target[1] - SIZE) // 2
    square = small[0, :, top : top + SIZE, left : left + SIZE].permute(1, 2, 0)
    return np.asarray(square.contiguous().numpy())


def limit_wav(data: memoryview) -> np.ndarray:
    """16-bit mono WAV -> (T,) int16, at most what is kept."""
    offset = 12
    while bytes(data[offset : offset + 4]) != b"data":
        offset += 8 + int.from_bytes(data[offset + 4 : offset + 8], "little")
    size = int.from_bytes(data[offset + 4 : offset + 8], "little")
    return np.frombuffer(data, "<i2", min(size // 2, NUM_SAMPLES), offset + 8)


def limit_log_mel(sounds: Sequence[np.ndarray]) -> np.ndarray:
    """(T,) int16 sounds -> (B, F, N) float16."""
    import torch

    window, filters = _mel_constants()
    padded = torch.zeros(len(sounds), NUM_SAMPLES + 2 * (WINDOW // 2))
    for row, sound in zip(padded.numpy(), sounds, strict=True):
        np.multiply(sound, np.float32(1 / 32768), out=row[WINDOW // 2 : WINDOW // 2 + len(sound)])
    spectrum = torch.view_as_real(torch.fft.rfft(padded.unfold(1, WINDOW, HOP) * window))
    spectrum.mul_(spectrum)
    power = spectrum[..., 0] + spectrum[..., 1]
    mel = torch.matmul(filters, power.transpose(1, 2)).clamp_min_(1e-10).log10_().mul_(10.0)
    mel = torch.maximum(mel, mel.amax(dim=(1, 2), keepdim=True) - 80.0)
    return np.asarray(mel.to(torch.float16).numpy())


_CONSTANTS: list[Any] = []


def _mel_constants() -> list[Any]:
    if not _CONSTANTS:
        import torch

        from pipeline.modalities.audio.mel import hann, mel_filters

        _CONSTANTS.append(torch.from_numpy(hann(WINDOW)))
        _CONSTANTS.append(torch.from_numpy(mel_filters(RATE_HZ, WINDOW, NUM_MELS)))
    return _CONSTANTS


def published_worker(tokenizer: str) -> Callable[[str], int]:
    """The limit's kernels, ready in this process."""
    import torch
    from tokenizers import Tokenizer

    torch.set_num_threads(1)
    engine = Tokenizer.from_str(tokenizer)
    return lambda path: limit_part(path, engine)


def our_worker(tokenizer: str) -> Callable[[str], int]:
    """The pipeline's decoder, ready in this process."""
    from pipeline.modalities import ModalitiesConfig
    from pipeline.modalities.decoding.decoder import Decoder
    from pipeline.shards.planning.plan import expand, plan
    from pipeline.shards.reading.reader import read_part

    decoder = Decoder.build(ModalitiesConfig.model_validate(MODALITIES), tokenizer)

    def work(path: str) -> int:
        count = 0
        for part in plan(expand(path)):
            count += decoder.decode(read_part(part), part.to_json()).num_rows
        return count

    return work


WORKERS = {"published": published_worker, "ours": our_worker}
_READY: dict[str, Callable[[str], int]] = {}


def decode_path(kernels: str, path: str, tokenizer: str) -> Spent:
    """Decodes one shard in this process; what is set up once is not counted."""
    if kernels not in _READY:
        _READY[kernels] = WORKERS[kernels](tokenizer)
        _READY[kernels](path)
    wall, cpu = time.perf_counter(), time.process_time()
    count = _READY[kernels](path)
    return Spent(count, time.process_time() - cpu, time.perf_counter() - wall)


class Bare:
    """Processes that decode shards, each on its own."""

    def __init__(self, processes: int, tokenizer: str) -> None:
        self.tokenizer = tokenizer
        self.processes = processes
        os.environ.update(
            ONE_THREAD
        )  # the processes inherit it, and read it when they import numpy and torch
        context = multiprocessing.get_context("spawn")
        self.pool = ProcessPoolExecutor(processes, mp_context=context)

    def run(self, kernels: str, paths: Sequence[Path]) -> Spent:
        """Decodes all shards once, warm; wall seconds are of the whole, CPU seconds of all processes."""
        self._all(kernels, paths[: self.processes])
        began = time.perf_counter()
        spent = self._all(kernels, paths)
        wall = time.perf_counter() - began
        return Spent(sum(s.samples for s in spent), sum(s.cpu_seconds for s in spent), wall)

    def _all(self, kernels: str, paths: Sequence[Path]) -> list[Spent]:
        names, token = [str(path) for path in paths], self.tokenizer
        count = len(names)
        return list(self.pool.map(decode_path, [kernels] * count, names, [token] * count))

    def close(self) -> None:
        self.pool.shutdown()


def make_tokenizer(paths: Sequence[Path]) -> str:
    """A tokenizer of the first shard's texts, as JSON."""
    from pipeline.modalities.text.codec import train_tokenizer

    with open(paths[0], "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        view = memoryview(data)
        texts = [str(sample["txt"], "utf-8") for sample in read_samples(view)]
        view.release()
    return train_tokenizer(texts, VOCAB_SIZE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=4000)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kernels", nargs="*", choices=WORKERS, default=list(WORKERS))
    parser.add_argument("--data", type=Path, default=Path("/tmp/bench-limit"))
    given = parser.parse_args()
    shards = max(given.processes, given.samples // SHARD_SAMPLES)
    paths = make_shards(given.data / f"{given.samples}x{shards}", given.samples, shards)
    bare = Bare(given.processes, make_tokenizer(paths))
    rounds = [
        {kernels: bare.run(kernels, paths) for kernels in given.kernels}
        for _ in range(given.rounds)
    ]
    bare.close()
    for spent in rounds:
        for kernels, one in spent.items():
            print(
                f"{kernels:<12}{one.samples / one.wall_seconds:>8.0f} samples/s"
                f"{1000 * one.cpu_seconds / one.samples:>8.2f} CPU-s per 1,000"
            )
    print(json.dumps([{k: one._asdict() for k, one in spent.items()} for spent in rounds]))


if __name__ == "__main__":
    main()

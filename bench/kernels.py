"""Decode kernels against their references, in turn (A B A B ...), on data made here.

    python -m bench.kernels [--rounds 7]

Prints medians and the ratio of each pair, and writes them with machine, versions and commit to bench/results/.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import statistics
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import librosa
import numpy as np
import PIL
import soundfile
from PIL import Image

from pipeline import storage
from pipeline.modalities.audio import AudioConfig
from pipeline.modalities.image import ImageConfig
from pipeline.shards.tar import scan

RESULTS = Path(__file__).parent / "results"
Work = Callable[[], object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="pairs measured of each kernel")
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        pairs = {
            "jpeg 500x375 -> 224": image_pair(),
            "log-mel of 4 s": mel_pair(),
            "wav 4 s, decoded": wav_pair(),
            "tar, 4,000 headers": tar_pair(Path(folder)),
        }
        rows = {name: measure(*pair, rounds) for name, pair in pairs.items()}
    print(f"{'kernel':<24}{'ours ms':>10}{'reference ms':>14}{'speed-up':>10}  (min-max of pairs)")
    for name, row in rows.items():
        low, high = row["ratio_min"], row["ratio_max"]
        print(
            f"{name:<24}{row['ours_ms']:>10.3f}{row['reference_ms']:>14.3f}"
            f"{row['ratio']:>10.2f}  ({low:.2f}-{high:.2f})"
        )
    path = RESULTS / "kernels.json"
    path.write_text(
        json.dumps({**environment(), "rounds": rounds, "kernels": rows}, indent=1) + "\n"
    )
    print(f"written to {path}")


def measure(ours: Work, reference: Work, rounds: int) -> dict[str, float]:
    """Times the two in turn, after one round that does not count."""
    times: list[tuple[float, float]] = []
    for number in range(rounds + 1):
        pair = (seconds(ours), seconds(reference))
        if number:
            times.append(pair)
    ratios = [b / a for a, b in times]
    return {
        "ours_ms": 1000 * statistics.median(a for a, _ in times),
        "reference_ms": 1000 * statistics.median(b for _, b in times),
        "ratio": statistics.median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
    }


def seconds(work: Work, at_least: float = 0.1) -> float:
    """Seconds a call takes, over as many calls as fill ``at_least`` seconds."""
    calls, began = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - began) < at_least:
        work()
        calls += 1
    return elapsed / calls


def image_pair() -> tuple[Work, Work]:
    """Scaled decoding, against Pillow decoding every pixel."""
    y, x = np.mgrid[0:375, 0:500]
    planes = [127 + 60 * np.sin(x / 9 + c) * np.cos(y / 13 - c) for c in range(3)]
    noise = np.random.default_rng(0).normal(0, 12, (375, 500, 3))
    data = io.BytesIO()
    pixels = np.clip(np.stack(planes, -1) + noise, 0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(data, "JPEG", quality=92)
    codec = ImageConfig(size=224).codec(None)
    view = memoryview(data.getvalue())

    def reference() -> np.ndarray:
        with Image.open(io.BytesIO(view)) as image:
            whole = image.convert("RGB").resize((299, 224), Image.Resampling.BICUBIC)
            return np.asarray(whole.crop((37, 0, 261, 224)))

    return lambda: codec.decode(view, "jpg"), reference


def mel_pair() -> tuple[Work, Work]:
    """Our log-mel, against librosa's."""
    codec = AudioConfig(sample_rate_hz=16000, max_seconds=4.0, num_mels=80).codec(None)
    sound = np.random.default_rng(0).normal(0, 0.1, codec.num_samples).astype(np.float32)

    def reference() -> np.ndarray:
        mel = librosa.feature.melspectrogram(
            y=sound, sr=16000, n_fft=codec.window, hop_length=codec.hop, n_mels=80
        )
        return np.asarray(librosa.power_to_db(mel))

    return lambda: codec.log_mel(sound), reference


def wav_pair() -> tuple[Work, Work]:
    """A WAV to mono, against librosa.load."""
    codec = AudioConfig(sample_rate_hz=16000, max_seconds=4.0, num_mels=80).codec(None)
    sound = np.random.default_rng(0).normal(0, 0.1, 4 * 16000)
    data = io.BytesIO()
    soundfile.write(data, sound, 16000, format="WAV")
    view = memoryview(data.getvalue())
    return (
        lambda: codec.waveform(view, "wav"),
        lambda: librosa.load(io.BytesIO(view), sr=16000, mono=True),
    )


def tar_pair(folder: Path) -> tuple[Work, Work]:
    """The header scan, against tarfile."""
    path = folder / "x.tar"
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for index in range(4000):
            info = tarfile.TarInfo(f"{index:06d}.txt")
            info.size = 100
            tar.addfile(info, io.BytesIO(bytes(100)))

    def ours() -> int:
        source = storage.open_source(str(path))
        count = sum(1 for _ in scan(source))
        source.close()
        return count

    def reference() -> int:
        with tarfile.open(path) as tar:
            return len(tar.getmembers())

    return ours, reference


def environment() -> dict[str, object]:
    """Machine, versions and commit."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs",
        "python": platform.python_version(),
        "versions": {m.__name__: m.__version__ for m in (np, librosa, PIL, soundfile)},
        "commit": commit.stdout.strip(),
    }


if __name__ == "__main__":
    main()

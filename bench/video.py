"""Clips to frames, against bare PyAV that keeps the same frames at the same size, on one core.

    python -m bench.video [--rounds 7] [--clips SHARD.tar]

Clips are made here (640 x 360, 24 a second, H.264 with a key frame every 2 s, AAC), or are those of a shard. Both
sides decode with one thread, resize with one reformatter of the same filter, cut the same square and keep it; the
indices of the frames are given to the bare loops, which are a plain walk from the beginning to the last frame that is
wanted, and one that seeks the key frame before each. All three are checked to give the same pixels. Rounds go through
the sides in turn; a figure is kept frames for each CPU second of this process, and a round's ratio is to the faster of
the bare loops. Written to bench/results/video.json.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import sys
import tarfile
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from bench.kernels import RESULTS, environment
from bench.limit import ONE_THREAD

RATE, SECONDS, WIDTH, HEIGHT, SIZE = 24, 10, 640, 360, 112
PACKAGES = ("av", "numpy")


class Case(NamedTuple):
    """Which frames are kept: settings of the modality ``video``."""

    frames: int
    rate_hz: float | None = None


CASES = {
    "8 of the whole clip": Case(8),
    "32 of the whole clip": Case(32),
    "8 a second of the first 4 s": Case(32, 8.0),
    "every frame of the first 2 s": Case(48, 24.0),
}
Keep = Callable[[bytes, Sequence[int]], list[Any]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7, help="rounds measured of each case")
    parser.add_argument("--clips", type=Path, help="a shard of clips, rather than those made here")
    options = parser.parse_args()
    clips = read_clips(options.clips) if options.clips else {"made.mp4": made_clip()}
    cases = {name: measure(clips, case, options.rounds) for name, case in CASES.items()}
    for name, row in cases.items():
        print(
            f"{name:<30}{row['ours']:>9.1f} frames/s{row['walk']:>9.1f} walk{row['seek']:>9.1f} seek"
            f"{row['ratio']:>7.2f} ({row['ratio_min']:.2f}-{row['ratio_max']:.2f})"
        )
    path = RESULTS / "video.json"
    results = json.loads(path.read_text("utf-8")) if path.exists() else {}
    source = options.clips.name if options.clips else "made here"
    results[source] = {
        **environment(PACKAGES),
        "load": os.getloadavg()[0],
        "rounds": options.rounds,
        "clips": len(clips),
        "size": SIZE,
        "cases": cases,
    }
    path.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(f"written to {path}")


def measure(clips: dict[str, bytes], case: Case, rounds: int) -> dict[str, float]:
    """Kept frames for each CPU second of all sides in turn, after a round that does not count."""
    import numpy as np

    from pipeline.modalities.video import VideoConfig
    from pipeline.modalities.video.frames import are_there

    codec = VideoConfig(frames=case.frames, rate_hz=case.rate_hz, size=SIZE).codec(None)
    wanted = {name: indices(data, case) for name, data in clips.items()}
    for name, data in clips.items():
        values = codec.decode(memoryview(data), name.rpartition(".")[2])
        for bare in (walk, seek):
            np.testing.assert_array_equal(values[are_there(values)], bare(data, wanted[name]))
    sides: dict[str, Callable[[str, bytes], object]] = {
        "ours": lambda name, data: codec.decode(memoryview(data), name.rpartition(".")[2]),
        "walk": lambda name, data: walk(data, wanted[name]),
        "seek": lambda name, data: seek(data, wanted[name]),
    }
    kept = sum(map(len, wanted.values()))
    rates: dict[str, list[float]] = {side: [] for side in sides}
    for number in range(rounds + 1):
        order = list(sides)[number % 3 :] + list(sides)[: number % 3]
        for side in order:
            began = time.process_time()
            for name, data in clips.items():
                sides[side](name, data)
            rate = kept / (time.process_time() - began)
            if number:
                rates[side].append(rate)
    ratios = [
        ours / max(bare)
        for ours, *bare in zip(rates["ours"], rates["walk"], rates["seek"], strict=True)
    ]
    return {
        **{side: round(statistics.median(values), 2) for side, values in rates.items()},
        "ratio": round(statistics.median(ratios), 3),
        "ratio_min": round(min(ratios), 3),
        "ratio_max": round(max(ratios), 3),
        "kept_frames": kept,
    }


def indices(data: bytes, case: Case) -> list[int]:
    """The frames that the project's sampling keeps."""
    from pipeline.modalities.video import VideoConfig
    from pipeline.modalities.video.library import opened
    from pipeline.modalities.video.reading import Clip
    from pipeline.modalities.video.sampling import Sampling

    with opened(memoryview(data)) as container:
        clip = Clip(container, VideoConfig().bounds(), "mp4")
        chosen = Sampling(case.frames, 1, case.rate_hz).choose(clip.begins, clip.end)
    return [frame for frame in chosen.tolist() if frame >= 0]


def walk(data: bytes, wanted: Sequence[int]) -> list[Any]:
    """Decodes from the beginning to the last frame that is wanted."""
    import av

    places, kept = set(wanted), []
    reformatter = av.video.reformatter.VideoReformatter()
    with av.open(io.BytesIO(data)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        for index, frame in enumerate(container.decode(stream)):
            if index in places:
                kept.append(square(reformatter, frame))
                if index == wanted[-1]:
                    break
    return kept


def seek(data: bytes, wanted: Sequence[int]) -> list[Any]:
    """Seeks the key frame before each frame that is wanted, where that lies behind what is decoded already."""
    import av

    kept: list[Any] = []
    reformatter = av.video.reformatter.VideoReformatter()
    with av.open(io.BytesIO(data)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        packets = [packet for packet in container.demux(stream) if packet.size]
        stamps = sorted(packet.pts for packet in packets)
        keys = sorted(packet.pts for packet in packets if packet.is_keyframe)
        del packets
        at = -1
        frames = iter(())
        for index in wanted:
            key = max((key for key in keys if key <= stamps[index]), default=stamps[0])
            if at < 0 or key > at:
                container.seek(key, stream=stream)
                frames = container.decode(stream)
            for frame in frames:
                at = frame.pts
                if at >= stamps[index]:
                    kept.append(square(reformatter, frame))
                    break
    return kept


def square(reformatter: Any, frame: Any) -> Any:
    """The centre of a frame, (SIZE, SIZE, 3) uint8."""
    scale = SIZE / min(frame.width, frame.height)
    width, height = (max(SIZE, round(side * scale)) for side in (frame.width, frame.height))
    pixels = reformatter.reformat(
        frame, width, height, "rgb24", interpolation="BICUBIC"
    ).to_ndarray()
    top, left = (height - SIZE) // 2, (width - SIZE) // 2
    return pixels[top : top + SIZE, left : left + SIZE].copy()


def made_clip() -> bytes:
    """Smooth patches that move over each other, with a little noise, as a camera sees it."""
    import av
    import numpy as np

    rng = np.random.default_rng(0)
    ground = rng.integers(0, 256, (HEIGHT // 8 + 8, WIDTH // 8 + 64, 3), dtype=np.uint8)
    ground = ground.repeat(8, axis=0).repeat(8, axis=1)
    data = io.BytesIO()
    with av.open(data, "w", format="mp4") as out:
        stream = out.add_stream("libx264", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.options = {"g": str(2 * RATE), "preset": "veryfast", "crf": "23"}
        sound = out.add_stream("aac", rate=44100)
        for index in range(RATE * SECONDS):
            x, y = index, index // 5
            pixels = ground[y : y + HEIGHT, x : x + WIDTH].astype(np.int16)
            pixels = np.clip(pixels + rng.integers(-4, 5, pixels.shape), 0, 255).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            out.mux(stream.encode(frame.reformat(format="yuv420p")))
        out.mux(stream.encode(None))
        for start in range(0, 44100 * SECONDS, 1024):
            block = av.AudioFrame.from_ndarray(
                rng.normal(0, 0.1, (2, 1024)).astype(np.float32), format="fltp", layout="stereo"
            )
            block.sample_rate, block.pts, block.time_base = 44100, start, Fraction(1, 44100)
            out.mux(sound.encode(block))
        out.mux(sound.encode(None))
    return data.getvalue()


def read_clips(shard: Path) -> dict[str, bytes]:
    """The clips of a shard, by the names of their members."""
    with tarfile.open(shard) as tar:
        members = [
            m for m in tar if m.name.rpartition(".")[2] in ("mp4", "mkv", "webm", "avi", "mov")
        ]
        return {member.name: tar.extractfile(member).read() for member in members}  # type: ignore[union-attr]


if __name__ == "__main__":
    if not ONE_THREAD.items() <= os.environ.items():  # numpy reads these when it is imported
        os.execve(
            sys.executable,
            [sys.executable, "-m", "bench.video", *sys.argv[1:]],
            {**os.environ, **ONE_THREAD},
        )
    main()

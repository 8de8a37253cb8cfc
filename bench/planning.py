"""Planning at scale: a million small shards, and the headers of a large one.

    python -m bench.planning [--shards 1000000] [--members 200000] [--rounds 5]

The listing of the shards is simulated: a store of that many is not at hand, and how fast one lists is its own affair.
The scan of headers is held against ``tarfile``, in turn, on a file in the page cache. Writes planning.json to
bench/results/.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import resource
import statistics
import subprocess
import tarfile
import tempfile
import time
from pathlib import Path

from pipeline import storage
from pipeline.shards.planning.cuts import cut, samples
from pipeline.shards.planning.plan import PART_BYTES, expand, needs_scan, plan
from pipeline.shards.tar.scanner import scan
from pipeline.storage import FileInfo

RESULTS = Path(__file__).parent / "results"
SHARD_BYTES = 24 << 20  # below the size of a part, so that none is opened
FIELDS = {"jpg": 2000, "txt": 100}  # bytes of the members that are scanned


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=int, default=1_000_000, help="small shards to plan")
    parser.add_argument("--members", type=int, default=200_000, help="headers to scan")
    parser.add_argument("--rounds", type=int, default=5, help="pairs of scans")
    options = parser.parse_args()
    many = plan_many(options.shards)  # first: the peak of memory is the process's
    with tempfile.TemporaryDirectory() as folder:
        headers = scan_headers(Path(folder) / "x.tar", options.members, options.rounds)
    for name, rows in (("many shards", many), ("headers", headers)):
        print(name)
        for row, value in rows.items():
            print(f"  {row:<28}{value:>14,.3f}")
    path = RESULTS / "planning.json"
    path.write_text(
        json.dumps({**environment(), "many_shards": many, "headers": headers}, indent=1) + "\n",
        encoding="utf-8",
    )
    print(f"written to {path}")


def plan_many(count: int) -> dict[str, float]:
    """Lists, names, fingerprints and plans so many shards, and finds those that are still to do."""

    def listing(folder: str, *, recursive: bool = False) -> list[FileInfo]:
        return [
            FileInfo(f"{folder}shard-{number:08d}.tar", SHARD_BYTES, f"17{number:017d}")
            for number in range(count)
        ]

    before, began = peak_bytes(), time.perf_counter()
    real, storage.list_files = storage.list_files, listing
    try:
        shards = expand("s3://bucket/a/data/set/train/shard-*.tar")
    finally:
        storage.list_files = real
    listed = time.perf_counter()
    assert not any(map(needs_scan, shards))
    parts = plan(shards)
    planned = time.perf_counter()
    memory = peak_bytes() - before
    assert len(parts) == count
    done = {part.id for part in parts[: count // 2]}
    todo = sum(part.id not in done for part in parts)
    assert todo == count - count // 2
    return {
        "shards": count,
        "expand_seconds": listed - began,
        "plan_seconds": planned - listed,
        "seconds": planned - began,
        "resume_seconds": time.perf_counter() - planned,
        "peak_growth_mb": memory / 1e6,
    }


def scan_headers(path: Path, members: int, rounds: int) -> dict[str, float]:
    """Members a second of CPU time: scanned, scanned and cut into parts, and read by ``tarfile``."""
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for number in range(members // len(FIELDS)):
            for extension, size in FIELDS.items():
                info = tarfile.TarInfo(f"{number:08d}.{extension}")
                info.size = size
                tar.addfile(info, io.BytesIO(bytes(size)))
    count = members // len(FIELDS) * len(FIELDS)

    def ours() -> None:
        source = storage.open_source(str(path))
        assert sum(1 for _ in scan(source)) == count
        source.close()

    def parts() -> None:
        source = storage.open_source(str(path))
        assert cut(samples(source), PART_BYTES).starts
        source.close()

    def reference() -> None:
        with tarfile.open(path) as tar:
            assert sum(1 for _ in tar) == count

    times: dict[str, list[float]] = {"scan": [], "cut": [], "tarfile": []}
    for _ in range(rounds + 1):
        for name, work in (("scan", ours), ("cut", parts), ("tarfile", reference)):
            began = time.process_time()
            work()
            times[name].append(time.process_time() - began)
    pairs = [ref / own for own, ref in zip(times["scan"][1:], times["tarfile"][1:], strict=True)]
    rates = {f"{name}_per_second": count / statistics.median(t[1:]) for name, t in times.items()}
    return {
        "members": count,
        **rates,
        "ratio": statistics.median(pairs),
        "ratio_min": min(pairs),
        "ratio_max": max(pairs),
    }


def peak_bytes() -> int:
    """Largest memory this process has had."""
    unit = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def environment() -> dict[str, object]:
    """Machine, version and commit."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs",
        "python": platform.python_version(),
        "commit": commit.stdout.strip(),
    }


if __name__ == "__main__":
    main()

"""The files that configurations read: one set of samples as tars of several sizes, as Parquet, and in an S3 store."""

from __future__ import annotations

import io
import itertools
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from bench.workload import MODALITIES, make_shards

NUM_SHARDS = 8
BIG_TAR_COPIES = 9  # of all samples; 4,000 of them are 0.93 GB
VOCABULARY = MODALITIES["text"]["vocab_size"]
ROW_GROUP = 128  # rows of the Parquet files: 30 MB
ENDPOINT_WAIT_SECONDS = 60
BUCKET = "bench"
S3_VARIABLES = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


class Inputs:
    """A folder with everything that is read; what is there already is used again.

    Args:
        root: The folder, on a disk with room for eleven times the samples.
        samples: How many there are in one set, a multiple of 32.
    """

    def __init__(self, root: Path, samples: int) -> None:
        self.root = root.resolve()
        self.samples = samples
        self.paths = make_shards(self.root / f"{samples}x{NUM_SHARDS}", samples, NUM_SHARDS)
        self.tokenizer = self.root / f"tokenizer-{samples}.json"
        if not self.tokenizer.exists():
            self.tokenizer.write_text(_train_tokenizer(self.paths[0]))
        self.config = self.root / "config.yaml"
        self.config.write_text(yaml.safe_dump({"run": "unused", "modalities": MODALITIES}))

    def tars(self, samples: int) -> str:
        """A glob of as many samples: some of the shards, or all of them under several names (hard links)."""
        if samples == self.samples:
            return str(self.paths[0].parent / "*.tar")
        each = self.samples // NUM_SHARDS
        count, rest = divmod(samples, each)
        if rest or not count:
            raise ValueError(f"{samples} samples are no whole number of shards of {each}")

        def fill(folder: Path) -> None:
            for number, path in zip(range(count), itertools.cycle(self.paths), strict=False):
                os.link(path, folder / f"linked-{number:06d}.tar")

        return str(self._made(f"{samples}-of-{self.samples}", fill) / "*.tar")

    def one_tar(self) -> str:
        """One tar of all samples."""
        return str(self._made(f"{self.samples}x1", lambda folder: _join(self.paths, folder, 1)))

    def big_tar(self) -> str:
        """One tar of all samples several times, each time with new keys."""
        name = f"{self.samples}x1x{BIG_TAR_COPIES}"
        return str(self._made(name, lambda folder: _join(self.paths, folder, BIG_TAR_COPIES)))

    def parquet(self) -> str:
        """A glob of Parquet files, one a shard, with the encoded bytes in binary columns."""

        def fill(folder: Path) -> None:
            for path in self.paths:
                _to_parquet(path, folder / f"{path.stem}.parquet")

        return str(self._made(f"{self.samples}x{NUM_SHARDS}-parquet", fill) / "*.parquet")

    def run_folder(self, folder: Path) -> Path:
        """Makes a run folder that has the tokenizer."""
        folder.mkdir(parents=True)
        shutil.copy(self.tokenizer, folder / "tokenizer.json")
        return folder

    def _made(self, name: str, fill: Callable[[Path], None]) -> Path:
        folder = self.root / name
        if not folder.exists():
            partial = self.root / f"{name}.part"
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            fill(partial)
            partial.rename(folder)
        return folder


@contextmanager
def s3_store(paths: list[Path], log: Path) -> Iterator[dict[str, str]]:
    """An S3 server of this machine that holds files; yields the variables that lead a client to it.

    Args:
        paths: What is put into :data:`BUCKET`.
        log: Where the server's own lines go.
    """
    from pyarrow import fs

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    endpoint = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with (
        open(log, "wb") as lines,
        subprocess.Popen(command, stdout=lines, stderr=subprocess.STDOUT) as server,
    ):
        try:
            _wait_for(endpoint, server)
            store = fs.S3FileSystem(
                access_key="testing",
                secret_key="testing",
                region="us-east-1",
                endpoint_override=endpoint,
                allow_bucket_creation=True,
            )
            store.create_dir(BUCKET)
            for path in paths:
                with (
                    open(path, "rb") as file,
                    store.open_output_stream(f"{BUCKET}/{path.name}") as to,
                ):
                    shutil.copyfileobj(file, to, 16 << 20)
            yield {**S3_VARIABLES, "AWS_ENDPOINT_URL": endpoint}
        finally:
            server.terminate()


def _wait_for(endpoint: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + ENDPOINT_WAIT_SECONDS
    while True:
        try:
            urllib.request.urlopen(f"{endpoint}/moto-api/", timeout=5).close()
            return
        except OSError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the S3 server does not start; is moto[server] there?") from None
            time.sleep(0.1)


def _join(paths: list[Path], folder: Path, copies: int) -> None:
    with tarfile.open(folder / "one.tar", "w", format=tarfile.USTAR_FORMAT) as joined:
        for copy, path in itertools.product(range(copies), paths):
            with tarfile.open(path) as archive:
                for member in archive:
                    file = archive.extractfile(member)
                    if copies > 1:
                        member.name = f"{copy:02d}-{member.name}"
                    joined.addfile(member, file)


def _train_tokenizer(tar: Path) -> str:
    from pipeline.modalities.text.codec import train_tokenizer

    return train_tokenizer((row["txt"].decode() for row in _rows(tar).values()), VOCABULARY)


def _to_parquet(tar: Path, to: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    rows = _rows(tar)
    columns = {name: [row[name] for row in rows.values()] for name in ("jpg", "wav", "txt")}
    table = pa.table({"key": list(rows), **columns})
    parquet.write_table(table, to, compression="none", row_group_size=ROW_GROUP)


def _rows(tar: Path) -> dict[str, dict[str, bytes]]:
    """Key -> extension -> bytes."""
    rows: dict[str, dict[str, bytes]] = {}
    with tarfile.open(tar) as archive:
        for member in archive:
            key, _, extension = member.name.partition(".")
            file = archive.extractfile(member) or io.BytesIO()
            rows.setdefault(key, {})[extension] = file.read()
    return rows

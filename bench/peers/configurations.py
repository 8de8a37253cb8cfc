"""Every configuration that is measured: its name, its command, and how many samples it has to hand over."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.peers.inputs import BIG_TAR_COPIES, BUCKET, Inputs

# Peers that Ray does not look after would otherwise start a thread a core in each of their processes.
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}
# A local Ray that is given no token writes one into the home folder, and other commands of this user then ask for it.
RAY = {
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
    "RAY_USAGE_STATS_ENABLED": "0",
}
DAFT_FOLDER = Path(
    ".venv/peers"
)  # Daft wants an older pyarrow than this project, so it lies beside, not among
WARM = "-warm"
Command = Callable[[Inputs, Path], list[str]]


@dataclass(frozen=True)
class Configuration:
    """One thing that is measured, in a process of its own.

    Attributes:
        name: Unique; a warm one is called as its cold one, and ``-warm``.
        about: What it is, for the table.
        group: Which table it is in.
        command: The program and its arguments, from the inputs and a folder for what it writes.
        share: Its samples, as a multiple of one set.
        variables: Added to the environment.
        passes: The last of them is timed alone.
        once: Measured in the first round alone.
        s3: Needs the store.
    """

    name: str
    about: str
    group: str
    command: Command
    share: float = 1.0
    variables: dict[str, str] = field(default_factory=dict)
    passes: int = 1
    once: bool = False
    s3: bool = False

    @property
    def warm(self) -> Configuration:
        """The same with a second pass in the same process."""

        def command(inputs: Inputs, folder: Path) -> list[str]:
            return [*self.command(inputs, folder), "--passes", "2"]

        return replace(self, name=self.name + WARM, command=command, passes=2)


def configurations() -> Iterator[Configuration]:
    """All of them, in the order of a round."""
    yield from _limits()
    yield from _ours()
    yield from _peers()
    yield from _parquet()
    yield from _scale()


def _limits() -> Iterator[Configuration]:
    for name, kernels, about in (
        ("limit", "published", "two bare processes, fastest kernels known"),
        ("bare", "ours", "two bare processes, our Decoder"),
    ):
        yield Configuration(
            name, about, "limit", _peer("bare", "--kernels", kernels), variables=ONE_THREAD
        )
    yield Configuration(
        "bare-x4",
        "the same, four times the samples",
        "limit",
        _peer("bare", share=4),
        share=4,
        variables=ONE_THREAD,
    )


def _ours() -> Iterator[Configuration]:
    yield Configuration("job", "the job preprocess, nothing kept", "ours", _job("none"))
    yield Configuration("job-x4", "the same, four times the samples", "ours", _job("none", 4), 4)
    work = _peer("ours", "--mode", "job")
    yield Configuration("job", "its work twice in one process", "ours", work).warm
    batches = Configuration("batches", "decoded batches to a consumer", "ours", _peer("ours"))
    yield batches
    yield batches.warm
    yield Configuration(
        "batches-x4", "the same, four times the samples", "ours", _peer("ours", share=4), 4
    )
    here = Configuration("here", "decoded parts to a consumer, without Ray", "ours", _peer("here"))
    yield here
    yield here.warm


def _peers() -> Iterator[Configuration]:
    daft = {**ONE_THREAD, "PYTHONPATH": os.pathsep.join([str(DAFT_FOLDER.resolve())])}
    for name, module, kernels, about, variables in (
        ("ray", "ray_data", "conventional", "Ray Data as documented", RAY),
        ("ray-equal", "ray_data", "ours", "Ray Data, our kernels", RAY),
        (
            "webdataset",
            "webdataset_loader",
            "conventional",
            "webdataset + DataLoader, 2 workers",
            ONE_THREAD,
        ),
        (
            "webdataset-equal",
            "webdataset_loader",
            "ours",
            "webdataset + DataLoader, our kernels",
            ONE_THREAD,
        ),
        ("daft", "daft_frame", "conventional", "Daft, its own image functions", daft),
        ("daft-mixed", "daft_frame", "mixed", "Daft, its images, our sounds and texts", daft),
        ("daft-equal", "daft_frame", "ours", "Daft, our kernels", daft),
    ):
        parquet = module == "daft_frame"
        cold = Configuration(
            name,
            about,
            "peers",
            _peer(module, "--kernels", kernels, parquet=parquet),
            variables=variables,
        )
        yield cold
        yield cold.warm


def _parquet() -> Iterator[Configuration]:
    daft = next(each for each in _peers() if each.name == "daft").variables
    for name, about, command, share, variables in (
        ("write-limit", "two bare processes, pyarrow uncompressed", _writer("bare"), 1, ONE_THREAD),
        (
            "write-limit-ours",
            "two bare processes, our encodings and fsync",
            _writer("bare", "--layout", "ours"),
            1,
            ONE_THREAD,
        ),
        ("write-job", "the job preprocess", _job("parquet"), 1, {}),
        ("write-job-x4", "the same, four times the samples", _job("parquet", 4), 4, {}),
        ("write-ray", "Ray Data as documented, write_parquet", _writer("ray_data"), 1, RAY),
        (
            "write-daft",
            "Daft, its own image functions, write_parquet",
            _writer("daft_frame", parquet=True),
            1,
            daft,
        ),
    ):
        yield Configuration(name, about, "to Parquet", command, share, variables)


def _scale() -> Iterator[Configuration]:
    for name, about, share in (
        ("job-quarter", "the job, a quarter of the samples", 0.25),
        ("job-x8", "the job, eight times the samples", 8),
    ):
        yield Configuration(name, about, "scale", _job("none", share), share, once=True)
    yield Configuration(
        "job-one-tar", "the job, all samples in one tar", "scale", _job("none", read=Inputs.one_tar)
    )
    yield Configuration(
        "job-big-tar",
        f"the job, one tar of {BIG_TAR_COPIES} times the samples",
        "scale",
        _job("none", read=Inputs.big_tar),
        BIG_TAR_COPIES,
        once=True,
    )
    # On one core less, so that the S3 server has one to itself.
    spare = max(1, (os.cpu_count() or 2) - 1)
    yield Configuration(
        "job-spare", "the job, on a core less", "scale", _job("none", num_cpus=spare)
    )
    yield Configuration(
        "job-s3",
        "the same, from an S3 server on that core",
        "scale",
        _job("none", read=lambda inputs: f"s3://{BUCKET}/*.tar", num_cpus=spare),
        s3=True,
    )
    yield Configuration(
        "job-shared", "the job, decoders not isolated", "scale", _job("none", isolate=False)
    )
    yield Configuration(
        "job-shared-x4",
        "the same, four times the samples",
        "scale",
        _job("none", 4, isolate=False),
        4,
    )


def _job(
    sink: str,
    share: float = 1.0,
    read: Callable[[Inputs], str] | None = None,
    *,
    num_cpus: int | None = None,
    isolate: bool = True,
) -> Command:
    def command(inputs: Inputs, folder: Path) -> list[str]:
        run = inputs.run_folder(folder / "run")
        shards = read(inputs) if read else inputs.tars(int(inputs.samples * share))
        settings = {"run": run, "input.train": shards, "sink.kind": sink}
        settings["cluster.executor"] = "ray"  # whatever the size
        settings |= {} if num_cpus is None else {"cluster.num_cpus": str(num_cpus)}
        settings |= {} if isolate else {"limits.isolate": "false"}
        overrides = [f"{name}={value}" for name, value in settings.items()]
        return [sys.executable, "-m", "jobs.preprocess", str(inputs.config), *overrides, "--json"]

    return command


def _peer(module: str, *arguments: str, share: float = 1.0, parquet: bool = False) -> Command:
    def command(inputs: Inputs, folder: Path) -> list[str]:
        shards = inputs.parquet() if parquet else inputs.tars(int(inputs.samples * share))
        given = ["--shards", shards, "--tokenizer", str(inputs.tokenizer), *arguments]
        return [sys.executable, "-m", f"bench.peers.{module}", *given]

    return command


def _writer(module: str, *arguments: str, parquet: bool = False) -> Command:
    build = _peer(module, *arguments, parquet=parquet)

    def command(inputs: Inputs, folder: Path) -> list[str]:
        return [*build(inputs, folder), "--write", str(folder / "written")]

    return command

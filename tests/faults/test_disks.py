"""Disks that fill up, fail or refuse: one line says why and where, the last snapshot stays, and a rerun completes."""

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.disks import fill, remount, small_disk
from support.tones import make_samples, write_tar

from jobs import _job, preprocess
from pipeline.engine.decoding.part import decode_part
from pipeline.errors import PipelineError, SinkError
from pipeline.modalities import ModalitiesConfig
from pipeline.modalities.decoding.decoder import Decoder
from pipeline.shards.planning.plan import Part, expand, plan
from pipeline.sinks import ParquetConfig
from pipeline.sinks.parquet import ParquetSink
from pipeline.storage import writing

PAGE_BYTES = 4096
DECODER = Decoder.build(
    ModalitiesConfig.model_validate({"image": {"fields": ["png"], "size": 8}}), None
)


def read(output: Path) -> list[dict[str, Any]]:
    """All rows of the snapshot, good and bad, as one list that can be compared."""
    manifest = json.loads((output / "_manifest.json").read_text())
    names = [*(file["name"] for file in manifest["files"]), *manifest["quarantine"]]
    found = [row for name in names for row in pq.read_table(output / name).to_pylist()]
    return sorted(found, key=lambda row: (row["shard"], str(row["key"]), len(row)))


class Case:
    """An output with a snapshot of one shard, and an input of three."""

    def __init__(self, folder: Path, output: Path) -> None:
        self.input, self.output = folder / "in", output
        self.decoded: dict[str, pa.Table] = {}  # part -> its rows: no disk decodes anything
        self.add(0)
        self.run()
        self.old = read(output)
        self.add(1)
        self.add(2)
        fresh = folder / "fresh"
        self.run(fresh)
        self.new = read(fresh)
        assert len(self.old) == 6 < len(self.new) == 18

    def add(self, number: int) -> None:
        samples = make_samples(6, seed=number)
        samples["s0001"]["png"] = b"broken"
        write_tar(self.input / f"x-{number}.tar", samples)

    def run(self, output: Path | None = None) -> None:
        """What a job does, in this process."""
        parts: list[Part] = plan(expand(str(self.input / "*.tar")))
        sink = ParquetSink(
            str(output or self.output),
            {"model": "m"},
            {"model": "m"},
            ("image",),
            config=ParquetConfig(),
        )
        sink.begin()
        done = sink.done(parts)
        for part in parts:
            if part.id not in done:
                if part.id not in self.decoded:
                    self.decoded[part.id] = decode_part(part, DECODER)
                sink.write(self.decoded[part.id])
        sink.commit(parts)

    def check_failed(self, error: PipelineError, cause: int) -> None:
        """One line with the cause and a path below the output, and a whole snapshot."""
        assert error.exit_code == 1
        assert os.strerror(cause) in error.what
        assert error.where.startswith(str(self.output))
        assert "\n" not in str(error)
        assert read(self.output) in (self.old, self.new)

    def check_completed(self) -> None:
        self.run()
        assert read(self.output) == self.new


def test_a_disk_that_fills_at_any_page(tmp_path: Path) -> None:
    """From the first byte that does not fit to the last."""
    with small_disk(tmp_path / "disk", 4 << 20) as disk:
        case = Case(tmp_path, disk / "out")
        kept = shutil.copytree(disk / "out", tmp_path / "kept")
        failures = 0
        for pages in range(100):
            shutil.rmtree(disk / "out")
            shutil.copytree(kept, disk / "out")
            fill(disk / "filler", pages * PAGE_BYTES)
            try:
                case.run()
            except SinkError as error:
                case.check_failed(error, errno.ENOSPC)
                failures += 1
                (disk / "filler").unlink()
                case.check_completed()
                continue
            break
        assert read(disk / "out") == case.new
        assert failures > 5


def failing(real: Callable[..., Any], at: int) -> tuple[Callable[..., Any], list[int]]:
    """A function that fails as a disk does when it is called for the ``at``-th time, and is the real one else."""
    calls: list[int] = []

    def call(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == at:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(*arguments, **options)

    return call, calls


@pytest.mark.parametrize("name", ["fsync", "link", "replace", "unlink", "open"])
def test_a_disk_that_fails_at_any_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Whichever fsync, link, rename or removal of a file, or opening of a folder it is."""
    case = Case(tmp_path, tmp_path / "out")
    kept = shutil.copytree(tmp_path / "out", tmp_path / "kept")
    for at in range(1, 100):
        shutil.rmtree(case.output)
        shutil.copytree(kept, case.output)
        broken, calls = failing(getattr(os, name), at)
        with monkeypatch.context() as patch:
            patch.setattr(os, name, broken)
            failed = _fails(case)
        assert name == "unlink" or not list(case.output.rglob("_staging"))
        case.check_completed()
        if len(calls) < at:
            break
        assert failed
    assert at > 2
    assert read(case.output) == case.new


def _fails(case: Case) -> bool:
    try:
        case.run()
    except PipelineError as error:
        case.check_failed(error, errno.EIO)
        return True
    return False


class BadFile:
    """A file that fails when more than so many bytes are written to it."""

    def __init__(self, file: IO[bytes], room: int) -> None:
        self._file, self._room = file, room

    def write(self, data: Any) -> int:
        self._room -= len(data)
        if self._room < 0:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return self._file.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> "BadFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


@pytest.mark.parametrize("folder", ["_parts", "_quarantine", "_commit", ""])
def test_a_file_that_fails_at_any_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    case = Case(tmp_path, tmp_path / "out")
    kept = shutil.copytree(tmp_path / "out", tmp_path / "kept")
    real = writing._open_staged
    failed = 0
    for room in (0, 10, 100, 300, 1000, 3000):
        shutil.rmtree(case.output)
        shutil.copytree(kept, case.output)

        def opened(staged: Path, room: int = room) -> Any:
            file = real(staged)
            return BadFile(file, room) if staged.parent.parent == case.output / folder else file

        with monkeypatch.context() as patch:
            patch.setattr(writing, "_open_staged", opened)
            failed += _fails(case)
        case.check_completed()
    assert failed >= 3


def test_a_disk_that_fails_when_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(tmp_path, tmp_path / "out")
    failed = 0
    for at in range(1, 20):
        broken, calls = failing(Path.read_bytes, at)
        with monkeypatch.context() as patch:
            patch.setattr(Path, "read_bytes", broken)
            failed += _fails(case)
        if len(calls) < at:
            break
    case.check_completed()
    assert failed >= 3


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """A configuration of a small real job."""
    path = tmp_path / "job.yaml"
    path.write_text(
        f"""
run: {tmp_path}/run
input: {{max_bad_fraction: 0.5}}
modalities: {{image: {{fields: [png], size: 8}}}}
preprocess: {{input: "{tmp_path}/in/*.tar"}}
cluster: {{num_cpus: 2}}
"""
    )
    return [str(path)]


def run_job(words: list[str], output: Path) -> int:
    return _job.main(preprocess.JOB, [*words, f"preprocess.output={output}"])


def one_line(text: str, *parts: str) -> None:
    """What a job said on stderr ends with one line of its own error, in which all parts are."""
    lines = [line for line in text.splitlines() if line.partition(":")[0].endswith("Error")]
    assert len(lines) == 1, text
    assert all(part in lines[0] for part in parts), lines[0]
    assert "this is a bug" not in lines[0]


def test_a_job_on_a_disk_that_is_full_and_one_that_is_read_only(
    tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(2):
        write_tar(tmp_path / "in" / f"x-{number}.tar", make_samples(6, seed=number))
    with small_disk(tmp_path / "disk", 4 << 20) as disk:
        output = disk / "out"
        assert run_job(words, output) == 0
        old = read(output)
        for number in range(2, 5):
            write_tar(tmp_path / "in" / f"x-{number}.tar", make_samples(200, seed=number))
        assert run_job(words, tmp_path / "fresh") == 0
        new = read(tmp_path / "fresh")

        capsys.readouterr()
        remount(disk, "ro")
        assert run_job(words, output) == 1
        one_line(capsys.readouterr().err, str(output), os.strerror(errno.EROFS))
        remount(disk, "rw")
        fill(disk / "filler", 8 * PAGE_BYTES)
        assert run_job(words, output) == 1
        one_line(capsys.readouterr().err, str(output), os.strerror(errno.ENOSPC))
        assert read(output) == old
        (disk / "filler").unlink()
        assert run_job(words, output) == 0
        assert read(output) == new


@pytest.mark.parametrize("target", ["out", "out/_commit", "out/_quarantine", "out/_parts", "above"])
def test_a_target_that_is_a_file(
    tmp_path: Path, words: list[str], capsys: pytest.CaptureFixture[str], target: str
) -> None:
    samples = make_samples(6, seed=0)
    samples["s0001"]["png"] = b"broken"
    write_tar(tmp_path / "in" / "x.tar", samples)
    output = tmp_path / "above" / "out" if target == "above" else tmp_path / "out"
    file = tmp_path / target
    file.parent.mkdir(exist_ok=True)
    file.write_text("mine")
    assert run_job(words, output) == 1
    one_line(capsys.readouterr().err, str(file))
    assert file.read_text() == "mine"
    file.unlink()
    assert run_job(words, output) == 0
    assert len(read(output)) == 6


def test_a_folder_that_may_not_be_written_to(tmp_path: Path) -> None:
    case = Case(tmp_path, tmp_path / "out")
    parts = case.output / "_parts"
    parts.mkdir(exist_ok=True)
    parts.chmod(0o555)
    if os.access(parts, os.W_OK):
        pytest.skip("root may write anywhere")
    with pytest.raises(SinkError) as error:
        case.run()
    case.check_failed(error.value, errno.EACCES)
    parts.chmod(0o755)
    case.check_completed()


def test_what_a_killed_writer_left_is_cleared_away(tmp_path: Path) -> None:
    case = Case(tmp_path, tmp_path / "out")
    left = case.output / "_parts" / "_staging" / "0123.parquet.abc"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half a file")
    case.check_completed()
    assert not left.exists()

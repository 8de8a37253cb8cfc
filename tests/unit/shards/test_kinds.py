"""Archives that are not read are named as what they are, wherever they are met."""

import bz2
import gzip
import io
import lzma
import zipfile
from pathlib import Path

import pytest
import zstandard
from support.tones import make_samples, write_tar

from pipeline.errors import ConfigError
from pipeline.sample import Fault
from pipeline.shards.packed.kinds import NOT_READ
from pipeline.shards.planning.patterns import archives_beside
from pipeline.shards.planning.plan import expand, plan
from pipeline.shards.reading.reader import read_part


@pytest.mark.parametrize("suffix", NOT_READ)
def test_a_file_that_is_not_read_is_named(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"s{suffix}").write_bytes(b"x")
    words = NOT_READ[suffix]
    for pattern in (
        f"{tmp_path}/s{suffix}",
        f"{tmp_path}/*{suffix}",
        f"{tmp_path}/{{s,s}}{suffix}",
    ):
        with pytest.raises(ConfigError, match=words):
            expand(pattern)
    with pytest.raises(ConfigError, match=f"1 of {words}"):
        expand(str(tmp_path))


def test_a_folder_that_is_read_says_what_is_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_tar(tmp_path / "x.tar", make_samples(1, seed=0))
    for name in ("a.zip", "d/b.ZIP", "c.tar.lz4", "README.md", ".h/d.zip"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    caplog.set_level("INFO", logger="pipeline")
    assert [shard.name for shard in expand(str(tmp_path))] == ["x.tar"]
    assert archives_beside(str(tmp_path)) == {"a zip archive": 2, "a tar packed with lz4": 1}
    said = [r.getMessage() for r in caplog.records if "files_passed_over" in r.getMessage()]
    assert len(said) == 2
    assert any("files=2" in line and "a zip archive" in line for line in said)


def zipped(data: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr("x.tar", data)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("pack", "words"),
    [
        (gzip.compress, "gzip: such a shard is to be named .tar.gz"),
        (zstandard.compress, "named .tar.zst"),
        (bz2.compress, "named .tar.bz2"),
        (lzma.compress, "named .tar.xz"),
        (zipped, "a zip archive"),
        (lambda data: b"\x04\x22\x4d\x18" + data, "lz4"),
        (lambda data: b"7z\xbc\xaf\x27\x1c" + data, "7-Zip"),
        (bytes, "a tar that is not packed: such a shard is to be named .tar"),
    ],
)
@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tar.zst", ".tar.bz2", ".tar.xz"])
def test_a_shard_whose_name_does_not_fit_its_content_is_told_what_it_is(
    tmp_path: Path, pack: object, words: str, suffix: str
) -> None:
    data = pack(write_tar(tmp_path / "t", make_samples(1, seed=0)).read_bytes())  # type: ignore[operator]
    path = tmp_path / f"x{suffix}"
    path.write_bytes(data)
    items = list(read_part(plan(expand(str(path)))[0]))
    faults = [item for item in items if isinstance(item, Fault)]
    if words.endswith(f"named {suffix}"):
        assert not faults  # it is named as it should be
        return
    assert words in faults[0].detail
    assert faults[0].reason in ("not_tar", "bad_compression")

"""hf:// locations, on a file system in memory that stands in for the hub's."""

import sys
from pathlib import Path
from typing import ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from support.tones import make_samples, write_tar

from pipeline import storage
from pipeline.errors import ConfigError, InputError
from pipeline.sample import Sample
from pipeline.shards.planning.plan import expand, plan
from pipeline.shards.reading.reader import read_part


class Hub(MemoryFileSystem):
    """Files by the names the hub gives them: without a leading slash, with the digest of what they hold."""

    protocol = "hf"
    store: ClassVar[dict[str, object]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    cachable = False

    def info(self, path: str, **kwargs: object) -> dict[str, object]:
        found = super().info(path, **kwargs)
        return {**found, "name": str(found["name"]).lstrip("/"), "blob_id": f"id-{found['size']}"}

    def ls(self, path: str, detail: bool = True, **kwargs: object) -> list[object]:
        names = [entry["name"] for entry in super().ls(path, detail=True)]
        return [self.info(name) if detail else name for name in names]


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    pytest.importorskip("huggingface_hub")
    fsspec.register_implementation("hf", Hub, clobber=True)
    Hub.store.clear()
    files = Hub()
    for index in range(2):
        path = write_tar(tmp_path / "x.tar", make_samples(8, seed=index))
        files.pipe_file(f"/datasets/someone/tones/data/x-{index}.tar", path.read_bytes())
    files.pipe_file("/datasets/someone/tones/data/deep/y.tar", path.read_bytes())
    files.pipe_file("/datasets/someone/tones/README.md", b"about")
    return files


@pytest.mark.usefixtures("hub")
def test_globs_folders_and_braces() -> None:
    root = "hf://datasets/someone/tones"
    for pattern in (f"{root}/data/x-*.tar", f"{root}/data/x-{{0,1}}.tar"):
        assert [shard.name for shard in expand(pattern)] == ["x-0.tar", "x-1.tar"]
    assert [shard.name for shard in expand(root)] == [
        "data/deep/y.tar",
        "data/x-0.tar",
        "data/x-1.tar",
    ]
    [shard] = expand(f"{root}/data/x-0.tar")
    assert shard.version == f"id-{shard.size}"
    items = [item for part in plan([shard], 3000) for item in read_part(part)]
    assert [item.key for item in items if isinstance(item, Sample)] == list(make_samples(8, 0))


@pytest.mark.usefixtures("hub")
def test_what_is_not_there_and_what_cannot_be_done() -> None:
    root = "hf://datasets/someone/tones"
    with pytest.raises(ConfigError, match="no shard matches"):
        expand(f"{root}/data/z-*.tar")
    with pytest.raises(InputError, match="not there"):
        storage.open_source(f"{root}/data/z.tar")
    with pytest.raises(ConfigError, match="nothing can be written to hf://"):
        storage.write_bytes(f"{root}/data/z.tar", b"x")
    assert storage.exists(f"{root}/data")
    assert storage.read_bytes(f"{root}/README.md") == b"about"


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ConfigError) as error:
        expand("hf://datasets/someone/tones/*.tar")
    assert "multimodal-pipeline[hf]" in str(error.value)

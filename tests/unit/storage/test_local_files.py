"""Files on local disks, written by many at a time."""

from pathlib import Path
from typing import Any

import pytest

from pipeline import storage


def test_another_writer_may_remove_the_empty_staging_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does when its own file has left it, also just before this writer's file is in it."""
    make, removed = Path.mkdir, []

    def made_and_removed(path: Path, *args: Any, **options: Any) -> None:
        make(path, *args, **options)
        if path.name == "_staging" and len(removed) < 3:
            path.rmdir()
            removed.append(path)

    monkeypatch.setattr(Path, "mkdir", made_and_removed)
    with storage.create(str(tmp_path / "file"), replace=False) as file:
        file.write(b"whole")
    assert len(removed) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"whole"


def test_it_may_also_do_so_while_this_writer_makes_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """mkdir finds a folder of that name, and when it looks whether it is one, there is none."""
    staging, is_dir, removed = tmp_path / "_staging", Path.is_dir, []
    staging.mkdir()

    def removed_and_looked_at(path: Path, *args: Any) -> bool:
        if path == staging and not removed:
            path.rmdir()
            removed.append(path)
        return is_dir(path, *args)

    monkeypatch.setattr(Path, "is_dir", removed_and_looked_at)
    storage.write_bytes(str(tmp_path / "file"), b"whole")
    assert removed == [staging]
    assert [path.name for path in tmp_path.iterdir()] == ["file"]

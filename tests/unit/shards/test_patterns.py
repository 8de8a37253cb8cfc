"""Patterns against what `glob` finds, and what they refuse."""

import glob
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import storage
from pipeline.errors import ConfigError, InputError
from pipeline.shards.planning import patterns
from pipeline.shards.planning.patterns import expand

TREE = (
    "a.tar", "b.tar", "ab.tar", "a-b.tar", "sub/a.tar", "sub/x.tar", "sub/deep/a.tar", "sub/deep/xx.tar",
    "sub2/a.tar", "sub2/a.txt", "x-000000.tar", "x-000001.tar", "x-000010.tar", "s[1].tar", "sub/^.tar",
    ".hidden.tar", "sub/._a.tar",
)  # fmt: skip


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tree")
    for name in TREE:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


pieces = st.lists(
    st.sampled_from(
        [
            "*",
            "?",
            "a",
            "b",
            "x",
            "sub",
            "[ab]",
            "[!a]",
            "[a-z]",
            "[0-9]",
            "[^]",
            "-",
            "0",
            "/",
            ".tar",
        ]
    ),
    min_size=1,
    max_size=6,
).map("".join)


@settings(max_examples=200)
@given(
    folders=st.sampled_from(["", "*/", "**/", "sub*/", "*/deep/", "s**/", "sub/**/"]), piece=pieces
)
def test_a_glob_finds_the_files_that_python_finds(tree: Path, folders: str, piece: str) -> None:
    pattern = f"{tree}/{folders}{piece}*.tar".replace("//", "/")
    wanted = {name for name in glob.glob(pattern, recursive=True) if os.path.isfile(name)}
    try:
        found = {shard.url for shard in expand(pattern)}
    except ConfigError:
        found = set()
    assert found == wanted


def test_names_are_below_the_fixed_prefix_wherever_one_stands(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tree)
    for prefix in ("", "./", f"{tree}/", f"file://{tree}/", "sub/../"):
        names = [shard.name for shard in expand(f"{prefix}sub*/a.tar")]
        assert names == ["sub/a.tar", "sub2/a.tar"]
        assert [shard.name for shard in expand(f"{prefix}sub/deep/*.tar")] == ["a.tar", "xx.tar"]
        assert [shard.name for shard in expand(f"{prefix}sub/deep")] == ["a.tar", "xx.tar"]
        assert [shard.name for shard in expand(f"{prefix}x-00000{{0,1}}.tar")] == [
            "x-000000.tar",
            "x-000001.tar",
        ]
    assert len(expand(".")) == len(TREE) - 3


def test_a_name_with_brackets_is_a_name_where_it_exists(tree: Path) -> None:
    assert [shard.name for shard in expand(f"{tree}/s[1].tar")] == ["s[1].tar"]


def test_a_range_that_names_what_is_not_there_is_refused(tree: Path) -> None:
    with pytest.raises(ConfigError, match="8 of the 10 shards that the pattern names") as error:
        expand(f"{tree}/x-00000{{0..9}}.tar")
    assert error.value.where == f"the first is {tree}/x-000002.tar"
    with pytest.raises(ConfigError, match="no shard matches"):
        expand(f"{tree}/z-00000{{0..9}}.tar")


def test_long_ranges_are_looked_up_in_one_listing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for index in range(12):
        (tmp_path / f"x-{index:03d}.tar").write_bytes(b"x")
    one_by_one = expand(f"{tmp_path}/x-{{000..011}}.tar")
    monkeypatch.setattr(patterns, "ASKED_SINGLY", 4)
    monkeypatch.setattr(storage, "file_infos", lambda urls: pytest.fail("asked one by one"))
    assert expand(f"{tmp_path}/x-{{000..011}}.tar") == one_by_one
    (tmp_path / "x-005.tar").unlink()
    with pytest.raises(ConfigError, match="1 of the 12"):
        expand(f"{tmp_path}/x-{{000..011}}.tar")


def test_an_index_beside_a_shard_is_no_shard(tmp_path: Path) -> None:
    for name in ("x.tar", "x.idx"):
        (tmp_path / name).write_bytes(b"x")
    assert [shard.name for shard in expand(f"{tmp_path}/*")] == ["x.tar"]
    assert [shard.name for shard in expand(str(tmp_path))] == ["x.tar"]


def test_a_folder_that_cannot_be_read_is_an_error(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.scandir

    def refuse(path: str) -> object:
        if str(path).rstrip("/").endswith("deep"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(InputError, match="cannot be listed: Permission denied"):
        expand(f"{tree}/**/*.tar")


def test_listings_are_lean_and_sorted_and_follow_links_to_files(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real/b.tar").write_bytes(b"12345")
    (tmp_path / "a.tar").symlink_to("real/b.tar")
    (tmp_path / "loop").symlink_to(".")
    (tmp_path / "gone.tar").symlink_to("nowhere")
    found = storage.list_files(str(tmp_path), recursive=True)
    assert [(info.url, info.size) for info in found] == [
        (f"{tmp_path}/a.tar", 5),
        (f"{tmp_path}/real/b.tar", 5),
    ]
    assert storage.list_files(str(tmp_path / "nothing")) == []
    assert storage.list_files(str(tmp_path / "real/b.tar")) == []
    [info] = storage.list_files(f"file://{tmp_path}/real")
    assert info.url == f"file://{tmp_path}/real/b.tar"
    assert info == storage.file_info(info.url)

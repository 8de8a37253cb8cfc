"""Every way to name shards has one set of rules for links and hidden names: those of a shell."""

import glob
from pathlib import Path

import pytest
from support.tones import make_samples, write_tar

from pipeline.errors import ConfigError
from pipeline.packing.folder import _walk
from pipeline.shards.planning.plan import expand


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    """A folder with a set, a link to another, a hidden one, and links that lead to themselves and nowhere."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    write_tar(elsewhere / "s.tar", make_samples(1, seed=1))
    root = tmp_path / "sets"
    for name in ("two", ".hidden"):
        (root / name).mkdir(parents=True)
        write_tar(root / name / "s.tar", make_samples(1, seed=1))
    (root / "one").symlink_to(elsewhere)
    (root / "two" / "linked.tar").symlink_to(elsewhere / "s.tar")
    (root / "two" / ".s.tar").symlink_to(elsewhere / "s.tar")
    (root / "two" / "again").symlink_to(root)
    (root / "self").symlink_to(root / "self")
    (root / "nowhere.tar").symlink_to(root / "missing.tar")
    return root


@pytest.mark.parametrize(
    "pattern", ["*/s.tar", "*/*.tar", "[ot]*/s.tar", "two/*.tar", ".hidden/*", "*/.s.tar"]
)
def test_globs_match_what_a_shell_matches(sets: Path, pattern: str) -> None:
    found = [shard.url for shard in expand(f"{sets}/{pattern}")]
    assert sorted(found) == sorted(glob.glob(f"{sets}/{pattern}"))


def test_braces_globs_and_folders_find_the_same(sets: Path) -> None:
    everything = ["one/s.tar", "two/linked.tar", "two/s.tar"]
    assert [s.name for s in expand(str(sets))] == everything
    assert [s.name for s in expand(f"{sets}/**/*.tar")] == everything
    assert [s.name for s in expand(f"{sets}/*/*.tar")] == everything
    assert [s.name for s in expand(f"{sets}/{{one,two}}/s.tar")] == ["one/s.tar", "two/s.tar"]
    assert [s.name for s in expand(f"{sets}/one")] == ["s.tar"]
    with pytest.raises(ConfigError):
        expand(f"{sets}/nowhere.tar")


def test_packing_walks_a_folder_by_the_same_rules(sets: Path) -> None:

    found = [str(path.relative_to(sets)) for path in _walk(sets)]
    # What leads nowhere is told when it is read, here.
    assert found == ["nowhere.tar", "one/s.tar", "self", "two/linked.tar", "two/s.tar"]

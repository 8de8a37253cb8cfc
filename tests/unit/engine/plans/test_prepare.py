"""Planning: the same parts whoever scans the shards, and errors that say which shard."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.tones import write_tar

from pipeline.engine.executors.workplace import Workplace
from pipeline.engine.plans import prepare
from pipeline.errors import InputError
from pipeline.shards.planning.plan import PART_BYTES, Shard, expand, plan


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> list[Shard]:
    """Two shards of several parts, with small ones around them."""
    folder = tmp_path_factory.mktemp("large")
    block = bytes(PART_BYTES // 3)
    for index in range(4):
        count = 8 if index in (1, 2) else 2
        samples = {f"s{number}": {"bin": block} for number in range(count)}
        write_tar(folder / f"x-{index}.tar", samples)
    return expand(str(folder / "x-*.tar"))


def test_executors_plan_the_same_parts(
    shards: list[Shard], monkeypatch: pytest.MonkeyPatch, workplace: Workplace
) -> None:
    here = plan(shards)
    assert len(here) > len(shards)
    monkeypatch.setattr(prepare, "WORKERS_SCAN_BYTES", 0)
    assert prepare.plan_shards(shards, workplace=workplace) == here


def test_a_shard_that_is_gone_is_named(
    tmp_path: Path, shards: list[Shard], monkeypatch: pytest.MonkeyPatch, workplace: Workplace
) -> None:
    gone = Shard("gone.tar", str(tmp_path / "gone.tar"), 10 * PART_BYTES, "1")
    monkeypatch.setattr(prepare, "WORKERS_SCAN_BYTES", 0)
    with pytest.raises(InputError, match=r"gone\.tar"):
        prepare.plan_shards([*shards, gone], workplace=workplace)

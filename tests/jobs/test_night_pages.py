"""The pages of nights count every row once, wherever the process that wrote them was killed."""

import json
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.tones import make_samples, write_tar

from bench.soak.workload import MODALITIES, write_bundle
from jobs import nightly
from pipeline.engine.plans.nightly import _Night
from pipeline.metrics.statistics import add_sums
from pipeline.nightly.ledger import Ledger
from pipeline.sinks.parquet import ParquetSink

FIRST, SECOND = "2026-11-01", "2026-11-02"


class Killed(BaseException):
    """The end of a process; what would come after it is patched away."""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nights")
    write_bundle(folder / "model")
    for index in range(6):
        write_tar(folder / "in" / f"{index}.tar", make_samples(5 + index, seed=index))
    settings = {
        "run": str(folder / "run"),
        "modalities": MODALITIES,
        "infer": {"input": f"{folder}/in/*.tar", "model": str(folder / "model")},
    }
    (folder / "night.yaml").write_text(json.dumps(settings))
    return folder / "night.yaml"


@pytest.fixture(scope="module")
def whole(config: Path) -> dict[str, Any]:
    """The profile of a night that nobody killed."""
    assert nightly.main([str(config), "--date", FIRST]) == 0
    night = Ledger(str(config.parent / "run")).read(FIRST)
    assert night is not None
    assert night.counted == []
    return night.profile


def kill(patch: pytest.MonkeyPatch, place: str) -> None:
    """Ends the next night after two commits, before it publishes, or as soon as it has."""
    committed, commit = _Night._committed, ParquetSink.commit
    seen = []

    def second_is_the_last(night: _Night, result: Any) -> bool:
        if len(seen) == 2:
            raise Killed
        seen.append(result)
        return committed(night, result)

    def published(sink: ParquetSink, *parts: Any, **more: Any) -> None:
        if place == "published":
            commit(sink, *parts, **more)
        raise Killed

    if place == "committed":
        patch.setattr(_Night, "_committed", second_is_the_last)
    else:
        patch.setattr(ParquetSink, "commit", published)
    patch.setattr(_Night, "_close", lambda *_, **__: None)  # as of a process that is no more


@pytest.mark.parametrize(
    ("place", "then"), [("committed", FIRST), ("publishing", SECOND), ("published", FIRST)]
)
def test_no_row_is_forgotten_or_counted_twice(
    config: Path,
    whole: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    then: str,
) -> None:
    words = [str(config), f"run={tmp_path}/run", f"infer.model={config.parent}/model", "--date"]
    with monkeypatch.context() as patch:
        kill(patch, place)
        with pytest.raises(Killed):
            nightly.main([*words, FIRST])
    ledger = Ledger(str(tmp_path / "run"))
    cut = ledger.read(FIRST)
    assert cut is not None
    assert cut.error == "it has not ended, or was killed"
    assert nightly.main([*words, then]) == 0
    pages = [ledger.read(date) for date in sorted({FIRST, then})]
    total: dict[str, Any] = reduce(add_sums, (page.profile for page in pages if page), {})
    np.testing.assert_allclose(total.pop("embedding"), whole["embedding"], rtol=1e-9)
    assert total == {name: value for name, value in whole.items() if name != "embedding"}
    last = ledger.read(then)
    assert last is not None
    assert (last.status, last.error, last.counted) == ("done", "", [])
    assert sum(page.samples["written"] for page in pages if page) == whole["samples"]
    assert sum(page.parts["done"] for page in pages if page) == 6

"""Work of runs side by side, by trials that fail and whose processes are lost."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from pipeline.config import Config
from pipeline.engine.comparing.trials import side_by_side
from pipeline.errors import BadDataError


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("local_ray")
def test_errors_are_the_works_own_and_lost_processes_are_replaced(tmp_path: Path) -> None:
    def work(config: Config) -> None:
        run = Path(config.run)
        if run.name == "bad":
            raise BadDataError("too much is bad", where=config.run, fix="look at it")
        assert config.cluster.executor == "here"
        if run.name == "lost" and not run.exists():
            run.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        run.write_text(os.getcwd())

    base = {"modalities": {"text": {}}, "cluster": {"executor": "ray"}}
    runs = [str(tmp_path / name) for name in ("bad", "good", "lost")]
    configs = [Config.model_validate({**base, "run": run}) for run in runs]
    ended: list[str] = []
    with pytest.raises(BadDataError, match="too much is bad") as caught:
        side_by_side(work, configs, 2, lambda config: ended.append(config.run))
    assert caught.value.where == runs[0]
    assert sorted(ended) == runs[1:], "the others went to their end"
    for run in runs[1:]:
        assert Path(run).read_text() == os.getcwd(), "where relative folders begin"

"""Locks, summaries and errors."""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import errors, runs
from pipeline.errors import LockedError, PipelineError, RunError, SampleError, ShardError


def test_the_lock_keeps_others_out_and_dies_with_its_process(tmp_path: Path) -> None:
    hold = (
        "import sys, time; from pipeline import runs\n"
        f"with runs.lock({str(tmp_path / 'run')!r}):\n"
        "    print('held', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", hold], stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"
    with pytest.raises(LockedError) as caught, runs.lock(str(tmp_path / "run")):
        pass
    assert caught.value.exit_code == 75
    other.kill()
    other.wait()
    other.stdout.close()
    with runs.lock(str(tmp_path / "run")):
        assert list((tmp_path / "run").iterdir()) == [], "no lock file is left"


def test_counts_that_do_not_add_up_are_a_bug() -> None:
    summary = runs.Summary("infer", samples_read=10, samples_written=8, samples_quarantined=1)
    with pytest.raises(RunError, match="10 samples were read and 9 accounted for"):
        summary.close()
    summary.samples_filtered = 1
    summary.close()
    assert {"job", "status", "seconds", "start_up_seconds", "metrics"} <= set(
        json.loads(summary.to_json())
    )


def test_bad_fraction() -> None:
    summary = runs.Summary("x", samples_read=98, samples_quarantined=3, shards_damaged=2)
    assert summary.bad_fraction == 5 / 100
    assert runs.Summary("x").bad_fraction == 0


def test_fingerprints_do_not_depend_on_order() -> None:
    assert runs.fingerprint({"a": 1, "b": [1, 2]}) == runs.fingerprint({"b": [1, 2], "a": 1})
    assert runs.fingerprint({"a": 1}) != runs.fingerprint({"a": 2})


def test_errors_survive_the_way_from_a_worker() -> None:
    for error in (
        PipelineError("what", where="where", fix="fix"),
        SampleError("what", reason="bad_image", field="png", where="w"),
        ShardError("what", reason="not_tar", offset=7),
    ):
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is type(error)
        assert str(again) == str(error)
        assert again.__dict__ == error.__dict__


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    drawn = errors.__doc__ or ""
    for name, cls in vars(errors).items():
        if isinstance(cls, type) and issubclass(cls, PipelineError):
            assert name in drawn

"""Locks, summaries and errors."""

import json
import pickle

import pytest

from pipeline import errors, runs
from pipeline.errors import PipelineError, RunError, SampleError, ShardError


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

"""What becomes of copies and leaks, by the settings."""

import numpy as np
import pytest

from pipeline.cleaning import CleaningConfig
from pipeline.cleaning.copies import Copies
from pipeline.engine.cleaning.verdict import EXACT, LEAK, NEAR, REASONS, Compared, Verdict
from pipeline.shards.planning.plan import Part

# Sample 1 is sample 0 again, 2 is nearly it, 3 leaks from 5, and so does 2.
COPIES = Copies(
    first=np.array([0, 0, 0, 3, 4, 5]),
    same=np.array([True, True, False, True, True, True]),
    leak=np.array([-1, -1, 5, 5, -1, -1]),
)
READ = np.array([True, True, True, True, True, False])


@pytest.mark.parametrize(
    ("settings", "found", "out"),
    [
        ({"duplicates": "exact"}, {1: EXACT, 2: NEAR}, [1, 2]),
        ({"leakage": "report"}, {2: LEAK, 3: LEAK}, []),
        ({"leakage": "drop"}, {2: LEAK, 3: LEAK}, [2, 3]),
        ({"duplicates": "near", "leakage": "report"}, {1: EXACT, 2: NEAR, 3: LEAK}, [1, 2]),
        ({"duplicates": "near", "leakage": "drop"}, {1: EXACT, 2: LEAK, 3: LEAK}, [1, 2, 3]),
    ],
)
def test_settings(settings: dict[str, str], found: dict[int, str], out: list[int]) -> None:
    verdict = Verdict.judge(CleaningConfig.model_validate(settings), COPIES, READ)
    reasons = {at: REASONS[each] for at, each in enumerate(verdict.found) if each >= 0}
    assert reasons == found
    assert np.flatnonzero(verdict.out).tolist() == out
    for at, reason in found.items():
        assert verdict.of[at] == (5 if reason == LEAK else 0)


def test_samples_that_the_job_does_not_read_are_only_compared_with() -> None:
    settings = CleaningConfig(duplicates="near", leakage="drop")
    verdict = Verdict.judge(settings, COPIES, np.zeros(6, dtype=bool))
    assert not verdict.out.any()
    assert (verdict.found == -1).all()


def test_parts_that_are_done_come_first_and_folders_not_at_all() -> None:
    parts = [Part(f"{name}.tar", f"{name}.tar", name) for name in "abc"]
    folder = Part("f", "decoded/part-1.parquet", "f", end=3)
    compared = Compared.of({"test": parts[:1], "input": [*parts[1:], folder]}, {parts[2].id})
    assert [part.shard for part in compared.parts] == ["a.tar", "c.tar", "b.tar"]
    assert [compared.split(at) for at in range(3)] == ["test", "input", "input"]
    assert 0 not in compared.splits, "no split but the training one has its number"
    assert compared.unread == 1

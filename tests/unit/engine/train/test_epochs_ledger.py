"""What training's workers take is held against what was read and left out."""

import pyarrow as pa
import pytest

from pipeline.engine.train.epochs_ledger import check_epochs
from pipeline.errors import RunError
from pipeline.sample import FIELD_DROPPED, FILTERED, KEY, OUTCOME, QUARANTINED


def bad(*rows: tuple[str | None, str, str]) -> pa.Table:
    names = (KEY, OUTCOME, "reason")
    columns = list(zip(*rows, strict=True)) or [(), (), ()]
    return pa.table(
        {n: pa.array(list(c), pa.string()) for n, c in zip(names, columns, strict=True)}
    )


BAD = bad(
    ("a", QUARANTINED, "bad_image"),
    ("b", FILTERED, "filtered_blank"),
    ("c", FIELD_DROPPED, "bad_audio"),
    (None, QUARANTINED, "bad_header"),
)


def epoch(train: int, val: int = 20) -> dict[str, float]:
    return {"epoch": 1.0, "rows_train": float(train), "rows_val": float(val)}


def test_epochs_that_add_up_pass() -> None:
    check_epochs([epoch(78), epoch(78)], 100, BAD, "run")
    check_epochs([epoch(100, 0)], 100, bad(), "run")
    check_epochs([], 100, BAD, "run")


@pytest.mark.parametrize("taken", [77, 79, 0, 156])
def test_a_sample_lost_or_doubled_in_any_epoch_ends_the_job(taken: int) -> None:
    with pytest.raises(RunError, match="98|100 were read and 2 left out"):
        check_epochs([epoch(78), epoch(taken)], 100, BAD, "run")


def test_what_a_second_try_may_give_may_be_used_in_another_epoch() -> None:
    timeout = bad(("a", QUARANTINED, "decoder_timeout"))
    for taken in (99, 100):
        check_epochs([epoch(taken, 0)], 100, timeout, "run")
    with pytest.raises(RunError):
        check_epochs([epoch(101, 0)], 100, timeout, "run")

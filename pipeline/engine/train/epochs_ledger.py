"""What training's workers took in each epoch, held against what was read and what was left out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import RunError
from pipeline.models.record import ROWS
from pipeline.sample import FILTERED, KEY, OUTCOME, QUARANTINED

# Reasons that another try may not give: the sample may be used in one epoch and not in the next.
_MAY_CHANGE = ("decoder_crashed", "decoder_timeout", "decoder_memory")


def check_epochs(
    epochs: Iterable[Mapping[str, float]], num_read: int, bad: pa.Table, run: str
) -> None:
    """Holds each epoch's samples against those that were read from the shards, less those that were left out.

    Args:
        epochs: The rows of the epochs of this job.
        num_read: Samples of all splits, as they were counted when their labels were.
        bad: The quarantine of the run.
        run: The run folder.

    Raises:
        RunError: Samples were lost or doubled between the shards and the workers, which is a bug.
    """
    samples = bad.filter(bad[KEY].is_valid())
    left_out = samples.filter(pc.is_in(samples[OUTCOME], pa.array([QUARANTINED, FILTERED])))
    may_change = pc.sum(pc.is_in(left_out["reason"], pa.array(_MAY_CHANGE))).as_py() or 0
    good = num_read - left_out.num_rows
    for epoch in epochs:
        taken = int(sum(value for name, value in epoch.items() if name.startswith(ROWS)))
        if not good <= taken <= good + may_change:
            raise RunError(
                f"epoch {epoch['epoch']:.0f} took {taken} samples; "
                f"{num_read} were read and {left_out.num_rows} left out",
                where=run,
                fix="this is a bug: report it with the log",
            )

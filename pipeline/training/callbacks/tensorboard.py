"""Curves for TensorBoard."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline import storage
from pipeline.training.callbacks.base import Callback

if TYPE_CHECKING:
    from tensorboardX import SummaryWriter

    from pipeline.training.loop import Training

TENSORBOARD = "tensorboard"  # in the run folder


class TensorBoard(Callback):
    """Writes every number of every epoch to RUN/tensorboard, as a curve over the epochs.

    A training that begins anew removes the curves of the one before; one that goes on adds to them.

    Args:
        run: The run folder.
    """

    def __init__(self, run: str) -> None:
        self.folder = storage.join(run, TENSORBOARD)
        self._writer: SummaryWriter | None = None
        self._aside: tempfile.TemporaryDirectory[str] | None = None

    def begin(self, training: Training) -> None:
        """Opens the file of this training."""
        from tensorboardX import SummaryWriter

        done = len(training.state.history)
        if not done:
            storage.remove_all([info.url for info in storage.list_files(self.folder)])
        if storage.is_local(self.folder):
            folder = str(storage.local_path(self.folder))
        else:
            self._aside = tempfile.TemporaryDirectory(prefix="tensorboard-")
            folder = self._aside.name
        # Epochs that were lost with a worker, and are trained again, replace those that were shown.
        self._writer = SummaryWriter(folder, purge_step=done + 1 if done else None)

    def epoch_ended(self, training: Training, row: dict[str, float]) -> None:
        """Adds the epoch's numbers."""
        if self._writer is None:
            return
        for name, value in row.items():
            if name != "epoch":
                split, _, metric = name.partition("_")
                charted = split in ("train", "val", "rows")
                tag = f"{split}/{metric}" if charted else name
                self._writer.add_scalar(tag, value, int(row["epoch"]))
        self._writer.flush()
        if self._aside is not None:
            for file in Path(self._aside.name).iterdir():
                storage.write_bytes(storage.join(self.folder, file.name), file.read_bytes())

    def end(self, training: Training) -> None:
        """Closes the file."""
        if self._writer is not None:
            self._writer.close()
        if self._aside is not None:
            self._aside.cleanup()

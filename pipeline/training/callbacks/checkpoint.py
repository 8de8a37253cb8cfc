"""Checkpoints in the run folder, and the log of the epochs."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline import storage
from pipeline.models.record import BEST, CHECKPOINTS, EARLIER, LAST, PROGRESS, Score
from pipeline.runs import METRICS_LOG
from pipeline.training.callbacks.base import Callback
from pipeline.training.state import copied, dump, earlier_checkpoints

if TYPE_CHECKING:
    from pipeline.training.loop import Training

SECONDS_BETWEEN_NOTES = 2.0


@dataclass(frozen=True)
class Rhythm:
    """When checkpoints are written within an epoch, beside those at its end.

    Attributes:
        seconds: Between two of them; None writes none by time.
        steps: Between two of them; None writes none by steps.
    """

    seconds: float | None = None
    steps: int | None = None


class Checkpoint(Callback):
    """Writes the last checkpoint, the best one and the log after every epoch, and the last one within epochs.

    The state is copied, and written by a thread while the training goes on; each file is there whole or not at all, and
    the log tells only of epochs that are safe.

    Args:
        run: The run folder.
        score: What says how good an epoch is.
        about: What is kept in the last checkpoint beside the state, plain values only.
        rhythm: When it is written within an epoch.
        keep: Checkpoints that stay, the last one among them.
    """

    def __init__(
        self,
        run: str,
        score: Score,
        about: Mapping[str, object],
        rhythm: Rhythm = Rhythm(),
        keep: int = 1,
    ) -> None:
        self.run, self.score, self.about, self.rhythm, self.keep = run, score, about, rhythm, keep
        self._noted = 0.0
        self._written, self._steps = time.monotonic(), 0
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._writing: Future[None] | None = None

    @property
    def is_writing(self) -> bool:
        """Whether what it has begun to write is not there yet."""
        return self._writing is not None and not self._writing.done()

    def begin(self, training: Training) -> None:
        """The time of the first checkpoint counts from here."""
        self._written = time.monotonic()
        self._ask(training)

    def step_ended(self, training: Training, epochs: float) -> None:
        """Asks for a checkpoint where one is due, and leaves word of how far it is, for the driver's progress line."""
        self._steps += 1
        self._ask(training)
        now = time.monotonic()
        if now - self._noted > SECONDS_BETWEEN_NOTES:
            self._noted = now
            note = json.dumps({"epoch": epochs}).encode()
            storage.write_bytes(storage.join(self.run, CHECKPOINTS, PROGRESS), note)

    def checkpoint(self, training: Training) -> None:
        """Writes the state within an epoch; the end of the step that it is behind is still to come."""
        self._write(self._last(training))
        self._steps = -1

    def epoch_ended(self, training: Training, row: dict[str, float]) -> None:
        """Writes the best checkpoint first, then the last one, then the log, which tells of an epoch that is safe."""
        state = training.state
        state.best = max(state.best, self.score.rank(row))
        files: list[tuple[str, object]] = []
        # Of epochs that only chance tells apart the last is kept: the best of many on few samples is the luckiest.
        if self.score.is_as_good(row, state.best):
            best = {
                "weights": copied(training.average.module.state_dict()),
                "metrics": dict(row),
                "learned": dict(training.settled),
            }
            files.append((f"{CHECKPOINTS}/{BEST}", best))
        lines = "".join(json.dumps(epoch) + "\n" for epoch in state.history)
        self._write([*files, *self._last(training), (METRICS_LOG, lines.encode())])
        self._ask(training)

    def end(self, training: Training) -> None:
        """Waits until all is written."""
        self._wait()

    def close(self) -> None:
        """What is being written is written to its end."""
        self._writer.shutdown()

    def _ask(self, training: Training) -> None:
        """Asks for a checkpoint behind the next step, where one is due by then."""
        steps, seconds = self.rhythm.steps, self.rhythm.seconds
        by_steps = steps is not None and self._steps + 1 >= steps
        by_time = seconds is not None and time.monotonic() - self._written >= seconds
        # Nobody waits for one that is still being written: the next step asks again.
        if (by_steps or by_time) and not self.is_writing:
            training.wants_checkpoint = True

    def _last(self, training: Training) -> list[tuple[str, object]]:
        return [
            (f"{CHECKPOINTS}/{LAST}", training.state.snapshot(stop=training.stop, **self.about))
        ]

    def _write(self, files: Sequence[tuple[str, object]]) -> None:
        """Begins to write files, one after the other, behind those before them."""
        self._wait()
        self._written, self._steps = time.monotonic(), 0
        self._writing = self._writer.submit(self._written_files, files)

    def _written_files(self, files: Sequence[tuple[str, object]]) -> None:
        for name, content in files:
            data = content if isinstance(content, bytes) else dump(content)  # type: ignore[arg-type]
            if name.endswith(LAST):
                self._keep_earlier()
            storage.write_bytes(storage.join(self.run, name), data)

    def _keep_earlier(self) -> None:
        """Gives the last checkpoint another name before the next takes its place, and removes the oldest ones."""
        folder = storage.join(self.run, CHECKPOINTS)
        last = storage.join(folder, LAST)
        if self.keep > 1 and storage.exists(last):
            names = earlier_checkpoints(self.run)
            number = int(names[-1].removeprefix(EARLIER).partition(".")[0]) + 1 if names else 1
            storage.copy(last, storage.join(folder, f"{EARLIER}{number:06d}.pt"))
        names = earlier_checkpoints(self.run)
        storage.remove_all(
            storage.join(folder, name) for name in names[: max(0, len(names) - self.keep + 1)]
        )

    def _wait(self) -> None:
        """Until what was begun is written; raises what went wrong."""
        if self._writing is not None:
            self._writing.result()

"""The live line of a job: a bar on a terminal, a plain line every few seconds elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 5.0


class Progress:
    """Counts parts and samples, and shows samples/s, done of total, bad ones and the time left, on stderr.

    Args:
        job: Name shown.
        total: Units of work in all.
        unit: What is counted, for example ``parts`` or ``epochs``.
        done: Units done before.
    """

    def __init__(self, job: str, total: int, unit: str, done: int = 0) -> None:
        self.job, self.total, self.unit = job, total, unit
        self.done: float = done
        self.skipped = done
        self.samples = self.bad = 0
        self.began = time.monotonic()
        self.last = 0.0
        self.bar = (
            tqdm(total=total, initial=done, desc=job, unit=f" {unit}", file=sys.stderr, leave=True)
            if sys.stderr.isatty()
            else None
        )

    def __enter__(self) -> Progress:
        self._line()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.bar is not None:
            self.bar.close()
        elif kind is None:
            self._line()

    def advance(self, units: float = 0, samples: int = 0, bad: int = 0, note: str = "") -> None:
        """Adds what was done since the last call; ``note`` is shown behind."""
        self.done += units
        self.samples += samples
        self.bad += bad
        rate = self.samples / max(time.monotonic() - self.began, 1e-6)
        if self.bar is not None:
            self.bar.set_postfix_str(f"{rate:.0f} samples/s, bad {self.bad}{note and ', '}{note}")
            self.bar.update(units)
        elif time.monotonic() - self.last >= SECONDS_BETWEEN_LINES:
            self._line(note)

    def _line(self, note: str = "") -> None:
        if self.bar is not None:
            return
        self.last = time.monotonic()
        elapsed = self.last - self.began
        fresh = self.done - self.skipped
        remaining = f"{elapsed / fresh * max(0, self.total - self.done):.0f} s" if fresh else "?"
        sys.stderr.write(
            f"{self.job}: {round(self.done, 2):g}/{self.total} {self.unit}, "
            f"{self.samples / max(elapsed, 1e-6):.0f} samples/s, bad {self.bad}, "
            f"ETA {remaining}{note and ', '}{note}\n"
        )
        sys.stderr.flush()

"""A trace of some steps of a training, by torch's profiler."""

from __future__ import annotations

import gzip
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch.profiler import ProfilerActivity, profile, schedule

from pipeline import storage
from pipeline.runs import PROFILE
from pipeline.training.callbacks.base import Callback

if TYPE_CHECKING:
    from pipeline.training.loop import Training

BEFORE, STEPS = 3, 6  # steps that settle first, and steps that are traced
TRACE = "steps.json.gz"


class Trace(Callback):
    """Writes RUN/profile/steps.json.gz, which Perfetto and chrome://tracing show.

    A training of fewer steps writes what there was.

    Args:
        run: The run folder.
    """

    def __init__(self, run: str) -> None:
        self.url = storage.join(run, PROFILE, TRACE)
        self._profile: profile | None = None

    def begin(self, training: Training) -> None:
        """Steps are watched from here."""
        activities = [ProfilerActivity.CPU]
        if training.device.type == "cuda":
            activities.append(ProfilerActivity.CUDA)
        steps = schedule(wait=BEFORE - 1, warmup=1, active=STEPS, repeat=1)
        self._profile = profile(activities=activities, schedule=steps, on_trace_ready=self._write)
        self._profile.start()

    def step_ended(self, training: Training, epochs: float) -> None:
        """One step more."""
        if self._profile is not None:
            self._profile.step()

    def close(self) -> None:
        """Stops watching."""
        if self._profile is not None:
            self._profile.stop()
            self._profile = None

    def _write(self, found: torch.profiler.profile) -> None:
        with tempfile.TemporaryDirectory(prefix="profile-") as folder:
            path = Path(folder) / "trace.json"
            found.export_chrome_trace(str(path))
            storage.write_bytes(self.url, gzip.compress(path.read_bytes()))

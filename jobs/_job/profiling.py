"""A flame graph of a job's own process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pipeline import storage
from pipeline.config import Config
from pipeline.errors import ConfigError
from pipeline.runs import PROFILE


@contextmanager
def profiling(job: str, config: Config) -> Iterator[None]:
    """Looks a thousand times a second at what the main thread does, and writes RUN/profile/JOB.html, whatever ends it.

    Args:
        job: Its name.
        config: Names the run.

    Raises:
        ConfigError: pyinstrument is not installed.
    """
    try:
        from pyinstrument import Profiler
        from pyinstrument.renderers import HTMLRenderer
    except ImportError:
        raise ConfigError(
            "pyinstrument is not installed",
            where="--profile",
            fix="pip install 'multimodal-pipeline[profile]'",
        ) from None
    profiler = Profiler(async_mode="disabled")
    profiler.start()
    try:
        yield
    finally:
        profiler.stop()
        page = profiler.output(HTMLRenderer(show_all=True))
        storage.write_bytes(storage.join(config.run, PROFILE, f"{job}.html"), page.encode())

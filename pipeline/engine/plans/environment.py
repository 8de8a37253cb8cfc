"""Where a report was made: versions, commit and machine."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

import pyarrow as pa

from pipeline import __version__


def environment() -> dict[str, str]:
    """Versions, commit and machine."""
    import numpy
    import ray

    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return {
        "pipeline": f"{__version__} {commit.stdout.strip()}".strip(),
        "Python": platform.python_version(),
        "Ray": ray.__version__,
        "NumPy": numpy.__version__,
        "PyArrow": pa.__version__,
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs",
    }

"""Tar shards of multimodal samples in; decoded batches, trained fusion models and Parquet out.

The public names are pinned by ``tests/contracts/test_public_names.py``. Importing this package imports neither Ray nor
torch: names that need them are resolved on first use.
"""

import os
from typing import TYPE_CHECKING, Any

from pipeline.errors import (
    ConfigError,
    ModelError,
    PipelineError,
    RunError,
    SampleError,
    ShardError,
    SinkError,
)

if TYPE_CHECKING:
    from pipeline.sinks.rows import written_rows

__version__ = "0.1.0"

# OpenMP threads that wait by spinning starve whatever else runs: beside one busy process, training on two cores was ten
# times slower. Read once, when torch is imported, which every import of this package comes before.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__all__ = [
    "ConfigError",
    "ModelError",
    "PipelineError",
    "RunError",
    "SampleError",
    "ShardError",
    "SinkError",
    "__version__",
    "written_rows",
]


def __getattr__(name: str) -> Any:
    if name == "written_rows":
        from pipeline.sinks.rows import written_rows

        return written_rows
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

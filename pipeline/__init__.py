"""Tar shards of multimodal samples in; decoded batches, trained fusion models and Parquet out.

The public names are pinned by ``tests/contracts/test_public_names.py``. Importing this package imports neither Ray nor
torch: names that need them are resolved on first use.
"""

import os

from pipeline.errors import (
    ConfigError,
    ModelError,
    PipelineError,
    RunError,
    SampleError,
    ShardError,
    SinkError,
)

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
]

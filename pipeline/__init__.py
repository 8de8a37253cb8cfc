"""Tar shards of multimodal samples in; decoded batches, trained fusion models and Parquet out.

The public names are pinned by ``tests/contracts/test_public_names.py``. Importing this package imports neither Ray nor
torch: names that need them are resolved on first use.
"""

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

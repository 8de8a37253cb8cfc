"""Tar shards of multimodal samples in; decoded batches, trained fusion models and Parquet out.

The public names are pinned by ``tests/contracts/test_public_names.py``. Importing this package imports neither Ray nor
torch: names that need them are resolved on first use.
"""

import importlib
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
    from pipeline.api.batches import Batches
    from pipeline.api.model import Model, Predictions, load_model
    from pipeline.api.output import Output, open_output
    from pipeline.api.read import read
    from pipeline.api.samples import BadSample, Sample, Samples
    from pipeline.sinks.rows import written_rows

__version__ = "0.1.0"

# OpenMP threads that wait by spinning starve whatever else runs: beside one busy process, training on two cores was ten
# times slower. Read once, when torch is imported, which every import of this package comes before.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# Where the names are that take longer to import.
_MODULES = {
    "BadSample": "api.samples",
    "Batches": "api.batches",
    "Model": "api.model",
    "Output": "api.output",
    "Predictions": "api.model",
    "Sample": "api.samples",
    "Samples": "api.samples",
    "load_model": "api.model",
    "open_output": "api.output",
    "read": "api.read",
    "written_rows": "sinks.rows",
}

__all__ = [
    "BadSample",
    "Batches",
    "ConfigError",
    "Model",
    "ModelError",
    "Output",
    "PipelineError",
    "Predictions",
    "RunError",
    "Sample",
    "SampleError",
    "Samples",
    "ShardError",
    "SinkError",
    "__version__",
    "load_model",
    "open_output",
    "read",
    "written_rows",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"pipeline.{_MODULES[name]}"), name)
    globals()[name] = value
    return value

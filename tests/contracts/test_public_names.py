"""The public names of the package, so that one is not lost or added by chance."""

import subprocess
import sys
from pathlib import Path

import pipeline


def test_public_names() -> None:
    assert sorted(pipeline.__all__) == [
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
    assert all(hasattr(pipeline, name) for name in pipeline.__all__)


def test_importing_the_package_is_light() -> None:
    code = "import pipeline, sys; sys.exit('torch' in sys.modules or 'ray' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_types_are_told() -> None:
    assert (Path(pipeline.__file__).parent / "py.typed").exists()

"""The public names of the package, so that one is not lost or added by chance."""

import subprocess
import sys

import pipeline


def test_public_names() -> None:
    assert sorted(pipeline.__all__) == [
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
    assert all(hasattr(pipeline, name) for name in pipeline.__all__)


def test_importing_the_package_is_light() -> None:
    code = "import pipeline, sys; sys.exit('torch' in sys.modules or 'ray' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)

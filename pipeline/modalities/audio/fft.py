"""The Fourier transform of many short real signals, without what importing ``scipy.fft`` costs."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np

Transform = Callable[[np.ndarray], np.ndarray]


def load_rfft() -> Transform:
    """A function from (N, T) float32 to (N, T // 2 + 1) complex64, one real transform a row.

    SciPy's kernel transforms several rows at a time in vector registers and takes half the time of ``numpy.fft``. Its
    package imports the special functions, f2py and numpy's tests first (0.15-0.25 s of every worker's start), so the
    kernel is loaded by itself. Where that fails, the package is imported after all.
    """
    probe = np.array([[0.0, 1.0, 0.0, 0.0]], dtype=np.float32)
    try:
        kernel = _kernel()
        if kernel is not None and np.allclose(kernel(probe), [[1.0, -1.0j, -1.0]]):
            return kernel
    except (AttributeError, ImportError, OSError, TypeError, ValueError):
        pass  # a release of SciPy that has it elsewhere, or otherwise
    from scipy import fft

    return lambda rows: np.asarray(fft.rfft(rows, axis=-1))


def _kernel() -> Transform | None:
    package = importlib.util.find_spec("scipy")
    for place in package.submodule_search_locations or () if package else ():
        for path in Path(place, "fft", "_pocketfft").glob("pypocketfft.*"):
            spec = importlib.util.spec_from_file_location("pypocketfft", path)
            if spec and spec.loader:
                module = importlib.util.module_from_spec(spec)
                spec.loader.exec_module(module)
                # Axes, forward, no scaling, a new array, one thread.
                return lambda rows: np.asarray(module.r2c(rows, (-1,), True, 0, None, 1))
    return None

"""The Fourier transform is numpy's, wherever it comes from."""

import numpy as np
import pytest

from pipeline.modalities.audio import fft


@pytest.mark.parametrize("by_itself", [True, False])
@pytest.mark.parametrize(("rows", "length"), [(1, 1), (3, 2), (7, 400), (9, 551), (5, 97)])
def test_as_numpys(
    rows: int, length: int, by_itself: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not by_itself:
        monkeypatch.setattr(fft, "_kernel", lambda: None)
    signals = np.random.default_rng(0).normal(size=(rows, length)).astype(np.float32)
    ours = fft.load_rfft()(signals)
    assert ours.dtype == np.complex64
    assert ours.flags.c_contiguous
    np.testing.assert_allclose(ours, np.fft.rfft(signals.astype(float), axis=1), atol=1e-4)


@pytest.mark.parametrize("error", [TypeError, ValueError, AttributeError, ImportError, OSError])
def test_a_kernel_that_has_changed_is_not_used(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def changed(rows: np.ndarray) -> np.ndarray:
        raise error("another signature")

    monkeypatch.setattr(fft, "_kernel", lambda: changed)
    signals = np.ones((2, 8), np.float32)
    np.testing.assert_allclose(fft.load_rfft()(signals)[:, 0], 8.0)
    monkeypatch.setattr(fft, "_kernel", lambda: lambda rows: np.zeros((1, 3), np.complex64))
    np.testing.assert_allclose(fft.load_rfft()(signals)[:, 0], 8.0)

"""The spectrum of a picture, without what its mean and its borders would add."""

from __future__ import annotations

import numpy as np


def hann_spectrum(luma: np.ndarray, *, periodic: bool) -> np.ndarray:
    """Fourier transforms through a Hann window, which fades the borders out, without the mean.

    Args:
        luma: ``(..., H, W)`` in whatever unit.
        periodic: let the window's period be the picture's side, so that a frequency upon a
            bin spreads over three bins and no more; else it is symmetric, without zeros at
            its ends, and a mirrored picture has the mirrored spectrum.

    Returns:
        complex128 ``(..., H, W)``, zero frequency first. Squared, it is power: white noise
        of variance ``v`` has ``v`` in every bin.
    """
    window = np.outer(*(_hann(side, periodic) for side in luma.shape[-2:]))
    mean = np.sum(luma * window, axis=(-2, -1), keepdims=True) / np.sum(window)
    return np.fft.fft2((luma - mean) * window) / np.sqrt(np.sum(window**2))


def _hann(side: int, periodic: bool) -> np.ndarray:
    return np.hanning(side + 1)[:-1] if periodic else np.hanning(side + 2)[1:-1]

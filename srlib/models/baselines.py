"""What every network has to beat: interpolation and the best linear filter.

Taught in chapter 2.
"""

from __future__ import annotations

import numpy as np

from srlib._backend import keras
from srlib.layers.filters import FilterUpsampling
from srlib.models.interface import SCALE, image_input, image_model
from srlib.pixels import to_float


def bicubic() -> keras.Model:
    """Bicubic interpolation (a = -0.5) as a model without weights."""
    return _filter("bicubic", "bicubic")


def lanczos() -> keras.Model:
    """Lanczos interpolation (three lobes) as a model without weights."""
    return _filter("lanczos", "lanczos")


def nearest() -> keras.Model:
    """Nearest-neighbour enlargement as a model without weights."""
    return _filter("nearest", "nearest")


def linear(taps: int = 7) -> keras.Model:
    """One linear filter for each of the four output phases, to be fitted.

    Starts as bicubic; :func:`fit_linear` finds the best filters in one step.
    """
    return _filter("linear", None, taps)


def _filter(name: str, kernel: str | None, taps: int = 5) -> keras.Model:
    low = image_input()
    return image_model(low, FilterUpsampling(SCALE, kernel, taps, name=name)(low), name)


def fit_linear(model: keras.Model, low: np.ndarray, high: np.ndarray) -> keras.Model:
    """Fit :func:`linear` by least squares: the best any linear filter can do here.

    Args:
        model: from :func:`linear`; its weights are replaced.
        low: uint8 ``(N, H, W, 3)``.
        high: uint8 ``(N, 2H, 2W, 3)``.

    Returns:
        ``model``, fitted.
    """
    layer = model.get_layer("linear")
    taps, radius = layer.taps, layer.taps // 2
    gram = np.zeros((taps**2, taps**2))
    moment = np.zeros((taps**2, SCALE**2))
    for small, large in zip(low, high, strict=True):
        padded = np.pad(to_float(small), ((radius, radius), (radius, radius), (0, 0)), "symmetric")
        windows = np.lib.stride_tricks.sliding_window_view(padded, (taps, taps), axis=(0, 1))
        inputs = windows.reshape(-1, taps**2).astype(np.float64)  # (H*W*3, taps**2)
        h, w, c = small.shape
        phases = to_float(large).reshape(h, SCALE, w, SCALE, c).transpose(0, 2, 4, 1, 3)
        gram += inputs.T @ inputs
        moment += inputs.T @ phases.reshape(-1, SCALE**2)
    # A trace of ridge keeps flat photos, whose windows are all alike, solvable.
    gram += 1e-6 * np.trace(gram) / taps**2 * np.eye(taps**2)
    filters = np.linalg.solve(gram, moment).reshape(taps, taps, SCALE**2)
    layer.set_weights([filters.astype(np.float32)])
    return model

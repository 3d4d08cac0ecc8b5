"""Measures of the checkerboard, for which the field has no accepted index.

An enlarging network computes each of the four pixels of a 2x2 cell with
weights of their own. Where these disagree, a pattern of period 2 lies over the
picture: a peak in the spectrum at the Nyquist frequency, horizontally,
vertically or both. Stacked upsamplers add periods 4 and 8. Taught in chapter 5,
after A. Odena et al., "Deconvolution and Checkerboard Artifacts" (2016).

All functions take RGB images ``(N, H, W, 3)``, uint8 or float in [0, 1], and
look at luminance in grey levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from srlib.errors import SrlibError
from srlib.metrics.spectrum import hann_spectrum
from srlib.pixels import LUMA, check_range

if TYPE_CHECKING:
    from srlib._backend import keras

#: A ring of bins around a line, in bins: its inner and outer radius.
RING = (3, 6)


def _luminance(images: np.ndarray) -> np.ndarray:
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[-1] != 3:
        raise SrlibError(f"expected RGB images (N, H, W, 3), not an array of shape {images.shape}")
    check_range(images)
    levels = 1.0 if images.dtype == np.uint8 else 255.0
    return images.astype(np.float64) @ LUMA[:, 0] * levels


def _power(luminance: np.ndarray) -> np.ndarray:
    return np.abs(hann_spectrum(luminance, periodic=True)) ** 2


def spectrum(images: np.ndarray) -> np.ndarray:
    """Mean power spectrum in dB, zero frequency in the middle, to be looked at.

    Returns:
        float64 ``(H, W)``; rows are vertical frequencies from -1/2 to 1/2.
    """
    power = np.fft.fftshift(_power(_luminance(images)).mean(axis=0))
    return 10 * np.log10(power + 1e-12)


def lines(images: np.ndarray, period: int = 2) -> np.ndarray:
    """How far each spectral line of a periodic pattern stands out, in dB.

    A line's power (mean of the 3x3 bins that a Hann window spreads it over)
    over the power of the ring around it, whose median is robust against other
    lines. White noise reads a little under 0 dB; a notch is negative.

    Args:
        images: at least ``8 * period`` pixels high and wide.
        period: of the pattern in pixels: 2, 4 or 8. Lines that a pattern of
            half the period has too are left out.

    Returns:
        float64 ``(N, lines)``; for period 2, as (vertical, horizontal)
        frequencies: (0, 1/2), (1/2, 0), (1/2, 1/2). One-pixel columns raise the
        first, one-pixel rows the second, a checkerboard the third.
    """
    if period not in (2, 4, 8):
        raise SrlibError(f"period must be 2, 4 or 8, not {period}")
    luminance = _luminance(images)
    # Only then does the line fall upon a bin.
    height, width = (n - n % period for n in luminance.shape[1:])
    if min(height, width) < 8 * period:
        raise SrlibError(
            f"a pattern of period {period} needs images of at least {8 * period} pixels a side, "
            f"not {luminance.shape[2]}x{luminance.shape[1]}"
        )
    power = _power(luminance[:, :height, :width])
    reach = np.arange(-RING[1], RING[1] + 1)
    distance = np.maximum(np.abs(reach[:, None]), np.abs(reach))
    values = []
    for a in range(period):
        for b in range(period):
            if a % 2 == 0 and b % 2 == 0:
                continue
            rows = (a * height // period + reach) % height
            columns = (b * width // period + reach) % width
            around = power[:, rows[:, None], columns]
            line = around[:, distance <= 1].mean(axis=1)
            # The median of an exponential distribution is ln 2 of its mean. A
            # thousandth of a grey level keeps flat images finite.
            ring = np.median(around[:, distance >= RING[0]], axis=1) / np.log(2)
            values.append(10 * np.log10((line + 1e-6) / (ring + 1e-6)))
    return np.stack(values, axis=1)


def index(images: np.ndarray, period: int = 2) -> np.ndarray:
    """The checkerboard index: mean over :func:`lines`, in dB.

    Does not depend on brightness or contrast, and hardly on mirroring or
    quarter turns (the window lacks one pixel's symmetry: 0.3 dB at most on
    photos). An index means little without the truth's own, because edges raise
    it too: see :func:`excess`.

    Returns:
        float64 ``(N,)``.
    """
    return lines(images, period).mean(axis=1)


def excess(prediction: np.ndarray, truth: np.ndarray, period: int = 2) -> np.ndarray:
    """Index of each prediction minus that of its own truth, in dB.

    Above 0: a pattern that the photo does not have.

    Returns:
        float64 ``(N,)``.
    """
    _same_shape(prediction, truth)
    return index(prediction, period) - index(truth, period)


def phase_errors(prediction: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and mean squared error of each of the four pixels of a 2x2 cell.

    Where all four are treated alike, the means and the squares are equal.

    Returns:
        Two float64 ``(N, 2, 2)``: grey levels, and grey levels squared.
    """
    _same_shape(prediction, truth)
    error = _luminance(prediction) - _luminance(truth)
    n, height, width = error.shape
    error = error[:, : height - height % 2, : width - width % 2]
    cells = error.reshape(n, height // 2, 2, width // 2, 2)
    return cells.mean(axis=(1, 3)), (cells**2).mean(axis=(1, 3))


def phase_spread(prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Standard deviation of the four phases' mean errors, in grey levels: ``(N,)``."""
    return phase_errors(prediction, truth)[0].std(axis=(1, 2))


def phase_ratio(prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Largest over smallest mean squared error of the four phases: ``(N,)``, 1 is even."""
    squares = phase_errors(prediction, truth)[1]
    return (squares.max(axis=(1, 2)) + 1e-12) / (squares.min(axis=(1, 2)) + 1e-12)


def unevenness(values: np.ndarray) -> float:
    """Relative spread of the mean of ``values`` over the 2x2 grid.

    For the power of a loss's gradient with respect to the prediction: 0 when
    it pulls on all four pixels of a cell equally.

    Args:
        values: ``(N, H, W, C)``, for example squared gradients; even sides.

    Returns:
        Standard deviation over mean of the four phases' means.
    """
    n, height, width, channels = values.shape
    cells = np.asarray(values, np.float64).reshape(n, height // 2, 2, width // 2, 2, channels)
    phases = cells.mean(axis=(0, 1, 3, 5))
    return float(phases.std() / max(phases.mean(), np.finfo(float).tiny))


def flat_response(
    model: keras.Model, grey: Sequence[float] = (0.25, 0.5, 0.75), size: int = 64
) -> np.ndarray:
    """What a model draws upon flat grey, where nothing should be.

    Args:
        model: maps ``(N, H, W, 3)`` to ``(N, 2H, 2W, 3)``.
        grey: brightness of each input, in [0, 1].
        size: side of the input in pixels.

    Returns:
        float64 ``(len(grey),)``: standard deviation of the output's luminance
        in grey levels, over its middle, which no border reaches in small
        networks.
    """
    flat = np.ones((1, size, size, 3), np.float32) * np.array(grey, np.float32)[:, None, None, None]
    output = _luminance(np.asarray(model(flat, training=False)))
    quarter = size // 2
    return output[:, quarter:-quarter, quarter:-quarter].std(axis=(1, 2))


def checker(height: int, width: int, amplitude: float) -> np.ndarray:
    """A synthetic checkerboard of plus and minus ``amplitude``, ``(height, width, 1)``."""
    y, x = np.mgrid[:height, :width]
    return amplitude * np.where((y + x) % 2, -1.0, 1.0)[..., None]


def _same_shape(prediction: np.ndarray, truth: np.ndarray) -> None:
    if np.shape(prediction) != np.shape(truth):
        raise SrlibError(f"prediction is {np.shape(prediction)} and truth {np.shape(truth)}")

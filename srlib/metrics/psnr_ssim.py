"""PSNR and SSIM with their protocol spelled out.

A PSNR without its protocol is off by decibels (chapter 6 measures it), so every
choice is an argument here. Values are *per image*: average them last, never the
squared errors of different images.
"""

from __future__ import annotations

import numpy as np

from srlib.errors import SrlibError
from srlib.pixels import check_range, to_uint8, y_channel


def _prepare(truth, prediction, channel: str, shave: int, rounded: bool):
    """Both images as float64 in grey levels, shape ``(N, H, W, C)``."""
    truth, prediction = np.asarray(truth), np.asarray(prediction)
    if truth.shape != prediction.shape:
        raise SrlibError(
            f"truth is {truth.shape} and prediction {prediction.shape}: "
            "compare images of the same size"
        )
    if truth.ndim not in (3, 4) or truth.shape[-1] not in (1, 3):
        raise SrlibError(f"expected (H, W, 3) or (N, H, W, 3), not {truth.shape}")
    for images in (truth, prediction):
        check_range(images)
    both = []
    for images in (truth, prediction):
        if images.ndim == 3:
            images = images[None]
        if images.dtype != np.uint8:
            images = to_uint8(images) if rounded else images.clip(0.0, 1.0)
        if channel == "y":
            if images.shape[-1] != 3:
                raise SrlibError("the Y channel is computed from RGB; this image has one channel")
            images = y_channel(images)
        elif channel == "rgb":
            levels = 1.0 if images.dtype == np.uint8 else 255.0
            images = images.astype(np.float64) * levels
        else:
            raise SrlibError(f"channel must be 'rgb' or 'y', not {channel!r}")
        height, width = images.shape[1:3]
        if min(height, width) <= 2 * shave:
            raise SrlibError(f"nothing is left of {height}x{width} pixels after shaving {shave}")
        both.append(images[:, shave : height - shave, shave : width - shave])
    return both


def psnr(
    truth: np.ndarray,
    prediction: np.ndarray,
    *,
    channel: str = "rgb",
    shave: int = 0,
    rounded: bool = True,
) -> np.ndarray | float:
    """Peak signal-to-noise ratio of each image, in dB, with peak 255.

    Args:
        truth: ``(N, H, W, 3)`` or ``(H, W, 3)``, uint8 or float in [0, 1].
        prediction: the same shape; clipped.
        channel: ``"rgb"`` (mean over the three) or ``"y"`` (studio-range luma).
        shave: border in pixels to leave out; the field uses the scale, 2.
        rounded: round floats to 8 bits first, as saving the image would.

    Returns:
        ``(N,)`` float64, or one float for one image; ``inf`` where both are equal.

    Raises:
        ValueError: for shapes that differ or an unknown channel.

    Taught in chapter 6.
    """
    single = np.ndim(truth) == 3
    truth, prediction = _prepare(truth, prediction, channel, shave, rounded)
    error = np.mean((truth - prediction) ** 2, axis=(1, 2, 3))
    with np.errstate(divide="ignore"):
        values = 10 * np.log10(255.0**2 / error)
    return float(values[0]) if single else values


def ssim(
    truth: np.ndarray,
    prediction: np.ndarray,
    *,
    channel: str = "rgb",
    shave: int = 0,
    rounded: bool = True,
) -> np.ndarray | float:
    """Structural similarity of each image, from -1 to 1 (equal).

    Z. Wang et al., "Image Quality Assessment: From Error Visibility to
    Structural Similarity" (2004): Gaussian window of 11 pixels with standard
    deviation 1.5, K1 = 0.01, K2 = 0.03, windows that lie wholly inside.
    Arguments and errors as in :func:`psnr`; images of at least 11x11 pixels.

    Returns:
        ``(N,)`` float64, or one float for one image.
    """
    single = np.ndim(truth) == 3
    truth, prediction = _prepare(truth, prediction, channel, shave, rounded)
    if min(truth.shape[1:3]) < 11:
        raise SrlibError("SSIM's window needs images of at least 11x11 pixels")
    mean_t, mean_p = _blur(truth), _blur(prediction)
    var_t = _blur(truth**2) - mean_t**2
    var_p = _blur(prediction**2) - mean_p**2
    covariance = _blur(truth * prediction) - mean_t * mean_p
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    value = (2 * mean_t * mean_p + c1) * (2 * covariance + c2)
    value /= (mean_t**2 + mean_p**2 + c1) * (var_t + var_p + c2)
    values = value.mean(axis=(1, 2, 3))
    return float(values[0]) if single else values


def _blur(images: np.ndarray) -> np.ndarray:
    window = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    window /= window.sum()
    height, width = images.shape[1] - 10, images.shape[2] - 10
    images = sum(w * images[:, i : i + height] for i, w in enumerate(window))
    images = sum(w * images[:, :, i : i + width] for i, w in enumerate(window))
    return images

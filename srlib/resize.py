"""Down- and upsampling with a stated kernel, after MATLAB's ``imresize``.

Super-resolution numbers depend on the kernel that made the low-resolution
image (chapter 1 and chapter 6 measure by how much), so the kernel is written
out here and not left to whichever library happens to be imported.

Each output pixel is a weighted mean of input pixels. The weights come from a
continuous kernel; when the image shrinks, an antialiased resize stretches that
kernel by the shrink factor, so that it averages over everything it removes.
Borders are mirrored, as MATLAB does.

Sources: R. Keys, "Cubic convolution interpolation for digital image
processing", 1981; MATLAB's documentation of ``imresize``. Taught in chapter 1.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from srlib.errors import SrlibError
from srlib.pixels import to_uint8


def _cubic(x: np.ndarray) -> np.ndarray:
    """Keys' cubic with a = -0.5: the one that reproduces parabolas exactly."""
    x = np.abs(x)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))


def _box(x: np.ndarray) -> np.ndarray:
    return ((x >= -0.5) & (x < 0.5)).astype(float)


def _triangle(x: np.ndarray) -> np.ndarray:
    return np.maximum(0.0, 1 - np.abs(x))


def _lanczos3(x: np.ndarray) -> np.ndarray:
    return np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0.0)


#: By name, a kernel's function and its support (its width in input pixels).
KERNELS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], float]] = {
    "bicubic": (_cubic, 4.0),
    "bilinear": (_triangle, 2.0),
    "box": (_box, 1.0),
    "nearest": (_box, 1.0),
    "lanczos": (_lanczos3, 6.0),
}


@functools.lru_cache(maxsize=256)
def taps(
    in_size: int, out_size: int, kernel: str = "bicubic", antialias: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """The weighted sum behind each output pixel along one axis.

    Args:
        in_size: pixels along the axis before.
        out_size: pixels along the axis after.
        kernel: a key of :data:`KERNELS`.
        antialias: stretch the kernel when the axis shrinks. ``nearest`` is
            never stretched; that is what tells it from ``box``.

    Returns:
        ``(indices, weights)``, each ``(out_size, n_taps)``; every row of
        ``weights`` sums to 1.
    """
    if kernel not in KERNELS:
        raise SrlibError(f"unknown kernel {kernel!r}: choose one of {sorted(KERNELS)}")
    if in_size < 1 or out_size < 1:
        raise SrlibError(f"cannot resize an axis from {in_size} to {out_size} pixels")
    function, support = KERNELS[kernel]
    scale = out_size / in_size
    stretch = max(1.0, 1 / scale) if antialias and kernel != "nearest" else 1.0
    # Pixel centres lie at half-integers, so that both images cover the same area.
    centre = (np.arange(out_size) + 0.5) / scale - 0.5
    n_taps = int(np.ceil(support * stretch)) + 2
    first = np.floor(centre - support * stretch / 2).astype(int)
    indices = first[:, None] + np.arange(n_taps)
    weights = function((centre[:, None] - indices) / stretch)
    weights /= weights.sum(axis=1, keepdims=True)
    used = np.abs(weights).max(axis=0) > 0
    # MATLAB mirrors the border: ... 1 0 | 0 1 2 ... n-1 | n-1 n-2 ...
    mirrored = np.mod(indices[:, used], 2 * in_size)
    mirrored = np.where(mirrored < in_size, mirrored, 2 * in_size - 1 - mirrored)
    weights = weights[:, used]
    for array in (mirrored, weights):
        array.setflags(write=False)  # shared by every caller through the cache
    return mirrored, weights


def resize(
    images: np.ndarray,
    size: tuple[int, int],
    kernel: str = "bicubic",
    antialias: bool = True,
) -> np.ndarray:
    """Resize one image or a batch with NumPy.

    Args:
        images: ``(H, W, C)`` or ``(N, H, W, C)``, any range; uint8 comes back
            as uint8, rounded and clipped; anything else as float32.
        size: ``(height, width)`` in pixels.
        kernel: ``"bicubic"`` (a = -0.5), ``"bilinear"``, ``"box"``,
            ``"nearest"`` or ``"lanczos"`` (three lobes).
        antialias: stretch the kernel when shrinking, as MATLAB and Pillow do.

    Returns:
        The same rank and kind, ``size`` pixels high and wide.

    Raises:
        ValueError: for an unknown kernel, a wrong rank or an empty size.
    """
    images = np.asarray(images)
    if images.ndim not in (3, 4):
        raise SrlibError(f"expected (H, W, C) or (N, H, W, C), not shape {images.shape}")
    out = images.astype(np.float32)
    for axis, target in zip((-3, -2), size, strict=True):
        if kernel == "nearest" and target == images.shape[axis]:
            continue
        indices, weights = taps(images.shape[axis], int(target), kernel, antialias)
        shape = [1] * out.ndim
        shape[axis] = -1
        parts = (
            np.take(out, indices[:, t], axis) * weights[:, t].astype(np.float32).reshape(shape)
            for t in range(indices.shape[1])
        )
        out = functools.reduce(np.add, parts)
    return to_uint8(out / 255.0) if images.dtype == np.uint8 else out


def downscale(images: np.ndarray, scale: int = 2, kernel: str = "bicubic") -> np.ndarray:
    """Make the low-resolution image: ``(..., H, W, C)`` to ``(..., H/scale, W/scale, C)``.

    Raises:
        ValueError: when height or width is not a multiple of ``scale``;
            crop first, or the two images no longer cover the same area.
    """
    height, width = np.asarray(images).shape[-3:-1]
    if height % scale or width % scale:
        raise SrlibError(
            f"{height}x{width} pixels cannot be divided by {scale}: "
            "crop the image to a multiple of the scale first"
        )
    return resize(images, (height // scale, width // scale), kernel)


def interpolate(images: np.ndarray, scale: int = 2, kernel: str = "bicubic") -> np.ndarray:
    """Enlarge by interpolation: ``(..., H, W, C)`` to ``(..., H*scale, W*scale, C)``."""
    height, width = np.asarray(images).shape[-3:-1]
    return resize(images, (height * scale, width * scale), kernel)

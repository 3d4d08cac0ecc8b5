"""LPIPS: how far apart two images are in the features of a network that recognises objects.

R. Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric" (CVPR
2018), version 0.1 with AlexNet, for evaluation only. Its weights file is made by :func:`convert`.
"""

from __future__ import annotations

import functools
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from srlib._backend import tf
from srlib._files import write_whole
from srlib.errors import SrlibError
from srlib.pixels import check_range, to_float, to_uint8

VARIABLE = "SRLIB_LPIPS_WEIGHTS"
SMALLEST = 31  # of 30 pixels, AlexNet's two poolings leave nothing

# The authors' scaling layer: mean and deviation of ImageNet's pixels, on a scale of [-1, 1].
_SHIFT, _DEVIATION = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)

# Per convolution: kernel, stride, padding, pooled before, name in the authors' network.
_LAYERS = (
    ((11, 11, 3, 64), 4, 2, False, "net.slice1.0"),
    ((5, 5, 64, 192), 1, 2, True, "net.slice2.3"),
    ((3, 3, 192, 384), 1, 1, True, "net.slice3.6"),
    ((3, 3, 384, 256), 1, 1, False, "net.slice4.8"),
    ((3, 3, 256, 256), 1, 1, False, "net.slice5.10"),
)

# Key in the weights file: shape, name in the authors' network.
_TENSORS: dict[str, tuple[tuple[int, ...], str]] = {}
for _i, (_shape, *_, _name) in enumerate(_LAYERS):
    _TENSORS[f"alex/conv{_i + 1}/kernel"] = _shape, f"{_name}.weight"
    _TENSORS[f"alex/conv{_i + 1}/bias"] = _shape[-1:], f"{_name}.bias"
    _TENSORS[f"lin/alex/lin{_i}"] = _shape[-1:], f"lin{_i}.model.1.weight"

_WAYS = (
    f"give a weights file by the argument weights or the environment variable {VARIABLE}; make "
    "one, where torch, torchvision and lpips are installed too, with: python -c "
    '"import lpips; from srlib.metrics.lpips import convert; '
    "convert('lpips_alex.npz', lpips.LPIPS(net='alex'))\""
)


class LPIPSWeightsError(SrlibError):
    """LPIPS weights that are missing, damaged or of another network."""


def lpips(
    truth: np.ndarray,
    prediction: np.ndarray,
    weights: str | os.PathLike | None = None,
    batch_size: int = 16,
    *,
    rounded: bool = True,
) -> np.ndarray | float:
    """Perceptual distance of each image (LPIPS 0.1, AlexNet): 0 is equal, lower is better.

    It has no unit and depends on the images' size: compare only one. Taught in chapter 4.

    Args:
        truth: RGB ``(N, H, W, 3)`` or ``(H, W, 3)``, uint8 or float in [0, 1], 31x31 or more.
        prediction: the same shape; clipped.
        weights: path of an ``.npz`` from :func:`convert`; by default the one named by
            the environment variable ``SRLIB_LPIPS_WEIGHTS``. ``"random"`` is for
            trying code out: fixed random numbers, whose distances mean nothing.
        batch_size: how many pairs are computed together.
        rounded: round floats to 8 bits first, as saving the image would.

    Returns:
        ``(N,)`` float64, or one float for one image; never negative.

    Raises:
        LPIPSWeightsError: when the weights are missing or damaged.
        ValueError: for shapes that differ, images too small, floats up to 255.
    """
    truth, prediction = np.asarray(truth), np.asarray(prediction)
    if truth.shape != prediction.shape:
        raise SrlibError(f"compare images of the same size, not {truth.shape}, {prediction.shape}")
    if truth.ndim not in (3, 4) or truth.shape[-1] != 3 or not truth.size:
        raise SrlibError(f"expected RGB (H, W, 3) or (N, H, W, 3), not {truth.shape}")
    height, width = truth.shape[-3:-1]
    if min(height, width) < SMALLEST:
        raise SrlibError(f"LPIPS needs {SMALLEST}x{SMALLEST} pixels or more, not {height}x{width}")
    path, both = _find(weights), []
    distance = _network(path, path.stat().st_mtime_ns if path else 0)
    for images in (truth, prediction):
        check_range(images)
        if images.dtype != np.uint8:
            images = to_uint8(images) if rounded else images.clip(0.0, 1.0)
        both.append(to_float(images).reshape(-1, height, width, 3))
    starts = range(0, len(both[0]), batch_size)
    parts = [distance(*(tf.constant(x[i : i + batch_size]) for x in both)) for i in starts]
    values = np.concatenate(parts).astype(np.float64)
    return float(values[0]) if truth.ndim == 3 else values


def origin(weights: str | os.PathLike | None = None) -> str:
    """What :func:`lpips` would use, for captions, without folders. Taught in chapter 4.

    Returns:
        Such as ``"LPIPS-Alex (lpips_alex.npz)"``, or ``"random weights"``.

    Raises:
        LPIPSWeightsError: when there are no weights.
    """
    path = _find(weights)
    return f"LPIPS-Alex ({path.name})" if path else "random weights"


def convert(target: str | os.PathLike, network: Any) -> Path:
    """Write the weights file for :func:`lpips`, whole or not at all. Taught in chapter 4.

    Args:
        target: path of the ``.npz``, which is returned.
        network: ``lpips.LPIPS(net="alex")`` of the PyTorch package ``lpips``, of which only
            ``state_dict()`` is read: srlib never imports PyTorch.

    Raises:
        LPIPSWeightsError: when it is another network.
    """
    target, state = Path(target), network.state_dict()
    tensors = {k: state[name].cpu().numpy() for k, (_, name) in _TENSORS.items() if name in state}
    for key, value in tensors.items():
        # From PyTorch's (out, in, height, width); a head is (1, in, 1, 1) there, here a vector.
        tensors[key] = np.squeeze(value.transpose(2, 3, 1, 0)) if value.ndim == 4 else value
    content = io.BytesIO()
    checked: dict[str, Any] = _checked(tensors, target, "not written; give lpips.LPIPS(net='alex')")
    np.savez(content, **checked)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_whole(target, content.getvalue())
    return target


def _find(weights: str | os.PathLike | None) -> Path | None:
    """The weights file, or None for random numbers."""
    chosen = weights or os.environ.get(VARIABLE)
    if chosen == "random":
        return None
    if chosen and (path := Path(chosen).expanduser().absolute()).is_file():
        return path
    wrong = f"{chosen}: no such file" if chosen else "LPIPS needs weights, which srlib lacks"
    raise LPIPSWeightsError(f"{wrong}; {_WAYS}")


def _load(path: Path | None) -> dict[str, np.ndarray]:
    if path is None:
        rng = np.random.default_rng(0)
        tensors = {key: rng.normal(0, 0.05, shape) for key, (shape, _) in _TENSORS.items()}
        return {key: np.abs(x) if key.startswith("lin") else x for key, x in tensors.items()}
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            tensors = {key: file[key] for key in _TENSORS if key in file}
    except Exception as error:  # zipfile, zlib, struct and NumPy each have errors of their own
        raise LPIPSWeightsError(f"{path}: cannot be read as .npz ({error}); {_WAYS}") from error
    return _checked(tensors, path, _WAYS)


def _checked(tensors: dict[str, np.ndarray], path: Path, remedy: str) -> dict[str, np.ndarray]:
    for key, (shape, _) in _TENSORS.items():
        if key not in tensors:
            raise LPIPSWeightsError(f"{path}: lacks {key}; {remedy}")
        value = np.asarray(tensors[key])
        if value.shape != shape or value.dtype.kind != "f" or not np.isfinite(value).all():
            wrong = f"is {value.dtype} {value.shape}, but must be finite floats {shape}"
            raise LPIPSWeightsError(f"{path}: {key} {wrong}; {remedy}")
    return {key: np.asarray(value, np.float32) for key, value in tensors.items()}


@functools.lru_cache(maxsize=2)
def _network(path: Path | None, mtime: int) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """The distance of two batches, one graph for all sizes; a rewritten file is loaded anew."""
    tensors = {key: tf.constant(value, "float32") for key, value in _load(path).items()}

    def features(images):
        images = (2.0 * images - 1.0 - _SHIFT) / _DEVIATION  # the authors take -1 to 1
        taps = []
        for i, (_, stride, border, pooled, _) in enumerate(_LAYERS, start=1):
            if pooled:
                images = tf.nn.max_pool2d(images, 3, 2, "VALID")
            # Not "SAME", which at stride 4 pads one side more, and by the size of the image.
            images = tf.pad(images, [[0, 0], [border, border], [border, border], [0, 0]])
            images = tf.nn.conv2d(images, tensors[f"alex/conv{i}/kernel"], stride, "VALID")
            images = tf.nn.relu(images + tensors[f"alex/conv{i}/bias"])
            # 1e-10 stands outside the root, as in the authors' code: no response remains 0.
            taps.append(images / (tf.norm(images, axis=-1, keepdims=True) + 1e-10))
        return taps

    def distance(truth, prediction):
        total = 0.0
        for i, (a, b) in enumerate(zip(features(truth), features(prediction), strict=True)):
            weighted = tf.square(a - b) * tensors[f"lin/alex/lin{i}"]
            total += tf.reduce_mean(tf.reduce_sum(weighted, axis=-1), axis=(1, 2))
        return total

    images = tf.TensorSpec((None, None, None, 3), "float32")
    return tf.function(distance, autograph=False).get_concrete_function(images, images)

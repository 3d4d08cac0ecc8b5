"""Any image in, an image twice as large out."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from srlib.backend import keras, tf
from srlib.metrics import check_range
from srlib.models import size_multiple
from srlib.resize import to_float, to_uint8
from srlib.sources import PhotoError, read_photo

#: File endings that `upscale_file` can write, and how.
WRITABLE = {
    ".png": {},
    ".jpg": {"quality": 95, "subsampling": 0},
    ".jpeg": {"quality": 95, "subsampling": 0},
    ".webp": {"quality": 95},
    ".tif": {},
    ".tiff": {},
}


def predict(model: keras.Model, images: np.ndarray, batch_size: int = 16) -> np.ndarray:
    """Enlarge images of one size, whatever that size is, a batch at a time.

    Networks that need sides of a certain multiple get a mirrored border, which
    is cut off again.

    Args:
        model: from ``srlib.load`` or ``srlib.models``.
        images: uint8, or float in [0, 1], ``(N, H, W, 3)``.
        batch_size: how many are computed together.

    Returns:
        float32 in [0, 1], ``(N, 2H, 2W, 3)``.

    Raises:
        ValueError: when the array is not a batch of RGB images.
    """
    if not callable(model):
        raise TypeError(
            f"model must be a Keras model, for example from srlib.load, not {type(model).__name__}"
        )
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[-1] != 3 or not images.size:
        raise ValueError(f"expected RGB images (N, H, W, 3), not an array of shape {images.shape}")
    check_range(images)
    images = to_float(images) if images.dtype == np.uint8 else np.asarray(images, np.float32)
    height, width = images.shape[1:3]
    multiple = size_multiple(model)
    padding = ((0, 0), (0, -height % multiple), (0, -width % multiple), (0, 0))
    if any(after for _, after in padding):
        images = np.pad(images, padding, "symmetric")
    batches = [images[i : i + batch_size] for i in range(0, len(images), batch_size)]
    parts = [_compiled(model)(batch).numpy() for batch in batches]
    return np.concatenate(parts)[:, : 2 * height, : 2 * width]


@functools.lru_cache(maxsize=8)
def _compiled(model: keras.Model) -> Callable[[np.ndarray], tf.Tensor]:
    """One graph for all sizes. Called directly, Keras keeps every layer's output until the end."""
    function = tf.function(lambda images: model(images, training=False))
    concrete = function.get_concrete_function(tf.TensorSpec((None, None, None, 3), "float32"))
    return lambda images: concrete(tf.constant(images))


def upscale(image: np.ndarray, model: keras.Model) -> np.ndarray:
    """Enlarge one image twofold.

    Args:
        image: RGB ``(H, W, 3)``, uint8 or float in [0, 1].
        model: from ``srlib.load`` or ``srlib.models``.

    Returns:
        ``(2H, 2W, 3)`` of the same kind, uint8 or float32.

    Raises:
        ValueError: when the array is not an RGB image.
    """
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[-1] != 3 or not image.size:
        raise ValueError(
            f"expected an RGB image (H, W, 3), not an array of shape {image.shape}; "
            "for a file use srlib.inference.upscale_file"
        )
    result = predict(model, image[None])[0]
    return to_uint8(result) if image.dtype == np.uint8 else result


def upscale_file(
    source: str | os.PathLike, target: str | os.PathLike, model: keras.Model
) -> tuple[int, int]:
    """Enlarge an image file twofold; the target's ending decides its format.

    The target is written aside and renamed, so it is whole or not there.

    Returns:
        The new width and height in pixels.

    Raises:
        PhotoError: when the source cannot be read or the target not be written.
    """
    target = Path(target)
    if target.suffix.lower() not in WRITABLE:
        raise PhotoError(
            f"{target}: cannot write {target.suffix or 'a file without ending'}; "
            f"choose one of {', '.join(WRITABLE)}"
        )
    if not target.parent.is_dir():
        raise PhotoError(f"{target}: there is no folder {target.parent}; make it first")
    photo = read_photo(source)
    if target.exists() and target.samefile(source):
        raise PhotoError(f"{target}: is the input itself; choose another name")
    image = Image.fromarray(upscale(photo, model))
    aside = target.with_name(f".{target.stem}.part{target.suffix}")
    try:
        image.save(aside, **WRITABLE[target.suffix.lower()])
        os.replace(aside, target)
    except (OSError, ValueError) as error:  # ValueError: too large for the format
        reason = getattr(error, "strerror", None) or error
        raise PhotoError(f"{target}: cannot be written ({reason})") from error
    finally:
        aside.unlink(missing_ok=True)
    return image.size

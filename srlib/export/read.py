"""What was exported, in its own runtime, beside Keras. Taught in chapter 11."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from srlib._backend import keras
from srlib.export.formats import FORMATS, ExportError, Runner, format_of, need, quietly, reason
from srlib.models.anatomy import size_multiple

#: Images, height and width of the two inputs of the check; primes, times the network's multiple.
CHECKED = ((2, 11, 17), (1, 23, 13))


def runner(path: str | os.PathLike, format: str | None = None) -> Runner:
    """An exported network in its own runtime, as a function from images to images.

    Args:
        path: what :func:`srlib.export.write.export` wrote.
        format: as there.

    Returns:
        A function from float32 ``(N, H, W, 3)`` in [0, 1] to ``(N, 2H, 2W, 3)``.

    Raises:
        ExportError: when the runtime is not installed, or cannot read the file.
    """
    path = Path(path)
    kind = FORMATS[format_of(path, format)]
    for library in kind.runs_with:
        need(library, path)
    try:
        with quietly():
            return kind.run(path)
    except Exception as error:  # each runtime has errors of its own
        raise ExportError(f"{path}: cannot be read ({reason(error)})") from error


def metadata(path: str | os.PathLike, format: str | None = None) -> dict[str, str]:
    """What an exported file says of itself: model, scale, sha256 of its weights, licence.

    Args:
        path: what :func:`srlib.export.write.export` wrote.
        format: as there.

    Raises:
        ExportError: when it is no such file.
    """
    path = Path(path)
    kind = FORMATS[format_of(path, format)]
    for library in kind.writes_with:
        need(library, path)
    try:
        return kind.metadata(path)
    except Exception as error:  # each format's reader has errors of its own
        raise ExportError(f"{path}: tells nothing of itself ({reason(error)})") from error


def difference(model: keras.Model, path: str | os.PathLike, format: str | None = None) -> float:
    """The largest difference of a pixel between Keras and an exported file, of a range of 1.

    Over noise of two odd sizes, times the network's multiple.

    Raises:
        ExportError: as :func:`runner`.
    """
    return largest_difference(model, runner(path, format))


def largest_difference(model: keras.Model, run: Runner) -> float:
    """As :func:`difference`, for a file that runs already."""
    multiple, found, rng = size_multiple(model), [], np.random.default_rng(0)
    for images, height, width in CHECKED:
        low = rng.random((images, height * multiple, width * multiple, 3), np.float32)
        expected, high = np.asarray(model(low, training=False)), run(low)
        same = high.shape == expected.shape
        found.append(np.abs(high - expected).max() if same else np.inf)
    return float(np.max(found))

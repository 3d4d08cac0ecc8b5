"""The zoo: trained weights as data, each with a model card.

A model is two files: ``NAME.safetensors`` (float16 numbers, no code, nothing
that could be executed on loading) and ``NAME.json``, its card, which says what
it is, on what and how long it was trained, and what it scores by which
protocol. Taught in chapter 3.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors import numpy as safetensors

from srlib._backend import keras, tf
from srlib._files import write_whole
from srlib.models import registry
from srlib.models.cards import BASELINES, SUFFIX, WeightsError, card, find


def load(name: str | os.PathLike, dtype: str = "float32") -> keras.Model:
    """A trained model, ready to use; nothing is downloaded.

    Args:
        name: one of ``srlib.available()``, a baseline (``"nearest"``,
            ``"bicubic"``, ``"lanczos"``), or the path of a file that
            :func:`save` wrote.
        dtype: Keras dtype policy to compute in.

    Returns:
        A Keras model from RGB float ``(N, H, W, 3)`` in [0, 1] to
        ``(N, 2H, 2W, 3)`` in [0, 1].

    Raises:
        WeightsError: when the file is missing, damaged or does not fit.
    """
    if str(name) in BASELINES:
        return registry.build(str(name))
    path, about = find(name), card(name)
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != about["sha256"]:
        raise WeightsError(
            f"{path}: is not the file its card describes (sha256 differs): it is damaged or was "
            "changed. Install srlib again, or copy the file and its card anew"
        )
    try:
        tensors = safetensors.load(content)
    except (SafetensorError, KeyError) as error:  # KeyError: a type NumPy lacks
        raise WeightsError(f"{path}: cannot be read as safetensors ({error})") from error
    # Networks without a choice of dtype compute in float32, everyone's default.
    computing = {} if dtype == "float32" else {"dtype": dtype}
    try:
        _check_options(about["options"], tensors)
        model = registry.build(about["architecture"], **about["options"], **computing)
    except (TypeError, ValueError, tf.errors.OpError) as error:
        raise WeightsError(
            f"{path}: the network its card describes cannot be built ({error})"
        ) from error
    assign(model, tensors, path)
    return model


def _check_options(options: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
    """A card is a stranger's: it may not ask for a network that takes hours to build."""
    if not isinstance(options, dict) or "dtype" in options:
        raise ValueError("its options are not those of a network")
    most = max([len(tensors), *(side for tensor in tensors.values() for side in tensor.shape)])
    for name, value in options.items():
        if not isinstance(value, (bool, str)) and not (
            isinstance(value, int) and 0 < value <= most
        ):
            raise ValueError(f"{name} is {value!r}, which is not what the weights are of")


def assign(model: keras.Model, tensors: dict[str, np.ndarray], path: str | os.PathLike) -> None:
    """Give a model its weights by their names.

    Args:
        model: of the architecture that they are of.
        tensors: by ``variable.path``.
        path: of the file that they are from, for errors.

    Raises:
        WeightsError: when names or shapes differ.
    """
    variables = {v.path: v for v in model.variables}
    if variables.keys() != tensors.keys():
        odd = sorted(variables.keys() ^ tensors.keys())
        raise WeightsError(
            f"{path}: does not belong to {model.name}: {len(odd)} names differ, first {odd[0]!r}"
        )
    for key, variable in variables.items():
        if tensors[key].shape != tuple(variable.shape):
            raise WeightsError(
                f"{path}: {key} is {tensors[key].shape}, but {model.name} needs {variable.shape}"
            )
    for key, variable in variables.items():
        variable.assign(tensors[key].astype(np.float32))


def save(
    model: keras.Model,
    path: str | os.PathLike,
    architecture: str,
    options: dict[str, Any] | None = None,
    **about: Any,
) -> Path:
    """Write weights as float16 and their card beside them.

    Args:
        model: built by ``srlib.models.registry.build(architecture, **options)``.
        path: where to; must end in ``.safetensors``.
        architecture: a key of ``srlib.models.registry.ARCHITECTURES``.
        options: the options it was built with, without ``dtype``.
        about: whatever else the card should say.

    Returns:
        The path written.
    """
    path = Path(path)
    if path.suffix != SUFFIX:
        raise WeightsError(f"{path}: must end in {SUFFIX}")
    with np.errstate(over="ignore"):  # reported below, by name
        tensors = {v.path: np.asarray(v, np.float32).astype(np.float16) for v in model.variables}
    broken = [key for key, value in tensors.items() if not np.isfinite(value).all()]
    if broken:
        raise WeightsError(f"{path}: not written, {broken[0]} holds values float16 cannot store")
    content = safetensors.save(tensors)
    about = {
        "name": path.name.removesuffix(SUFFIX),
        "architecture": architecture,
        "options": options or {},
        "parameters": model.count_params(),
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        **about,
    }
    card_content = (json.dumps(about, indent=1) + "\n").encode()  # may fail: before any writing
    path.parent.mkdir(parents=True, exist_ok=True)
    files = [(path, content), (path.with_suffix(".json"), card_content)]
    if not path.exists():  # killed in between, a card alone tells whose weights are to come
        files.reverse()
    for file, written in files:
        write_whole(file, written)
    return path


def blend(first: keras.Model, second: keras.Model, share: float) -> keras.Model:
    """A network between two of the same architecture: their weights, mixed.

    X. Wang et al., "ESRGAN" (2018), call it network interpolation. It makes
    sense where ``second`` was fine-tuned from ``first``. Taught in chapter 4.

    Args:
        first: what ``share`` 0 returns, for example trained on pixels.
        second: what ``share`` 1 returns, for example fine-tuned perceptually.
        share: of the second, usually from 0 to 1; beyond, it extrapolates.

    Returns:
        A new model; both others stay as they are.

    Raises:
        WeightsError: when their weights differ in number or shape.
    """
    pairs = list(zip(first.get_weights(), second.get_weights(), strict=False))
    if len(first.weights) != len(second.weights) or any(a.shape != b.shape for a, b in pairs):
        raise WeightsError(
            f"{first.name} and {second.name} differ in their weights' number or shapes: "
            "only networks of one architecture can be blended"
        )
    mixed = keras.models.clone_model(first)
    mixed.set_weights([(1 - share) * a + share * b for a, b in pairs])
    return mixed

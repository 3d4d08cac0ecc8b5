"""VGG16 features: what a perceptual loss compares. Taught in chapter 4.

K. Simonyan and A. Zisserman, "Very Deep Convolutional Networks for Large-Scale
Image Recognition" (2015); weights trained on ImageNet, CC BY 4.0. Only the
layers up to the one asked for are built and read.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from srlib._backend import keras
from srlib.errors import SrlibError, one_line

#: Environment variable that names a weights file.
VARIABLE = "SRLIB_VGG16_WEIGHTS"
_WIDTHS = {
    f"block{b}_conv{c}": width
    for b, widths in enumerate(((64,) * 2, (128,) * 2, (256,) * 3, (512,) * 3, (512,) * 3), 1)
    for c, width in enumerate(widths, 1)
}
#: Convolution -> the shape of its kernel, in order.
CONVOLUTIONS = {
    name: (3, 3, channels, width)
    for (name, width), channels in zip(_WIDTHS.items(), (3, *_WIDTHS.values()), strict=False)
}
#: What the network was trained to have subtracted: mean B, G, R in grey levels.
IMAGENET_MEAN = (103.939, 116.779, 123.68)


class VGGWeightsError(SrlibError):
    """VGG16's weights are missing, damaged or of another network."""


Arrays = dict[str, tuple[np.ndarray, np.ndarray]]
#: What a file holds: convolution -> ``"kernel"`` and ``"bias"``, as far as they are there.
_Found = dict[str, dict[str, np.ndarray]]


@dataclass(frozen=True)
class Weights:
    """Weights and where they come from.

    Attributes:
        origin: one short label without a path, to be written into every figure
            that depends on them.
        arrays: convolution -> (kernel ``(3, 3, in, out)``, bias ``(out,)``).
    """

    origin: str
    arrays: Arrays


def convolution_of(layer: str) -> tuple[str, bool]:
    """The convolution behind a layer's name, and whether its ReLU is applied.

    Args:
        layer: Keras' name (``"block2_conv2"``, after its ReLU), or the papers'
            (``"relu2_2"`` for the same, ``"conv2_2"`` for before the ReLU).
    """
    name, rectified = layer, True
    for prefix in ("relu", "conv"):
        if layer.startswith(prefix):
            name = "block{}_conv{}".format(*layer.removeprefix(prefix).partition("_")[::2])
            rectified = prefix == "relu"
    if name not in CONVOLUTIONS:
        raise SrlibError(
            f"unknown VGG16 layer {layer!r}: choose one of {', '.join(CONVOLUTIONS)}, "
            "or relu2_2 (the same as block2_conv2) or conv2_2 (before its ReLU), and so on"
        )
    return name, rectified


def load_weights(
    weights: str | os.PathLike | None = None, upto: str = "block2_conv2", seed: int = 0
) -> Weights:
    """Find VGG16's weights for the layers up to ``upto``.

    Args:
        weights: a file (``.npz`` with keys like ``block1_conv1/kernel``, or a
            Keras ``.h5`` or ``.weights.h5``); ``"imagenet"`` for Keras' own,
            downloaded (59 MB) unless Keras has them already; ``"random"`` for
            untrained ones. None: the file that the environment variable
            ``SRLIB_VGG16_WEIGHTS`` names (or its value ``random``), else
            ``"imagenet"``.
        upto: the last convolution needed.
        seed: of random weights.

    Raises:
        VGGWeightsError: when there are none, saying what to do, or when a file
            is damaged or of another network.
    """
    last, _ = convolution_of(upto)
    names = list(CONVOLUTIONS)[: list(CONVOLUTIONS).index(last) + 1]
    weights = weights or os.environ.get(VARIABLE) or "imagenet"
    if weights == "random":
        return Weights(f"random weights, seed {seed}", _random(names, seed))
    if weights != "imagenet":
        path = Path(weights).expanduser()
        return Weights(f"ImageNet weights ({path.name})", _read(path, names))
    cache = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras")) / "models"
    for ending in ("_notop", ""):
        path = cache / f"vgg16_weights_tf_dim_ordering_tf_kernels{ending}.h5"
        if path.exists():
            return Weights("ImageNet weights (Keras)", _read(path, names))
    return Weights("ImageNet weights (Keras)", _download(names))


def _random(names: list[str], seed: int) -> Arrays:
    """He's initialisation, which keeps the activations' size from layer to layer."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for name in names:
        shape = CONVOLUTIONS[name]
        kernel = rng.normal(0, np.sqrt(2 / np.prod(shape[:3])), shape)
        arrays[name] = (kernel.astype(np.float32), np.zeros(shape[3], np.float32))
    return arrays


def _download(names: list[str]) -> Arrays:
    try:
        whole = keras.applications.VGG16(weights="imagenet", include_top=False)
    except Exception as error:  # whatever the network, the proxy or the disk raises
        raise VGGWeightsError(
            f"VGG16's weights could not be downloaded ({one_line(error)}). Either connect to the "
            f"internet; or set {VARIABLE} to a file that has them (.npz or Keras .h5); "
            f"or use untrained ones: weights='random', or {VARIABLE}=random"
        ) from error
    return {name: tuple(whole.get_layer(name).get_weights()) for name in names}


def _read(path: Path, names: list[str]) -> Arrays:
    if not path.is_file():
        raise VGGWeightsError(
            f"{path}: no such file. Give the path of VGG16's weights (.npz or Keras .h5), "
            f"unset {VARIABLE} to let Keras download them, or use weights='random'"
        )
    try:
        found = _read_npz(path) if path.suffix == ".npz" else _read_h5(path)
    except Exception as error:  # h5py and zipfile raise half a dozen kinds
        raise VGGWeightsError(
            f"{path}: cannot be read as VGG16's weights ({one_line(error)}); get the file anew"
        ) from error
    return {name: _layer(path, name, found) for name in names}


def _layer(path: Path, name: str, found: _Found) -> tuple[np.ndarray, np.ndarray]:
    """One convolution's kernel and bias as float32, or an error that names what is wrong."""
    try:
        kernel, bias = (found[name][kind] for kind in ("kernel", "bias"))
    except KeyError:
        raise VGGWeightsError(
            f"{path}: lacks {name}; it has {', '.join(found) or 'no layer of VGG16'}. "
            "Choose an earlier layer, or a more complete file"
        ) from None
    shape = CONVOLUTIONS[name]
    if kernel.shape != shape or bias.shape != shape[3:]:
        raise VGGWeightsError(
            f"{path}: {name} is {kernel.shape} and {bias.shape}, but VGG16's is {shape} and "
            f"{shape[3:]}: these are weights of another network"
        )
    if kernel.dtype.kind not in "fiu" or bias.dtype.kind not in "fiu":
        raise VGGWeightsError(f"{path}: {name} holds {kernel.dtype}, not numbers; get it anew")
    with np.errstate(over="ignore"):  # reported below, by name
        kernel, bias = kernel.astype(np.float32), bias.astype(np.float32)
    if not (np.isfinite(kernel).all() and np.isfinite(bias).all()):
        raise VGGWeightsError(f"{path}: {name} holds values that are not finite; get it anew")
    return kernel, bias


def _read_npz(path: Path) -> _Found:
    found: _Found = {}
    with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
        for key in file.files:
            name, _, kind = key.partition("/")
            if name in CONVOLUTIONS:
                found.setdefault(name, {})[kind] = file[key]
    return found


def _read_h5(path: Path) -> _Found:
    """Every Keras generation nests and names differently; the layer's name is in the path.

    Except in Keras 3's ``.weights.h5``, which knows convolutions by number.
    """
    by_number = {f"conv2d_{i}" if i else "conv2d": n for i, n in enumerate(CONVOLUTIONS)}
    found: _Found = {}

    def visit(where: str, item) -> None:
        if not isinstance(item, h5py.Dataset) or "optimizer" in where:
            return
        for part in where.split("/"):
            name = part if part in CONVOLUTIONS else by_number.get(part)
            if name and item.ndim in (1, 4):
                found.setdefault(name, {})["kernel" if item.ndim == 4 else "bias"] = item[()]
                return

    with h5py.File(path) as file:
        file.visititems(visit)
    return found


class VGG16(keras.Model):
    """VGG16 up to one layer: from RGB images in [0, 1] to that layer's activations.

    The preprocessing that its weights expect is inside: grey levels, blue
    first, ImageNet's mean subtracted.

    Args:
        layer: Keras' or the papers' name; see :func:`convolution_of`.
        weights: see :func:`load_weights`.
        pooling: ``"max"``, as trained; ``"average"`` (chapter 5 compares them).
        preprocessing: False to feed images as they are (chapter 4 shows the cost).
        seed: of random weights.
        dtype: Keras dtype policy of the convolutions.

    Attributes:
        origin: where the weights come from, for captions.

    Call arguments:
        images: ``(N, H, W, 3)`` RGB in [0, 1].

    Returns:
        float32 ``(N, h, w, C)``, H and W halved for each block before the layer's.

    Raises:
        VGGWeightsError: see :func:`load_weights`.
    """

    def __init__(
        self,
        layer: str = "block2_conv2",
        weights: str | os.PathLike | None = None,
        *,
        pooling: str = "max",
        preprocessing: bool = True,
        seed: int = 0,
        dtype: str = "float32",
    ):
        pools = {"max": keras.layers.MaxPooling2D, "average": keras.layers.AveragePooling2D}
        if pooling not in pools:
            raise SrlibError(f"pooling must be one of {list(pools)}, not {pooling!r}")
        last, rectified = convolution_of(layer)
        known = load_weights(weights, last, seed)
        images = keras.Input((None, None, 3), name="images")
        x, block = images, "1"
        if preprocessing:
            x = Preprocessing(name="preprocessing")(images)
        for name, (kernel, _) in known.arrays.items():
            if name[5] != block:
                x = pools[pooling](2, name=f"block{block}_pool", dtype=dtype)(x)
                block = name[5]
            x = keras.layers.Conv2D(
                kernel.shape[-1], 3, padding="same", name=name, dtype=dtype,
                activation="relu" if name != last or rectified else None,
            )(x)  # fmt: skip
        x = keras.layers.Activation("linear", dtype="float32", name="features")(x)
        super().__init__(images, x, name="vgg16_" + last)
        for name, arrays in known.arrays.items():
            self.get_layer(name).set_weights(arrays)
        self.trainable = False
        self.origin = known.origin


@keras.saving.register_keras_serializable(package="srlib")
class Preprocessing(keras.layers.Layer):
    """What ``keras.applications.vgg16.preprocess_input`` does, from RGB in [0, 1]."""

    def __init__(self, **kwargs):
        # bfloat16 cannot tell neighbouring grey levels above 128 apart.
        super().__init__(autocast=False, **kwargs)

    def call(self, inputs):
        images = keras.ops.cast(inputs, "float32")
        return keras.ops.flip(images, -1) * 255.0 - np.float32(IMAGENET_MEAN)

    def compute_output_shape(self, input_shape):
        return input_shape

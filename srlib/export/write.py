"""A network as a file that runs where there is no srlib, no Keras and, mostly, no TensorFlow.

An export is a graph of operations and its numbers, without any Python. It is compared with Keras
in the very runtime that will execute it before it is handed over. Taught in chapter 11.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from srlib import __version__
from srlib._backend import keras, tf
from srlib.export.formats import (
    FORMATS,
    INPUT,
    OUTPUT,
    ExportError,
    format_of,
    need,
    quietly,
    reason,
)
from srlib.export.place import put_in_place, refuse_unsafe
from srlib.export.read import largest_difference
from srlib.models import cards, zoo
from srlib.models.anatomy import size_multiple
from srlib.models.interface import SCALE

#: Largest difference to Keras, of a range of 1, with which a file is handed over.
TOLERANCE = 1e-3


@dataclass(frozen=True)
class Exported(os.PathLike):
    """What :func:`export` has written. It can be used wherever a path can.

    Attributes:
        path: the file, or the folder of a SavedModel.
        format: a key of :data:`srlib.export.formats.FORMATS`.
        bytes: its size on disk.
        difference: the largest to Keras in the check; None when that was left out.
    """

    path: Path
    format: str
    bytes: int
    difference: float | None

    def __fspath__(self) -> str:
        return os.fspath(self.path)

    def __str__(self) -> str:
        how = "not checked"
        if self.difference is not None:
            how = f"differs from Keras by {self.difference:.1e} at most"
        return f"{self.path}: {self.format}, {self.bytes / 1e6:.2f} MB, {how}"


def export(
    model: keras.Model | str | os.PathLike,
    path: str | os.PathLike,
    format: str | None = None,
    *,
    overwrite: bool = False,
    check: bool = True,
) -> Exported:
    """Write a network as ONNX, TensorFlow Lite or SavedModel, whole or not at all.

    Its input is ``"low"``, RGB ``(N, H, W, 3)`` float32 in [0, 1], its output ``"high"``,
    ``(N, 2H, 2W, 3)`` in [0, 1], for any number of images of any size. (The hourglass keeps its
    own rule: sides must be multiples of 8; :func:`srlib.export.read.metadata` tells.) Before the
    file gets its name, its own runtime runs it at two odd sizes, and the result is compared with
    Keras'. Taught in chapter 11.

    Args:
        model: a Keras model, or a name for ``srlib.load``.
        path: the file to write, or the folder of a SavedModel.
        format: ``"onnx"``, ``"tflite"`` or ``"savedmodel"``. By default the ending decides:
            ``.onnx``, ``.tflite``, none.
        overwrite: replace an earlier export.
        check: False to do without the comparison, and so without the runtime.

    Returns:
        The path with the format, the size and the largest difference.

    Raises:
        ExportError: naming the target; nothing is left of a failed export.
        srlib.models.cards.WeightsError: when there is no such model.
    """
    named = isinstance(model, (str, os.PathLike))
    if not named and not isinstance(model, keras.Model):
        raise TypeError(
            f"model must be a Keras model or a name for srlib.load, not {type(model).__name__}"
        )
    target = Path(path)
    kind = format_of(target, format)
    refuse_unsafe(target, FORMATS[kind].ending == "", overwrite)
    for library in FORMATS[kind].writes_with + FORMATS[kind].runs_with * check:
        need(library, target)
    network = zoo.load(model) if named else model
    about = _about(model, network)
    difference_found = None
    try:
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as folder:
            aside = Path(folder) / "export"
            with quietly():
                FORMATS[kind].write(network, _graph(network, target), about, aside)
            if check:
                difference_found = largest_difference(network, FORMATS[kind].run(aside))
                if not difference_found <= TOLERANCE:  # NaN is refused too
                    raise ExportError(
                        f"{target}: not written, for its picture differs from Keras' by "
                        f"{difference_found:.2g}, and {TOLERANCE:g} is allowed"
                    )
            size = sum(file.stat().st_size for file in (aside, *aside.rglob("*")) if file.is_file())
            refuse_unsafe(target, FORMATS[kind].ending == "", overwrite)  # it took its time
            put_in_place(aside, target)
    except ExportError:
        raise
    except Exception as error:  # converters, runtimes and disks each have errors of their own
        raise ExportError(f"{target}: cannot be written as {kind} ({reason(error)})") from error
    return Exported(target, kind, size, difference_found)


def _about(model: keras.Model | str | os.PathLike, network: keras.Model) -> dict[str, str]:
    numbers = hashlib.sha256()
    for variable in network.variables:
        numbers.update(np.asarray(variable, "<f4").tobytes())
    about = {
        "model": network.name,
        "scale": str(SCALE),
        "size_multiple": str(size_multiple(network)),
        INPUT: "RGB (N, H, W, 3), float32 in [0, 1]",
        OUTPUT: f"RGB (N, {SCALE}H, {SCALE}W, 3), float32 in [0, 1]",
        "made_by": f"srlib {__version__}",
        "weights_sha256": numbers.hexdigest(),
    }
    if isinstance(model, (str, os.PathLike)) and str(model) not in cards.BASELINES:
        card = cards.card(model)
        about |= {"model": Path(model).stem, "file_sha256": card["sha256"]}
        about |= {key: str(card[key]) for key in ("summary", "licence") if key in card}
    return about


def _graph(network: keras.Model, target: Path) -> Callable:
    """The network as a function of images of any size, refused where no file could hold it."""
    images = tf.TensorSpec((None, None, None, 3), "float32", name=INPUT)
    shape = getattr(network, "input_shape", tuple(images.shape))
    if shape != tuple(images.shape):
        raise ExportError(
            f"{target}: the model takes {shape}, and not RGB images of any size, (N, H, W, 3)"
        )

    def call(low):
        return {OUTPUT: network(low, training=False)}

    function = tf.function(call, [images], autograph=False)
    try:
        graph = function.get_concrete_function().graph.as_graph_def()
    except Exception as error:  # Keras and layers raise anything
        raise ExportError(
            f"{target}: the model cannot take RGB images of any size ({reason(error)})"
        ) from error
    nodes = [*graph.node, *(node for inner in graph.library.function for node in inner.node_def)]
    if python := [node.name for node in nodes if "PyFunc" in node.op]:
        raise ExportError(f"{target}: {python[0]} is Python code, which no file can hold")
    types = {node.attr[key].type for node in nodes for key in ("T", "dtype") if key in node.attr}
    if types & {tf.bfloat16.as_datatype_enum, tf.float16.as_datatype_enum}:
        raise ExportError(
            f"{target}: the model computes in half precision, which most runtimes lack; store it "
            "with srlib.models.zoo.save, and export that file: it is loaded in float32"
        )
    return function

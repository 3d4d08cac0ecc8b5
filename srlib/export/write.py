"""A network as a file that runs where there is no srlib, no Keras and, mostly, no TensorFlow.

An export is a graph of operations and its numbers, without any Python. It is compared with Keras
in the very runtime that will execute it before it is handed over. Taught in chapter 11.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import srlib
from srlib._backend import keras, tf
from srlib.errors import SrlibError
from srlib.export.formats import FORMATS, INPUT, OUTPUT, Runner, quietly, reason
from srlib.models import zoo
from srlib.models.anatomy import size_multiple
from srlib.models.interface import SCALE

#: Largest difference to Keras, of a range of 1, with which a file is handed over.
TOLERANCE = 1e-3


#: Images, height and width of the two inputs of the check; primes, times the network's multiple.
CHECKED = ((2, 11, 17), (1, 23, 13))
#: Every file and folder of a SavedModel of ours.
SAVED_MODEL = re.compile(
    r"(saved_model|fingerprint)\.pb|variables(/variables\.(index|data-\d{5}-of-\d{5}))?"
    r"|assets|assets\.extra(/srlib\.json)?"
)


class ExportError(SrlibError):
    """A network that cannot be exported; the message says where to, why and what to do."""


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
    own rule: sides must be multiples of 8. :func:`metadata` tells.) Before the file gets its
    name, its own runtime runs it at two odd sizes, and the result is compared with Keras'.
    Taught in chapter 11.

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
        srlib.models.zoo.WeightsError: when there is no such model.
    """
    named = isinstance(model, (str, os.PathLike))
    if not named and not isinstance(model, keras.Model):
        raise TypeError(
            f"model must be a Keras model or a name for srlib.load, not {type(model).__name__}"
        )
    target = Path(path)
    kind = _format(target, format)
    _refuse_unsafe(target, FORMATS[kind].ending == "", overwrite)
    for library in FORMATS[kind].writes_with + FORMATS[kind].runs_with * check:
        _library(library, target)
    network = zoo.load(model) if named else model
    about = _about(model, network)
    difference_found = None
    try:
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as folder:
            aside = Path(folder) / "export"
            with quietly():
                FORMATS[kind].write(network, _graph(network, target), about, aside)
            if check:
                difference_found = _largest_difference(network, FORMATS[kind].run(aside))
                if not difference_found <= TOLERANCE:  # NaN is refused too
                    raise ExportError(
                        f"{target}: not written, for its picture differs from Keras' by "
                        f"{difference_found:.2g}, and {TOLERANCE:g} is allowed"
                    )
            size = sum(file.stat().st_size for file in (aside, *aside.rglob("*")) if file.is_file())
            _refuse_unsafe(target, FORMATS[kind].ending == "", overwrite)  # it took its time
            _put_in_place(aside, target)
    except ExportError:
        raise
    except Exception as error:  # converters, runtimes and disks each have errors of their own
        raise ExportError(f"{target}: cannot be written as {kind} ({reason(error)})") from error
    return Exported(target, kind, size, difference_found)


def runner(path: str | os.PathLike, format: str | None = None) -> Runner:
    """An exported network in its own runtime, as a function from images to images.

    Args:
        path: what :func:`export` wrote.
        format: as there.

    Returns:
        A function from float32 ``(N, H, W, 3)`` in [0, 1] to ``(N, 2H, 2W, 3)``.

    Raises:
        ExportError: when the runtime is not installed, or cannot read the file.
    """
    path = Path(path)
    kind = FORMATS[_format(path, format)]
    for library in kind.runs_with:
        _library(library, path)
    try:
        with quietly():
            return kind.run(path)
    except Exception as error:  # each runtime has errors of its own
        raise ExportError(f"{path}: cannot be read ({reason(error)})") from error


def difference(model: keras.Model, path: str | os.PathLike, format: str | None = None) -> float:
    """The largest difference of a pixel between Keras and an exported file, of a range of 1.

    Over noise of two odd sizes, times the network's multiple.

    Raises:
        ExportError: as :func:`runner`.
    """
    return _largest_difference(model, runner(path, format))


def metadata(path: str | os.PathLike, format: str | None = None) -> dict[str, str]:
    """What an exported file says of itself: model, scale, sha256 of its weights, licence.

    Args:
        path: what :func:`export` wrote.
        format: as there.

    Raises:
        ExportError: when it is no such file.
    """
    path = Path(path)
    kind = FORMATS[_format(path, format)]
    for library in kind.writes_with:
        _library(library, path)
    try:
        return kind.metadata(path)
    except Exception as error:  # each format's reader has errors of its own
        raise ExportError(f"{path}: tells nothing of itself ({reason(error)})") from error


def _format(path: Path, format: str | None) -> str:
    by_ending = {kind.ending: name for name, kind in FORMATS.items()}
    found = by_ending.get(path.suffix.lower())
    if format is not None and format not in FORMATS:
        raise ExportError(f"{path}: unknown format {format!r}; choose one of {', '.join(FORMATS)}")
    if format is None and found is None:
        raise ExportError(
            f"{path}: cannot tell the format from the ending {path.suffix}; use .onnx, .tflite, "
            f"or none for a SavedModel folder, or say which: {', '.join(FORMATS)}"
        )
    if format is not None and path.suffix and found not in (None, format):
        raise ExportError(f"{path}: the ending is that of {found}, not of {format}")
    return format or found


def _refuse_unsafe(target: Path, folder: bool, overwrite: bool) -> None:
    if not target.parent.is_dir():
        raise ExportError(f"{target}: there is no folder {target.parent}; make it first")
    if not (target.exists() or target.is_symlink()):
        return
    if not overwrite:
        raise ExportError(f"{target}: exists already; choose another name, or overwrite it")
    if folder:
        _refuse_another_folder(target)
    if not folder and target.is_dir():
        raise ExportError(f"{target}: is a folder; name a file")


def _refuse_another_folder(target: Path) -> None:
    """Of what a SavedModel replaces, everything must be what :func:`export` writes."""
    try:
        ours = FORMATS["savedmodel"].metadata(target)["made_by"].startswith("srlib ")
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        ours = False
    if not ours:  # somebody's photos, perhaps
        raise ExportError(f"{target}: is no SavedModel of srlib, so it is not replaced by one")
    for path in sorted(target.rglob("*")):
        if not SAVED_MODEL.fullmatch(path.relative_to(target).as_posix()):
            raise ExportError(
                f"{target}: holds {path.relative_to(target)}, which is no part of a SavedModel, "
                "so it is not replaced by one; move that away, or choose another name"
            )


def _library(name: str, target: Path) -> None:
    try:
        importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0].replace("_", "-")
        extra = "litert" if package == "ai-edge-litert" else "onnx"
        raise ExportError(
            f"{target}: needs {package}, which cannot be imported here ({error}); "
            f'install it: python -m pip install "srlib[{extra}]"'
        ) from error


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
        "made_by": f"srlib {srlib.__version__}",
        "weights_sha256": numbers.hexdigest(),
    }
    if isinstance(model, (str, os.PathLike)) and str(model) not in zoo.BASELINES:
        card = zoo.card(model)
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


def _largest_difference(model: keras.Model, run: Runner) -> float:
    multiple, found, rng = size_multiple(model), [], np.random.default_rng(0)
    for images, height, width in CHECKED:
        low = rng.random((images, height * multiple, width * multiple, 3), np.float32)
        expected, high = np.asarray(model(low, training=False)), run(low)
        same = high.shape == expected.shape
        found.append(np.abs(high - expected).max() if same else np.inf)
    return float(np.max(found))


def _put_in_place(aside: Path, target: Path) -> None:
    if not target.is_dir():
        os.replace(aside, target)
        return
    # A folder cannot be replaced by another in one step. The old one waits outside of the
    # temporary folder, which is removed whatever happens.
    old = aside.parent.with_name(f"{aside.parent.name}.old")
    try:
        os.replace(target, old)
        os.replace(aside, target)
    except BaseException:
        if os.path.lexists(old):
            _put_back(old, target)
        raise
    os.replace(old, aside)  # to be removed with the temporary folder


def _put_back(old: Path, target: Path) -> None:
    try:
        os.replace(old, target)
    except OSError as error:
        raise ExportError(
            f"{target}: can be neither replaced nor put back ({reason(error)}); it is now {old}"
        ) from error

"""The three ways of writing a network down, each with the runtime that executes it.

For ``srlib.export``, which checks what they write. Taught in chapter 11.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from srlib._backend import _stderr_to_nowhere, keras, tf
from srlib.errors import SrlibError

INPUT, OUTPUT = "low", "high"
#: Of ONNX's operations: a version that engines have known since 2022.
OPSET = 17
_SIGNATURE = "serving_default"  # the name that TF Serving and LiteRT look for
_EXTRA = Path("assets.extra", "srlib.json")  # the folder that a SavedModel leaves to others
Runner = Callable[[np.ndarray], np.ndarray]


class ExportError(SrlibError):
    """A network that cannot be exported; the message says where to, why and what to do."""


def _write_onnx(network: keras.Model, function: Any, about: dict, aside: Path) -> None:
    import onnx
    import tf2onnx

    proto, _ = tf2onnx.convert.from_function(function, function.input_signature, opset=OPSET)
    for tensor, axes in (
        (proto.graph.input[0], ("images", "height", "width")),
        (proto.graph.output[0], ("images", "high_height", "high_width")),
    ):
        for dimension, axis in zip(tensor.type.tensor_type.shape.dim, axes, strict=False):
            dimension.dim_param = axis
    proto.graph.name = about["model"]
    onnx.helper.set_model_props(proto, about)
    onnx.checker.check_model(proto)  # names an operation that ONNX does not have
    aside.write_bytes(proto.SerializeToString())


def _run_onnx(path: Path) -> Runner:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        path.read_bytes(), options, providers=["CPUExecutionProvider"]
    )
    return lambda low: session.run([OUTPUT], {INPUT: low})[0]


def _onnx_metadata(path: Path) -> dict[str, str]:
    import onnx

    proto = onnx.load(path, load_external_data=False)
    onnx.checker.check_model(proto)  # an empty file would be an empty network
    return {entry.key: entry.value for entry in proto.metadata_props}


def _write_saved_model(network: keras.Model, function: Callable, about: dict, aside: Path) -> None:
    module = tf.Module()
    module.variables_of_keras = [getattr(v, "value", v) for v in network.variables]
    module.call = function
    tf.saved_model.save(module, str(aside), signatures={_SIGNATURE: function})
    (aside / _EXTRA).parent.mkdir(exist_ok=True)
    (aside / _EXTRA).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def _run_saved_model(path: Path) -> Runner:
    loaded = tf.saved_model.load(str(path))

    # It must outlive its signature, which holds the variables weakly.
    def run(low: np.ndarray, loaded=loaded) -> np.ndarray:
        return loaded.signatures[_SIGNATURE](**{INPUT: tf.constant(low)})[OUTPUT].numpy()

    return run


def _saved_model_metadata(path: Path) -> dict[str, str]:
    return json.loads((path / _EXTRA).read_text(encoding="utf-8"))


def _write_tflite(network: keras.Model, function: Callable, about: dict, aside: Path) -> None:
    from tensorflow.lite.tools import flatbuffer_utils

    # By way of a SavedModel: from a function alone, names of input and output would be lost.
    with tempfile.TemporaryDirectory() as folder:
        _write_saved_model(network, function, about, Path(folder))
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        # Nothing that a plain runtime lacks: no "flex" operations.
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        content = converter.convert()
    lite = flatbuffer_utils.convert_bytearray_to_object(content)
    lite.description = json.dumps(about)
    aside.write_bytes(flatbuffer_utils.convert_object_to_bytearray(lite))


def _run_tflite(path: Path) -> Runner:
    from ai_edge_litert.interpreter import Interpreter

    enlarge = Interpreter(model_content=path.read_bytes()).get_signature_runner()

    def run(low: np.ndarray) -> np.ndarray:
        with quietly():  # the first call reports which routines it has chosen
            return enlarge(**{INPUT: low})[OUTPUT]

    return run


def _tflite_metadata(path: Path) -> dict[str, str]:
    from tensorflow.lite.tools import flatbuffer_utils

    lite = flatbuffer_utils.convert_bytearray_to_object(bytearray(path.read_bytes()))
    return json.loads(lite.description)


@dataclass(frozen=True)
class Format:
    """One way of writing a network down.

    Attributes:
        ending: of its files; empty for a folder.
        writes_with: libraries that :func:`srlib.export.write.export` needs.
        runs_with: libraries that execute it.
    """

    ending: str
    writes_with: tuple[str, ...]
    runs_with: tuple[str, ...]
    write: Callable[[keras.Model, Callable, dict, Path], None]
    run: Callable[[Path], Runner]
    metadata: Callable[[Path], dict[str, str]]


#: What :func:`srlib.export.write.export` can write.
#:
#: :meta hide-value:
FORMATS: dict[str, Format] = {
    "onnx": Format(
        ".onnx", ("onnx", "tf2onnx"), ("onnxruntime",), _write_onnx, _run_onnx, _onnx_metadata
    ),
    "tflite": Format(
        ".tflite", (), ("ai_edge_litert.interpreter",), _write_tflite, _run_tflite,
        _tflite_metadata,
    ),
    "savedmodel": Format(
        "", (), (), _write_saved_model, _run_saved_model, _saved_model_metadata
    ),
}  # fmt: skip


def format_of(path: Path, format: str | None) -> str:
    """The format that is asked for, or else the one of the path's ending."""
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
    return format or found or ""


def need(name: str, target: Path) -> None:
    """Refuse, naming what to install, where a library is not there."""
    try:
        importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0].replace("_", "-")
        extra = "litert" if package == "ai-edge-litert" else "onnx"
        raise ExportError(
            f"{target}: needs {package}, which cannot be imported here ({error}); "
            f'install it: python -m pip install "srlib[{extra}]"'
        ) from error


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Converters and runtimes write pages to stderr; what matters is in their errors."""
    loggers = [logging.getLogger(name) for name in ("tf2onnx", "tensorflow", "absl")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        with _stderr_to_nowhere():
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def reason(error: Exception) -> str:
    """One line of what can be twenty."""
    text = getattr(error, "strerror", None) or str(error)
    lacking = dict.fromkeys(re.findall(r"'tf\.(\w+)' op is neither", text))
    if lacking:
        return f"LiteRT has no operation for TensorFlow's {', '.join(lacking)}"
    first = next((line.strip() for line in text.splitlines() if line.strip()), type(error).__name__)
    return first if len(first) <= 300 else first[:299] + "…"

"""srlib.export: each file draws Keras' picture in its own runtime, or is not handed over."""

import functools
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import write_photos
from hypothesis import given, settings
from hypothesis import strategies as st

import srlib
from experiments import exports
from srlib import models, resize
from srlib.book import results
from srlib.export import ExportError, export, formats, read, write
from srlib.export.formats import FORMATS
from srlib.models import cards, zoo

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("tf2onnx")
litert = pytest.importorskip("ai_edge_litert.interpreter")

NAMES = {"onnx": "net.onnx", "tflite": "net.tflite", "savedmodel": "net"}
every_format = pytest.mark.parametrize("format", FORMATS)


# --- runtimes, opened here and not by srlib ---------------------------------------


def in_onnxruntime(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert [i.name for i in session.get_inputs()] == ["low"]
    assert [o.name for o in session.get_outputs()] == ["high"]
    return lambda low: session.run(None, {"low": low})[0]


def in_litert(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    interpreter = litert.Interpreter(model_path=str(path), num_threads=1)
    (source,), (result,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert list(source["shape_signature"]) == list(result["shape_signature"]) == [-1, -1, -1, 3]
    assert source["dtype"] == result["dtype"] == np.float32

    def run(low):
        interpreter.resize_tensor_input(source["index"], low.shape, strict=True)
        interpreter.allocate_tensors()
        interpreter.set_tensor(source["index"], low)
        interpreter.invoke()
        return interpreter.get_tensor(result["index"])

    return run


def in_tensorflow(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    loaded = tf.saved_model.load(str(path))
    return lambda low, loaded=loaded: loaded.signatures["serving_default"](low=low)["high"].numpy()


ORACLES = {"onnx": in_onnxruntime, "tflite": in_litert, "savedmodel": in_tensorflow}


def randomised(model: keras.Model, seed: int = 1) -> keras.Model:
    """The model with no variable at its initial value, so that every part of it counts."""
    rng = np.random.default_rng(seed)
    for variable in model.variables:
        if "variance" in variable.path:
            variable.assign(rng.uniform(0.5, 2, variable.shape))
        else:
            size = max(1, np.prod(variable.shape[:-1]))
            variable.assign(rng.normal(0, 0.5 / np.sqrt(size), variable.shape))
    return model


NETWORKS: dict[str, Callable[[], keras.Model]] = {
    "lanczos": models.lanczos,
    "residual": lambda: randomised(models.residual(1, 8)),
    "hourglass": lambda: randomised(models.hourglass(1, skip=True)),
    **{
        # The others are inside these, or in the residual network.
        name: lambda name=name: randomised(models.with_upsampler(name, 1, 8))
        for name in ("deconv k3s2", "nearest + conv", "bilinear + conv", "deconv + box")
    },
    "self-ensemble": lambda: srlib.self_ensemble(models.nearest()),
}
#: Converted once. What is shipped is converted whole by experiments/exports.py.
MADE = [
    *[(name, "onnx") for name in NETWORKS if name != "self-ensemble"],
    *[(name, "tflite") for name in NETWORKS],
    ("residual", "savedmodel"),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Callable[[str, str], tuple[keras.Model, write.Exported]]:
    """Each network in each format, converted once."""
    folder, built = tmp_path_factory.mktemp("exported"), functools.cache(lambda n: NETWORKS[n]())

    @functools.cache
    def make(name: str, format: str):
        home = folder / name.replace(" ", "-")
        home.mkdir(exist_ok=True)
        return built(name), export(built(name), home / NAMES[format])

    return make


# --- equal to Keras, in fresh runtimes ----------------------------------------------


@pytest.mark.parametrize(("name", "format"), MADE)
def test_every_network_draws_the_same_picture_at_any_size(name, format, made, rng):
    model, exported = made(name, format)
    run, multiple = ORACLES[format](exported.path), models.size_multiple(model)
    for images, height, width in ((1, 5, 7), (3, 2, 9), (1, 16, 11), (1, 1, 1)):
        low = rng.random((images, height * multiple, width * multiple, 3), np.float32)
        expected = np.asarray(model(low, training=False))
        assert np.ptp(expected) > 0
        high = run(low)
        assert high.dtype == np.float32
        np.testing.assert_allclose(high, expected, atol=1e-5)
    assert 0 <= exported.difference <= 1e-5


opened = functools.cache(read.runner)


@every_format
@settings(max_examples=12)
@given(
    images=st.integers(1, 3), height=st.integers(1, 30), width=st.integers(1, 30),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_any_number_of_images_of_any_size(made, format, images, height, width, seed):
    model, exported = made("residual", format)
    low = np.random.default_rng(seed).random((images, height, width, 3), np.float32)
    np.testing.assert_allclose(opened(exported)(low), model(low, training=False), atol=1e-5)


@pytest.mark.parametrize("format", ["onnx", "tflite"])
def test_an_exported_interpolation_is_that_of_numpy(format, made, rng):
    low = rng.random((9, 6, 3), np.float32)
    _, exported = made("lanczos", format)
    expected = resize.interpolate(low, 2, "lanczos").clip(0, 1)
    np.testing.assert_allclose(ORACLES[format](exported.path)(low[None])[0], expected, atol=1e-5)


@pytest.mark.parametrize("format", ["onnx", "tflite"])
def test_sizes_that_the_network_does_not_take_are_refused(format, made, rng):
    """The hourglass's rule goes with it: whoever ignores it does not get a wrong picture unseen."""
    _, exported = made("hourglass", format)
    assert read.metadata(exported)["size_multiple"] == "2"
    low = rng.random((1, 5, 7, 3), np.float32)
    with pytest.raises(Exception, match=r"(?i)incompatible|broadcast|dimension|reshape"):
        ORACLES[format](exported.path)(low)


def test_the_files_need_nothing_special(made):
    """No operation that a plain runtime lacks, and axes with names."""
    _, exported = made("residual", "onnx")
    proto = onnx.load(exported.path)
    assert {o.domain: o.version for o in proto.opset_import}[""] == formats.OPSET
    assert {node.domain for node in proto.graph.node} == {""}
    axes = [
        [d.dim_param or d.dim_value for d in tensor.type.tensor_type.shape.dim]
        for tensor in (proto.graph.input[0], proto.graph.output[0])
    ]
    assert axes == [["images", "height", "width", 3], ["images", "high_height", "high_width", 3]]
    from tensorflow.lite.tools import flatbuffer_utils

    for name in NETWORKS.keys() - {"self-ensemble"}:
        content = bytearray(made(name, "tflite")[1].path.read_bytes())
        lite = flatbuffer_utils.convert_bytearray_to_object(content)
        assert [code.customCode for code in lite.operatorCodes if code.customCode] == [], name


RUN_WITHOUT = {
    "onnx": "import onnxruntime; s = onnxruntime.InferenceSession(sys.argv[1]); "
    "high = s.run(None, {'low': low})[0]",
    "tflite": "from ai_edge_litert.interpreter import Interpreter; "
    "high = Interpreter(sys.argv[1]).get_signature_runner()(low=low)['high']",
}


@pytest.mark.parametrize("format", RUN_WITHOUT)
def test_it_runs_where_tensorflow_cannot_be_imported(format, made, tmp_path, rng):
    model, exported = made("residual", format)
    low = rng.random((1, 6, 9, 3), np.float32)
    np.save(tmp_path / "low.npy", low)
    script = (
        "import sys; sys.modules.update(dict.fromkeys(('tensorflow', 'keras', 'srlib')))\n"
        "import numpy as np; low = np.load('low.npy')\n" + RUN_WITHOUT[format] + "\n"
        "np.save('high.npy', high)"
    )
    subprocess.run([sys.executable, "-c", script, exported.path], cwd=tmp_path, check=True)
    np.testing.assert_allclose(np.load(tmp_path / "high.npy"), model(low), atol=1e-5)


# --- what the file says of itself ---------------------------------------------------


@every_format
def test_a_shipped_model_says_what_it_is(format, tmp_path):
    exported = export("espcn", tmp_path / NAMES[format])
    assert exported.path == tmp_path / NAMES[format]
    assert Path(exported) == exported.path and exported.format == format
    assert [p.name for p in tmp_path.iterdir()] == [NAMES[format]]
    files = [exported.path, *exported.path.rglob("*")]
    assert exported.bytes == sum(p.stat().st_size for p in files if p.is_file())
    assert str(exported).startswith(f"{exported.path}: {format}, ")
    assert f"{exported.difference:.1e} at most" in str(exported)
    card, about = srlib.card("espcn"), read.metadata(exported)
    numbers = b"".join(np.asarray(v, "<f4").tobytes() for v in srlib.load("espcn").variables)
    for key, value in {
        "model": "espcn",
        "scale": "2",
        "size_multiple": "1",
        "file_sha256": card["sha256"],
        "weights_sha256": hashlib.sha256(numbers).hexdigest(),
        "made_by": f"srlib {srlib.__version__}",
        "summary": card["summary"],
        "licence": card["licence"],
    }.items():
        assert about[key] == value, key
    assert "[0, 1]" in about["low"] and "[0, 1]" in about["high"]


@pytest.mark.parametrize("format", ["onnx", "tflite"])
def test_a_network_of_ones_own_is_named_after_its_architecture(format, made):
    about = read.metadata(made("residual", format)[1])
    assert about["model"] == "residual"
    assert not {"file_sha256", "summary", "licence"} & about.keys()
    assert about["weights_sha256"] != read.metadata(made("hourglass", format)[1])["weights_sha256"]


@pytest.mark.parametrize("format", ["savedmodel"])
def test_a_weights_file_is_exported_by_its_path(format, tmp_path, rng):
    model = randomised(models.residual(1, 4))
    path = zoo.save(model, tmp_path / "own.v2.safetensors", "residual",
                        {"blocks": 1, "filters": 4})  # fmt: skip
    exported = export(path, tmp_path / NAMES[format])
    assert read.metadata(exported)["model"] == "own.v2"
    low = rng.random((1, 6, 5, 3), np.float32)
    expected = srlib.load(path)(low)
    np.testing.assert_allclose(ORACLES[format](exported.path)(low), expected, atol=1e-5)


@every_format
def test_it_is_done_silently(format, tmp_path, capfd):
    export(models.bicubic(), tmp_path / NAMES[format])
    assert capfd.readouterr() == ("", "")


# --- what is refused, with nothing left ---------------------------------------------


def refused(message: str, target: Path, model="nearest", format=None, **options) -> None:
    """It fails with one line that begins with the target, and the folder is as before."""
    folder = target.parent
    before = sorted(folder.rglob("*")) if folder.is_dir() else None
    with pytest.raises(ExportError, match=message) as caught:
        export(model, target, format, **options)
    assert str(caught.value).startswith(f"{target}: ")
    assert "\n" not in str(caught.value)
    assert before == (sorted(folder.rglob("*")) if folder.is_dir() else None)


@pytest.mark.parametrize(
    ("name", "format", "message"),
    [
        ("net.pb", None, r"cannot tell the format from the ending \.pb; use \.onnx, \.tflite"),
        ("net.onnx", "tensorrt", "unknown format 'tensorrt'; choose one of onnx, tflite, saved"),
        ("net.tflite", "onnx", "the ending is that of tflite, not of onnx"),
        ("net.onnx", "savedmodel", "the ending is that of onnx, not of savedmodel"),
        ("gone/net.onnx", None, "there is no folder .*gone; make it first"),
    ],
)
def test_targets_that_make_no_sense(name, format, message, tmp_path):
    refused(message, tmp_path / name, format=format)


@pytest.mark.parametrize(
    ("name", "given", "format"),
    [
        ("net.v1.ONNX", None, "onnx"),
        ("net.bin", "tflite", "tflite"),
        ("v1.2", "savedmodel", "savedmodel"),
    ],
)
def test_endings_are_read_as_people_write_them(name, given, format, tmp_path):
    exported = export("nearest", tmp_path / name, given, check=False)
    assert exported.format == format
    low = np.ones((1, 2, 3, 3), np.float32)
    assert ORACLES[format](tmp_path / name)(low).shape == (1, 4, 6, 3)


@every_format
def test_an_existing_target_is_kept_unless_told_otherwise(format, tmp_path, rng):
    target, low = tmp_path / NAMES[format], rng.random((1, 5, 4, 3), np.float32)
    export("nearest", target)
    refused("exists already", target, "bicubic")
    np.testing.assert_allclose(ORACLES[format](target)(low), models.nearest()(low), atol=1e-6)
    export("bicubic", target, overwrite=True)
    np.testing.assert_allclose(ORACLES[format](target)(low), models.bicubic()(low), atol=1e-6)
    assert [p.name for p in tmp_path.iterdir()] == [target.name]


def test_overwriting_never_takes_another_thing_away(tmp_path):
    photos, named = tmp_path / "photos", tmp_path / "folder.onnx"
    for folder in (photos, named):
        folder.mkdir()
        (folder / "photo.jpg").write_bytes(b"mine")
    (tmp_path / "file").write_bytes(b"mine")
    refused("is no SavedModel of srlib, so it is not replaced", photos, overwrite=True)
    refused("is no SavedModel of srlib, so it is not replaced", tmp_path / "file", overwrite=True)
    refused("is a folder; name a file", named, overwrite=True)
    for path in (photos / "photo.jpg", named / "photo.jpg", tmp_path / "file"):
        assert path.read_bytes() == b"mine"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("notes.txt", "holds notes.txt, which is no part of a SavedModel"),
        (".git/config", r"holds \.git, which"),
        ("assets/words.txt", "holds assets/words.txt, which"),
        ("variables/mine", "holds variables/mine, which"),
        ("assets.extra/tf_serving_warmup_requests", "holds assets.extra/tf_serving"),
        ("assets.extra/srlib.json", "is no SavedModel of srlib"),
        ("assets.extra", "is no SavedModel of srlib"),  # another program's
    ],
)
@pytest.mark.parametrize("late", [False, True])
def test_nothing_but_a_saved_model_of_ours_is_replaced(name, message, late, tmp_path, monkeypatch):
    target = tmp_path / "net"
    export("nearest", target, check=False)

    def spoil():
        if name == "assets.extra":
            shutil.rmtree(target / name)
            return
        (target / name).parent.mkdir(exist_ok=True)
        (target / name).write_text('{"mine": 1}')

    write = FORMATS["savedmodel"].write

    def write_late(*arguments):
        write(*arguments)
        spoil()

    if late:  # the file comes while the network is being written
        saved_model = replace(FORMATS["savedmodel"], write=write_late)
        monkeypatch.setitem(FORMATS, "savedmodel", saved_model)
    else:
        spoil()
    before = {p: p.read_bytes() for p in target.rglob("*") if p.is_file()}
    with pytest.raises(ExportError, match=message):
        export("bicubic", target, overwrite=True, check=False)
    after = {p: p.read_bytes() for p in target.rglob("*") if p.is_file()}
    if not late:
        assert after == before
    assert name == "assets.extra" or after[target / name] == b'{"mine": 1}'
    assert list(tmp_path.iterdir()) == [target]


def test_a_linked_folder_is_not_emptied(tmp_path):
    export("nearest", tmp_path / "net", check=False)
    (tmp_path / "link").symlink_to(tmp_path / "net")
    before = {p: p.read_bytes() for p in (tmp_path / "net").rglob("*") if p.is_file()}
    export("bicubic", tmp_path / "link", overwrite=True, check=False)
    assert {p: p.read_bytes() for p in before} == before
    assert {p.name for p in tmp_path.iterdir()} == {"net", "link"}


def test_what_is_no_model(tmp_path):
    with pytest.raises(cards.WeightsError, match=r"^resnet: no such model"):
        export("resnet", tmp_path / "net.onnx")
    with pytest.raises(TypeError, match="must be a Keras model or a name"):
        export(7, tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


class Layer(keras.layers.Layer):
    """Applies a function, as a user's own layer might."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def call(self, inputs):
        return tf.ensure_shape(self.function(inputs), inputs.shape)


FIXED = keras.Sequential(
    [keras.layers.Flatten(), keras.layers.Dense(192), keras.layers.Reshape((8, 8, 3))]
)


def model_with(function, shape=(None, None, 3), dtype="float32") -> keras.Model:
    low = keras.Input(shape, name="low")
    x = Layer(function)(low)
    x = keras.layers.Conv2D(12, 3, padding="same", dtype=dtype)(x)
    return keras.Model(low, keras.ops.cast(keras.layers.UpSampling2D()(x)[..., :3], "float32"))


@every_format
@pytest.mark.parametrize(
    ("function", "shape", "dtype", "message"),
    [
        (lambda x: tf.numpy_function(np.sqrt, [x], "float32"), (None, None, 3), "float32",
         "is Python code, which no file can hold"),
        (FIXED, (8, 8, 3), "float32", "and not RGB images of any size"),
        (tf.identity, (None, None, 1), "float32", "and not RGB images of any size"),
        (tf.identity, (None, None, 3), "mixed_bfloat16", "computes in half precision"),
        (tf.identity, (None, None, 3), "mixed_float16", "computes in half precision"),
    ],
    ids=["python", "fixed size", "grey", "bfloat16", "float16"],
)  # fmt: skip
def test_models_that_no_file_can_hold(function, shape, dtype, message, format, tmp_path):
    refused(message, tmp_path / NAMES[format], model_with(function, shape, dtype))


@pytest.mark.parametrize(
    ("format", "message"),
    [
        ("onnx", r"cannot be written as onnx \(No Op registered for Igamma"),
        (
            "tflite",
            r"cannot be written as tflite \(LiteRT has no operation for TensorFlow's Igamma",
        ),
    ],
)
def test_an_operation_that_the_format_lacks_is_named(format, message, tmp_path, capfd):
    refused(message, tmp_path / NAMES[format], model_with(lambda x: tf.math.igamma(1.0, x)))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("format", "module", "package", "extra"),
    [
        ("onnx", "onnx", "onnx", "onnx"),
        ("onnx", "tf2onnx", "tf2onnx", "onnx"),
        ("onnx", "onnxruntime", "onnxruntime", "onnx"),
        ("tflite", "ai_edge_litert.interpreter", "ai-edge-litert", "litert"),
    ],
)
def test_a_missing_library_is_named_with_what_to_install(
    format, module, package, extra, tmp_path, monkeypatch
):
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr(write, "_graph", lambda *_: pytest.fail("converted"))
    message = rf'needs {package}, which cannot be imported here .*pip install "srlib\[{extra}\]"'
    refused(message, tmp_path / NAMES[format])
    with pytest.raises(ExportError, match=message):
        (read.metadata if module in ("onnx", "tf2onnx") else read.runner)(tmp_path / NAMES[format])


@pytest.mark.parametrize("format", ["onnx", "tflite"])
def test_without_the_check_the_runtime_is_not_needed(format, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        for module in FORMATS[format].runs_with:
            patch.setitem(sys.modules, module, None)
        exported = export("nearest", tmp_path / NAMES[format], check=False)
    assert exported.difference is None
    assert str(exported).endswith("not checked")
    low = np.ones((1, 3, 5, 3), np.float32)
    np.testing.assert_allclose(ORACLES[format](exported.path)(low), 1, atol=1e-6)


def spoil(monkeypatch, format: str, change) -> None:
    """The runtime answers, but otherwise than Keras."""

    def run(path):
        answer = ORACLES[format](path)
        return lambda low: change(answer(low))

    monkeypatch.setitem(FORMATS, format, replace(FORMATS[format], run=run))


@every_format
def test_a_file_that_differs_is_not_handed_over(format, tmp_path, monkeypatch):
    target = tmp_path / NAMES[format]
    export("nearest", target)
    old = {p: p.read_bytes() for p in [target, *target.rglob("*")] if p.is_file()}
    spoil(monkeypatch, format, lambda high: high + 0.0011)
    refused(
        r"not written, for its picture differs from Keras' by 0\.0011, and 0\.001 is allowed",
        target,
        "bicubic",
        overwrite=True,
    )
    assert {p: p.read_bytes() for p in old} == old


def test_an_answer_that_is_no_number_is_not_handed_over(tmp_path, monkeypatch):
    spoil(monkeypatch, "onnx", lambda high: high * np.nan)
    refused("its picture differs from Keras' by nan", tmp_path / "net.onnx")


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda high: high, pytest.approx(0, abs=1e-5)),
        (lambda high: high[:, 1:], np.inf),
        (
            lambda high: np.where(np.arange(high.size).reshape(high.shape) == 5, 9, high),
            pytest.approx(8.5, abs=0.51),
        ),
        (lambda high: -high, pytest.approx(2, abs=0.1)),
    ],
    ids=["equal", "shape", "one pixel", "negative"],
)
def test_the_largest_difference_counts(change, found, made, monkeypatch):
    model, exported = made("lanczos", "onnx")
    spoil(monkeypatch, "onnx", change)
    assert read.difference(model, exported) == found


def test_both_sizes_are_compared(made, monkeypatch):
    """A graph that holds the size it was traced with is right at one size only."""
    model, exported = made("residual", "onnx")
    seen = []
    spoil(monkeypatch, "onnx", lambda high: seen.append(high.shape) or high)
    read.difference(model, exported)
    assert seen == [(2, 22, 34, 3), (1, 46, 26, 3)]
    for wrong in seen:
        spoil(monkeypatch, "onnx", lambda high, wrong=wrong: high + (high.shape == wrong))
        assert read.difference(model, exported) > 0.5


@every_format
def test_no_space_and_ctrl_c_leave_nothing(format, tmp_path, monkeypatch):
    target = tmp_path / NAMES[format]

    def full(network, function, about, aside):
        aside.mkdir()
        (aside / "half").write_bytes(b"x" * 1000)
        raise OSError(28, "No space left on device")

    def killed(network, function, about, aside):
        aside.write_bytes(b"x" * 1000)
        raise KeyboardInterrupt

    monkeypatch.setitem(FORMATS, format, replace(FORMATS[format], write=full))
    refused(rf"cannot be written as {format} \(No space left on device\)", target)
    monkeypatch.setitem(FORMATS, format, replace(FORMATS[format], write=killed))
    with pytest.raises(KeyboardInterrupt):
        export("nearest", target)
    assert not list(tmp_path.iterdir())


def test_a_folder_without_permission_is_named(tmp_path, monkeypatch):
    def denied(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(write.tempfile, "TemporaryDirectory", denied)
    refused(r"cannot be written as onnx \(Permission denied\)", tmp_path / "net.onnx")


def test_the_old_folder_comes_back_when_the_new_one_cannot_take_its_place(tmp_path, monkeypatch):
    target, rename = tmp_path / "net", os.replace
    export("nearest", target)
    old = {p: p.read_bytes() for p in target.rglob("*") if p.is_file()}

    def fails_at_the_second(source, goal, calls=[]):  # noqa: B006
        calls.append(goal)
        if len(calls) == 2:
            raise OSError(5, "Input/output error")
        rename(source, goal)

    monkeypatch.setattr(os, "replace", fails_at_the_second)
    refused("Input/output error", target, "bicubic", overwrite=True)
    assert {p: p.read_bytes() for p in old} == old
    assert list(tmp_path.iterdir()) == [target]


def test_the_old_folder_is_somewhere_even_if_it_cannot_come_back(tmp_path, monkeypatch):
    target, rename = tmp_path / "net", os.replace
    export("nearest", target)
    old = {p.relative_to(target): p.read_bytes() for p in target.rglob("*") if p.is_file()}

    def fails_after_the_first(source, goal, calls=[]):  # noqa: B006
        calls.append(goal)
        if len(calls) > 1:
            raise OSError(5, "Input/output error")
        rename(source, goal)

    monkeypatch.setattr(os, "replace", fails_after_the_first)
    with pytest.raises(ExportError, match=r"\(Input/output error\); it is now .*\.old$"):
        export("bicubic", target, overwrite=True)
    (left,) = tmp_path.iterdir()
    assert {p.relative_to(left): p.read_bytes() for p in left.rglob("*") if p.is_file()} == old


@every_format
@pytest.mark.parametrize("content", [b"", b"not a network", bytes(1000)])
def test_what_is_no_export_is_not_run(content, format, tmp_path):
    path = tmp_path / NAMES[format]
    path.write_bytes(content)
    for ask in (read.runner, read.metadata):
        with pytest.raises(
            ExportError, match=r": (cannot be read|tells nothing of itself) \("
        ) as e:
            ask(path)
        assert str(e.value).startswith(f"{path}: ") and "\n" not in str(e.value)
    with pytest.raises(ExportError):
        read.runner(tmp_path / "gone.onnx")


# --- the recorded comparison ------------------------------------------------------------


def test_the_experiment_compares_pictures_and_bytes(tmp_path, monkeypatch):
    folder = write_photos(tmp_path / "photos", 128, 128)
    photos = srlib.photos(folder, "test").take(2)
    off = {"onnx": 0.0, "tflite": 0.0006, "savedmodel": np.float32(1.9 / 255)}
    for format in FORMATS:
        spoil(monkeypatch, format, lambda high, format=format: high + off[format])
    monkeypatch.setattr(write, "TOLERANCE", 1.0)
    rows = exports.measure(["nearest"], photos)
    assert [row["format"] for row in rows] == list(FORMATS)
    onnx_row, tflite_row, saved_row = rows
    for row in rows:
        assert row["model"] == "nearest" and row["bytes"] > 1000
        assert row["photos"] == pytest.approx(off[row["format"]], abs=1e-6)
        assert row["noise"] == pytest.approx(off[row["format"]], abs=1e-6)
        assert row["values"] == 2 * 128 * 128 * 3
        assert row["amplified"] == pytest.approx(1, abs=0.01)  # nearest copies
    assert (onnx_row["changed"], onnx_row["levels"]) == (0, 0)
    assert (tflite_row["changed"], tflite_row["levels"]) == (0, 0)  # 0.15 grey levels
    assert saved_row["changed"] > 0.9 * saved_row["values"] and saved_row["levels"] == 2


def test_every_shipped_model_is_recorded_and_equal():
    record = results.read("exports")
    found = {(row["model"], row["format"]) for row in record["rows"]}
    expected = {(n, f) for n in (*cards.BASELINES, *srlib.available()) for f in FORMATS}
    assert found == expected, "run python -m experiments.exports"
    assert set(record["libraries"]) == set(exports.LIBRARIES)
    photos = srlib.photos("embedded", "test")
    assert (record["made_by"]["fingerprint"], record["photos"]) == (
        photos.fingerprint(), len(photos),
    )  # fmt: skip
    for row in record["rows"]:
        # What was trained to destroy a picture also amplifies rounding.
        warned = (
            row["model"] in srlib.available() and "a warning" in srlib.card(row["model"])["summary"]
        )
        assert row["noise"] <= write.TOLERANCE, row
        assert row["photos"] <= write.TOLERANCE * (2 if warned else 1), row
        assert row["levels"] <= 1 and row["changed"] < 1e-3 * row["values"], row

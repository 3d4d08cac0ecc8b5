"""Chapter 7: every exhibit names a test, and that test fails when its bug is put into srlib."""

import ast
import contextlib
import functools
import inspect
import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from unittest import mock

import keras
import nbformat
import numpy as np
import pytest
import tensorflow as tf
from conftest import smooth_photo, write_photos
from hypothesis import Phase, settings

from experiments import leak
from srlib import data, evaluation, losses, metrics, pixels, resize, training
from srlib.data import photoset
from srlib.losses import perceptual, vgg
from srlib.metrics import lpips, psnr_ssim

ROOT = Path(__file__).parents[2]
CHAPTER = ROOT / "book" / "07-museum.ipynb"
CITATION = re.compile(r"tests/((?:\w+/)?test_\w+\.py::test_\w+)")
#: A room's exhibit, up to the test that it names; a row of the table; a test of a row.
HUNG = re.compile(r"^### (\d+)\. .+?^Caught by `([^`]+)`\.$", re.M | re.S)
LEAK = re.compile(r"^### The field's own leak\n.+?^Caught by `([^`]+)`\.$", re.M | re.S)
ROW = re.compile(r"^\| (\d\d) \| ", re.M)
LISTED = re.compile(r"^- (\d+): `([^`]+)`$", re.M)


@functools.cache
def page() -> str:
    """The chapter's prose."""
    cells = nbformat.read(CHAPTER, as_version=4).cells
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


@functools.cache
def exhibits() -> dict[int, str]:
    """The number of an exhibit -> the test that it names, read from the chapter's prose."""
    found = [(int(number), test) for number, test in HUNG.findall(page()) + LISTED.findall(page())]
    leaks = [int(number) for number in ROW.findall(page())][-1:]  # the table's last row
    found += [(number, test) for number in leaks for test in LEAK.findall(page())]
    assert len(dict(found)) == len(found), "two exhibits of one number"
    return {number: test.removeprefix("tests/") for number, test in found}


def functions_of(file: Path) -> set[str]:
    tree = ast.parse(file.read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_there_are_ten_exhibits_and_eleven_rows_and_each_names_a_test():
    assert [int(number) for number, _ in HUNG.findall(page())] == [*range(1, 11)]
    assert [int(number) for number in ROW.findall(page())] == [*range(11, 22)]
    assert [*exhibits()] == [*range(1, 22)]


def test_every_test_that_the_chapter_names_exists():
    text = "\n".join(cell.source for cell in nbformat.read(CHAPTER, as_version=4).cells)
    cited = set(CITATION.findall(text))
    assert set(exhibits().values()) <= cited
    for test in cited:
        file, function = test.split("::")
        assert function in functions_of(ROOT / "tests" / file), test


def test_every_exhibit_shows_a_wrong_line_and_asserts_that_it_is_wrong():
    code: dict[int, str] = {}
    number = 0
    for cell in nbformat.read(CHAPTER, as_version=4).cells:
        if cell.cell_type == "markdown":
            for heading in re.findall(r"^##+ (.*)", cell.source, re.M):
                started = re.match(r"(\d+)\. ", heading)
                number = int(started[1]) if started else 0
        else:
            code[number] = code.get(number, "") + "\n" + cell.source
    for exhibit in range(1, 11):
        assert "\nassert " in code[exhibit], exhibit
        assert "wrong" in code[exhibit], exhibit


# --- the bugs, put into srlib


@contextlib.contextmanager
def edited(function, old: str, new: str):
    """A function with one piece of its text replaced, wherever it was imported."""
    source = textwrap.dedent(inspect.getsource(function))
    assert source.count(old) == 1, f"{function.__qualname__} has changed: {old!r}"
    # Inside a function that has a __class__, so that super() finds its cell.
    source = "def make():\n    __class__ = None\n" + textwrap.indent(
        source.replace(old, new), "    "
    )
    made: dict = {}
    exec(source + f"\n    return {function.__name__}", function.__globals__, made)
    sound, function.__code__ = function.__code__, inspect.unwrap(made["make"]()).__code__
    try:
        yield
    finally:
        function.__code__ = sound


def overwriting(self, images):
    return keras.applications.vgg16.preprocess_input(np.multiply(images, 255, out=images))


MIS_WIRED = (
    "both = self.features(y_true + y_pred)\n"
    "    return tf.reduce_mean(tf.square(both[0] - both[1])) * tf.ones(tf.shape(y_pred)[0])"
)
FULL_RANGE = "255 * unit @ LUMA"
STUDIO_RANGE = "16.0 + unit @ (219.0 * LUMA)"
TWO_SCALES = (
    "__import__('tensorflow').image.ssim_multiscale(truth, prediction, 255, (0.5, 0.5), 7).numpy()"
)
ROUNDED = "np.rint(np.clip(images, 0.0, 1.0) * top)"

#: The number of an exhibit -> its bug, as a change of srlib.
BUGS = {
    4: lambda: edited(psnr_ssim._prepare, "y_channel(images)", "images * 1.0"),
    11: lambda: edited(pixels.y_channel, STUDIO_RANGE, FULL_RANGE),
    12: lambda: edited(
        evaluation.scored, '"rgb" if batch.grey else protocol.channel', "protocol.channel"
    ),
    13: lambda: edited(
        metrics.PSNR.update_state,
        "self.per_image(truth, prediction)",
        "self.per_image(truth, prediction)[:1]",
    ),
    5: lambda: edited(metrics.PSNR.per_image, ", axis=(1, 2, 3)", ""),
    15: lambda: edited(psnr_ssim.ssim, "value.mean(axis=(1, 2, 3))", TWO_SCALES),
    2: lambda: edited(pixels.check_range, "if images.dtype", "if False and images.dtype"),
    1: lambda: edited(pixels.to_integers, ROUNDED, "np.rint(images * top).astype(np.int64)"),
    14: lambda: edited(pixels.to_integers, ROUNDED, "(np.clip(images, 0.0, 1.0) * top)"),
    3: lambda: mock.patch.object(vgg.Preprocessing, "__call__", overwriting),
    6: lambda: edited(training.compile_model, "metrics=[PSNR()]", 'metrics=["accuracy"]'),
    17: lambda: edited(vgg.VGG16.__init__, "if preprocessing:", "if False:"),
    18: lambda: edited(vgg.Preprocessing.call, "keras.ops.flip(images, -1)", "images"),
    7: lambda: edited(
        losses.PerceptualLoss.call,
        "self.features(y_pred)",
        "tf.stop_gradient(self.features(y_pred))",
    ),
    8: lambda: edited(
        losses.PerceptualLoss.call,
        "return tf.reduce_mean(tf.square(difference), axis=(1, 2, 3))",
        MIS_WIRED,
    ),
    19: lambda: edited(
        losses.PerceptualLoss.call, "self.features(y_pred)", 'VGG16("relu1_2", "random")(y_pred)'
    ),
    20: lambda: edited(
        lpips._network.__wrapped__, "2.0 * images - 1.0 - _SHIFT", "images - _SHIFT"
    ),
    9: lambda: edited(
        resize.resize, "int(target), kernel, antialias)", "int(target), kernel, False)"
    ),
    16: lambda: edited(
        data.dataset,
        "_PairStore(photos, sizes, kernel, cache)",
        '_PairStore(photos, sizes, "box", cache)',
    ),
    10: lambda: edited(photoset.PhotoSet.hold_out, 'if self.source == "embedded":', "if False:"),
    21: lambda: edited(leak.best_match, "for scale in scales:", "for scale in (1.0,):"),
}
#: What a test raises when it could not even be run: that catches no bug.
BROKEN = {"NameError", "SyntaxError", "ImportError", "AttributeError", "FixtureLookupError"}


class Witness:
    """A pytest plugin that notes what each failing test raised."""

    def __init__(self):
        self.raised: list[str] = []

    def pytest_exception_interact(self, call):
        self.raised.append(call.excinfo.typename)


def run_each_test_with_its_bug() -> dict[int, list[str]]:
    """The number of an exhibit -> what the test that it names raised; for a process of its own."""
    raised = {}
    quick = [Phase.explicit, Phase.generate]  # one counterexample is enough: none is made smaller
    settings.register_profile("museum", settings.get_profile("srlib"), phases=quick)
    for name, test in exhibits().items():
        witness = Witness()
        options = ["-x", "-q", "--tb=no", "--assert=plain", "-p", "no:cacheprovider"]
        options += ["--hypothesis-profile=museum"]
        with BUGS[name]():
            pytest.main([*options, str(ROOT / "tests" / test)], plugins=[witness])
        raised[name] = witness.raised
    return raised


def test_every_named_test_fails_when_its_bug_is_there():
    assert BUGS.keys() == exhibits().keys()
    code = (
        "import json, os, sys; os.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'\n"
        "sys.path[:0] = ['tests/experiments', 'tests', '.']\n"
        "import test_museum\n"
        "print('\\n' + json.dumps(test_museum.run_each_test_with_its_bug()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    raised = json.loads(done.stdout.splitlines()[-1])
    missed = {name: found for name, found in raised.items() if not found or set(found) & BROKEN}
    assert not missed, done.stdout


# --- tests that only the museum needs


def test_psnr_refuses_floats_in_grey_levels():
    """tf.image.psnr takes them, beside a uint8, for a picture 255 times too bright."""
    truth = smooth_photo(16, 16, 0)
    other = np.clip(truth.astype(int) + 3, 0, 255).astype(np.uint8)
    for levels in (other.astype(np.float32), other.astype(np.float64), other.astype(np.int64)):
        for pair in ((truth, levels), (levels, truth)):
            with pytest.raises(ValueError, match="divide by 255"):
                psnr_ssim.psnr(*pair)
    expected = psnr_ssim.psnr(truth, other)
    assert psnr_ssim.psnr(truth, np.float32(other / 255)) == pytest.approx(expected, abs=1e-6)
    assert float(tf.image.psnr(np.float32(other), truth, 255)) < expected - 10  # the bug itself


def test_a_loss_builds_vgg16_once(monkeypatch):
    built = []

    class Counted(vgg.VGG16):
        def __init__(self, *args, **options):
            built.append(args)
            super().__init__(*args, **options)

    monkeypatch.setattr(perceptual, "VGG16", Counted)
    loss = losses.PixelAndPerceptualLoss(perceptual=losses.PerceptualLoss("relu1_2", "random"))
    assert len(built) == 1
    truth, prediction = np.random.default_rng(0).random((2, 1, 8, 8, 3), np.float32)
    for _ in range(3):
        loss(truth, prediction)
    assert len(built) == 1
    tf.function(loss)(truth, prediction)
    assert len(built) == 1


def test_training_and_test_inputs_are_made_by_the_same_kernel(tmp_path, monkeypatch):
    photos = photoset.folder(write_photos(tmp_path / "photos", 32, 32)).take(1)
    options = {"size": 32, "augment": False}
    ((low, high),) = data.dataset(photos, 1, **options).take(1).as_numpy_iterator()
    seen = []

    def watched(model, images):
        seen.append(np.asarray(images))
        return resize.interpolate(pixels.to_float(images)).clip(0, 1)

    monkeypatch.setattr(evaluation, "predict", watched)
    evaluation.evaluate({}, photos, evaluation.Protocol(size=32))
    assert pixels.to_uint8(high).shape == (1, 32, 32, 3)
    np.testing.assert_array_equal(pixels.to_uint8(low), seen[0])
    np.testing.assert_array_equal(pixels.to_uint8(low), data.pairs(photos, 32).low)
    boxed = resize.downscale(pixels.to_uint8(high), kernel="box")
    assert np.abs(boxed.astype(int) - seen[0]).max() > 2  # another kernel would be seen


@pytest.mark.parametrize("seed", range(3))
def test_squares_of_one_photograph_stay_together(seed):
    squares = data.photos("embedded", "train")
    rest, held_out = squares.hold_out(40, seed)
    assert not set(rest.labels) & set(held_out.labels)
    assert len(rest) + len(held_out) == len(squares) and len(held_out) >= 40

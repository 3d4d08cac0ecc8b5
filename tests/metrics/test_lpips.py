"""LPIPS against a plain NumPy implementation and against the authors' PyTorch code."""

import os
import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from srlib.metrics.lpips import LPIPSWeightsError, convert, lpips, origin

VARIABLE = "SRLIB_LPIPS_WEIGHTS"
REAL = Path(
    os.environ.get(VARIABLE)
    or Path(__file__).resolve().parents[3] / "shared" / "weights" / "lpips_alex.npz"
)
KERNELS = [(11, 11, 3, 64), (5, 5, 64, 192), (3, 3, 192, 384), (3, 3, 384, 256), (3, 3, 256, 256)]
#: The names of `lpips.LPIPS(net="alex").state_dict()`, package lpips 0.1.4.
CONVOLUTIONS = ["slice1.0", "slice2.3", "slice3.6", "slice4.8", "slice5.10"]


@pytest.fixture(autouse=True)
def no_variable(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)


@pytest.fixture(scope="module")
def tensors() -> dict[str, np.ndarray]:
    """Random numbers, scaled so that every layer has something to say."""
    rng = np.random.default_rng(1)
    numbers = {}
    for i, shape in enumerate(KERNELS):
        gain = np.sqrt(2 / np.prod(shape[:3]))
        numbers[f"alex/conv{i + 1}/kernel"] = rng.normal(0, gain, shape)
        numbers[f"alex/conv{i + 1}/bias"] = rng.normal(0, 0.3, shape[3:])
        numbers[f"lin/alex/lin{i}"] = rng.uniform(0, 1, shape[3:]) * rng.integers(0, 2, shape[3:])
    return {key: value.astype(np.float32) for key, value in numbers.items()}


@pytest.fixture(scope="module")
def file(tensors, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("lpips") / "made-up.npz"
    np.savez(path, **tensors, **{"lin/vgg/lin0": np.zeros(3)})  # of other networks: ignored
    return path


def noisy_pairs(seed: int, n: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 256, (n, height, width, 3))
    noise = rng.normal(0, 1, truth.shape) * np.geomspace(8, 80, n).reshape(n, 1, 1, 1)
    return truth.astype(np.uint8), np.clip(truth + noise, 0, 255).astype(np.uint8)


# --- the same, computed plainly


def plain_convolution(image, kernel, bias, stride, border):
    image = np.pad(image, ((border, border), (border, border), (0, 0)))
    size = len(kernel)
    rows = range(0, image.shape[0] - size + 1, stride)
    columns = range(0, image.shape[1] - size + 1, stride)
    windows = [[image[y : y + size, x : x + size] for x in columns] for y in rows]
    return np.maximum(np.tensordot(windows, kernel, 3) + bias, 0)


def plain_pooling(image):
    rows, columns = (range(0, side - 2, 2) for side in image.shape[:2])
    return np.array([[image[y : y + 3, x : x + 3].max((0, 1)) for x in columns] for y in rows])


def plain_features(image, tensors):
    """The five responses to one uint8 image, each pixel's of length 1."""
    x = image / 127.5 - 1
    x = (x - [-0.030, -0.088, -0.188]) / [0.458, 0.448, 0.450]
    for i, (stride, border) in enumerate([(4, 2), (1, 2), (1, 1), (1, 1), (1, 1)], start=1):
        if i in (2, 3):
            x = plain_pooling(x)
        kernel, bias = (
            tensors[f"alex/conv{i}/{part}"].astype(np.float64) for part in ("kernel", "bias")
        )
        x = plain_convolution(x, kernel, bias, stride, border)
        yield x / (np.sqrt((x**2).sum(-1, keepdims=True)) + 1e-10)


def plain_lpips(truth, prediction, tensors):
    layers = zip(plain_features(truth, tensors), plain_features(prediction, tensors), strict=True)
    return sum(
        ((a - b) ** 2 @ tensors[f"lin/alex/lin{i}"].astype(np.float64)).mean()
        for i, (a, b) in enumerate(layers)
    )


@pytest.mark.parametrize("size", [(31, 31), (36, 47), (64, 50), (33, 98)])
def test_equals_plain_numpy(size, file, tensors):
    truth, prediction = noisy_pairs(2, 3, *size)
    expected = [plain_lpips(t, p, tensors) for t, p in zip(truth, prediction, strict=True)]
    assert 0.001 < min(expected) < max(expected) / 5
    np.testing.assert_allclose(lpips(truth, prediction, file), expected, rtol=1e-5)


def test_flat_black_and_white_equal_plain_numpy(file, tensors):
    black = np.zeros((40, 40, 3), np.uint8)
    expected = plain_lpips(black, 255 - black, tensors)
    assert lpips(black, 255 - black, file) == pytest.approx(expected, rel=1e-5)


def test_dead_features_count_as_zero_and_not_as_nan(tensors, tmp_path):
    """Where no feature responds, its direction is 0 / 1e-10."""
    dead = tensors | {"alex/conv2/bias": np.full(192, -1e6, np.float32)}
    np.savez(tmp_path / "dead.npz", **dead)
    truth, prediction = (x[0] for x in noisy_pairs(3, 2, 40, 40))
    value = lpips(truth, prediction, tmp_path / "dead.npz")
    assert value == pytest.approx(plain_lpips(truth, prediction, dead), rel=1e-5)


# --- the same as the authors'


def synthetic_pairs() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Pairs from whole numbers and a seed, so that they are the same everywhere."""
    pairs = {}
    for end, (height, width) in {"": (64, 64), "-odd": (51, 77)}.items():
        y, x = np.mgrid[0:height, 0:width]
        truth = np.stack([x * 255 // (width - 1), y * 255 // (height - 1), (x * y) % 256], -1)
        noise = np.random.default_rng(5).integers(-40, 41, truth.shape)
        shifts = [(i, j) for i in range(-2, 3) for j in range(-2, 3)]
        others = {
            "noise": truth + noise,
            "blur": sum(np.roll(truth, shift, (0, 1)) for shift in shifts) // 25,
            "checker": truth + np.where((x + y) % 2, 40, -40)[..., None],
            "negative": 255 - truth,
        }
        for name, other in others.items():
            pairs[name + end] = truth.astype(np.uint8), np.clip(other, 0, 255).astype(np.uint8)
    flat = np.full((31, 31, 3), 128, np.uint8)
    pairs["flat-31"] = flat, flat + np.uint8(16)
    return pairs


#: lpips 0.1.4 with PyTorch 2.14.1 on the CPU: `lpips.LPIPS(net="alex", pnet_rand=True)`, into
#: whose state_dict the numbers of lpips_alex.npz were put (its heads equal the package's own),
#: called on each uint8 pair as float32, divided by 127.5, less 1.
AUTHORS = {
    "noise": 0.060071,
    "blur": 0.247012,
    "checker": 0.006303,
    "negative": 0.423711,
    "noise-odd": 0.057370,
    "blur-odd": 0.185433,
    "checker-odd": 0.004502,
    "negative-odd": 0.379329,
    "flat-31": 0.032947,
}


@pytest.mark.parametrize("name", AUTHORS)
def test_equals_the_authors_pytorch_code(name):
    if not REAL.is_file():
        pytest.skip(f"LPIPS's weights are not there: set {VARIABLE} to compare with the authors'")
    assert lpips(*synthetic_pairs()[name], REAL) == pytest.approx(AUTHORS[name], abs=1e-6)


# --- properties


@given(seed=st.integers(0, 2**32 - 1), height=st.integers(31, 50), width=st.integers(31, 50))
def test_is_a_symmetric_distance(file, seed, height, width):
    truth, prediction = noisy_pairs(seed, 2, height, width)
    values = lpips(truth, prediction, file)
    assert values.shape == (2,) and values.dtype == np.float64
    assert (values > 0).all()
    np.testing.assert_allclose(lpips(prediction, truth, file), values, rtol=1e-6)
    np.testing.assert_array_equal(lpips(truth, truth, file), 0)


@given(order=st.permutations(range(5)), batch_size=st.integers(1, 6))
def test_an_image_does_not_depend_on_its_batch_mates(file, order, batch_size):
    truth, prediction = noisy_pairs(4, 5, 32, 37)
    alone = [lpips(t, p, file) for t, p in zip(truth, prediction, strict=True)]
    assert all(type(value) is float for value in alone) and len(set(alone)) == 5
    together = lpips(truth[order], prediction[order], file, batch_size)
    np.testing.assert_allclose(together, np.array(alone)[order], rtol=1e-5)


def test_uint8_equals_float(file):
    truth, prediction = noisy_pairs(5, 2, 35, 35)
    expected = lpips(truth, prediction, file)
    for kind in (np.float32, np.float64):
        as_float = (truth / 255).astype(kind), (prediction / 255).astype(kind)
        np.testing.assert_array_equal(lpips(*as_float, file), expected)
        np.testing.assert_allclose(lpips(*as_float, file, rounded=False), expected, rtol=1e-5)


def test_rounding_and_clipping(file):
    truth = np.full((31, 31, 3), 100, np.uint8)
    near = np.full((31, 31, 3), 100.4 / 255)
    assert lpips(truth, near, file) == 0 < lpips(truth, near, file, rounded=False)
    white = np.ones((31, 31, 3), np.float32)
    for rounded in (True, False):
        assert lpips(white, white * 1.3, file, rounded=rounded) == 0
        assert lpips(white * 0, white * -0.3, file, rounded=rounded) == 0


def test_arrays_are_left_as_they_were(file):
    truth, prediction = (x / 200 for x in noisy_pairs(6, 1, 31, 31))
    copies = truth.copy(), prediction.copy()
    lpips(truth, prediction, file)
    np.testing.assert_array_equal((truth, prediction), copies)


@pytest.mark.parametrize(
    ("truth", "prediction", "message"),
    [
        (np.zeros((32, 32, 3), np.uint8), np.zeros((32, 33, 3), np.uint8), "same size"),
        (np.zeros((32, 32, 3), np.uint8), np.zeros((1, 32, 32, 3), np.uint8), "same size"),
        (np.zeros((32, 32), np.uint8), np.zeros((32, 32), np.uint8), "expected RGB"),
        (np.zeros((32, 32, 1), np.uint8), np.zeros((32, 32, 1), np.uint8), "expected RGB"),
        (np.zeros((0, 32, 32, 3)), np.zeros((0, 32, 32, 3)), "expected RGB"),
        (np.zeros((30, 64, 3), np.uint8), np.zeros((30, 64, 3), np.uint8), "31x31.* not 30x64"),
        (np.zeros((2, 64, 30, 3)), np.zeros((2, 64, 30, 3)), "31x31.* not 64x30"),
        (np.full((32, 32, 3), 200.0), np.zeros((32, 32, 3)), "divide by 255"),
        (np.zeros((32, 32, 3)), np.zeros((32, 32, 3), np.int64), "divide by 255"),
    ],
)
def test_errors_say_what_is_wrong_with_the_images(file, truth, prediction, message):
    with pytest.raises(ValueError, match=message):
        lpips(truth, prediction, file)


# --- weights

SMALL = noisy_pairs(8, 1, 31, 31)


def test_the_variable_names_the_file_and_the_argument_wins(file, monkeypatch):
    expected = lpips(*SMALL, file)
    monkeypatch.setenv(VARIABLE, str(file))
    assert lpips(*SMALL) == expected
    assert lpips(*SMALL, "random") != expected
    monkeypatch.setenv(VARIABLE, "random")
    assert lpips(*SMALL, str(file)) == expected


def test_random_weights_are_fixed_and_still_a_distance():
    values = lpips(*noisy_pairs(9, 3, 64, 64), "random")
    assert (np.diff(values) > 0).all() and values[0] > 0 and np.isfinite(values).all()
    np.testing.assert_array_equal(values, lpips(*noisy_pairs(9, 3, 64, 64), "random"))
    assert lpips(SMALL[0], SMALL[0], "random") == 0


def test_origin_is_a_label_without_folders(file, monkeypatch):
    assert origin(file) == "LPIPS-Alex (made-up.npz)"
    assert origin("random") == "random weights"
    with pytest.raises(LPIPSWeightsError):
        origin()
    monkeypatch.setenv(VARIABLE, str(file))
    assert origin() == "LPIPS-Alex (made-up.npz)"


@pytest.mark.parametrize("where", ["nowhere", "empty", "argument", "variable", "folder"])
def test_missing_weights_name_the_ways_out(where, tmp_path, monkeypatch):
    lost = tmp_path / "lost.npz"
    if where in ("variable", "empty"):
        monkeypatch.setenv(VARIABLE, str(lost) if where == "variable" else "")
    argument = {"argument": lost, "folder": tmp_path}.get(where)
    with pytest.raises(LPIPSWeightsError) as caught:
        lpips(*SMALL, argument)
    message = str(caught.value)
    for way in ("the argument weights", VARIABLE, "convert(", "lpips.LPIPS"):
        assert way in message
    if where in ("variable", "argument"):
        assert str(lost) in message


def truncate(path, tensors):
    np.savez(path, **tensors)
    path.write_bytes(path.read_bytes()[:-5000])


def flip_a_bit(path, tensors):
    np.savez(path, **tensors)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def one_array(path, _):
    with path.open("wb") as opened:
        np.save(opened, np.zeros(3))


def drop(path, tensors):
    np.savez(path, **{k: v for k, v in tensors.items() if k != "alex/conv3/bias"})


def replace(key, change):
    return lambda path, tensors: np.savez(path, **tensors | {key: change(tensors[key])})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (truncate, "cannot be read as .npz"),
        (flip_a_bit, "cannot be read as .npz"),
        (lambda path, _: path.write_bytes(b""), "cannot be read as .npz"),
        (lambda path, _: path.write_text("<html>404</html>"), "cannot be read as .npz"),
        (one_array, "cannot be read as .npz"),
        (drop, "lacks alex/conv3/bias"),
        (
            replace("alex/conv2/kernel", lambda x: x.transpose(3, 2, 0, 1)),
            r"alex/conv2/kernel is float32 \(192, 64, 5, 5\).*\(5, 5, 64, 192\)",
        ),
        (replace("lin/alex/lin4", lambda x: x[:, None]), r"lin/alex/lin4 .* \(256, 1\)"),
        (replace("lin/alex/lin0", lambda x: x.astype(int)), "lin/alex/lin0 is int64"),
        (replace("alex/conv1/bias", lambda x: x * np.nan), "alex/conv1/bias .* finite"),
    ],
)
def test_damaged_weights_name_the_file_and_the_key(damage, message, tensors, tmp_path):
    path = tmp_path / "damaged.npz"
    damage(path, tensors)
    with pytest.raises(LPIPSWeightsError, match=message) as caught:
        lpips(*SMALL, path)
    assert str(caught.value).startswith(f"{path}: ") and "convert(" in str(caught.value)


class Bomb:
    def __reduce__(self):
        return Path.touch, (Path(os.environ["SRLIB_TEST_BOMB"]),)


def test_pickled_objects_are_refused(tensors, tmp_path, monkeypatch):
    monkeypatch.setenv("SRLIB_TEST_BOMB", str(tmp_path / "exploded"))
    path = tmp_path / "pickled.npz"
    np.savez(path, **tensors | {"alex/conv1/bias": np.array([Bomb()] * 64, object)})
    with pytest.raises(LPIPSWeightsError, match="allow_pickle"):
        lpips(*SMALL, path)
    assert not (tmp_path / "exploded").exists()


def test_weights_are_loaded_once_and_again_when_rewritten(tensors, tmp_path, monkeypatch, capfd):
    path, loads, load = tmp_path / "own.npz", [], np.load
    monkeypatch.setattr(
        np, "load", lambda *args, **kwargs: loads.append(1) or load(*args, **kwargs)
    )
    np.savez(path, **tensors)
    first = lpips(*SMALL, path)
    for size in range(32, 40):
        lpips(*noisy_pairs(10, 2, size, 70 - size), path)
    monkeypatch.chdir(tmp_path)
    assert lpips(*SMALL, "own.npz") == first
    assert len(loads) == 1
    np.savez(path, **{k: v * 2 if k.startswith("lin") else v for k, v in tensors.items()})
    os.utime(path, ns=(1, 1))  # a file system's clock may be too coarse to tell them apart
    assert lpips(*SMALL, path) == pytest.approx(2 * first, rel=1e-6)
    assert len(loads) == 2
    assert capfd.readouterr() == ("", "")  # among others, no warning of repeated tracing


# --- from the authors' network


class FakeTensor:
    """What `convert` may use of a PyTorch tensor."""

    def __init__(self, values):
        self.values = values

    def cpu(self):
        return types.SimpleNamespace(numpy=lambda: self.values)


class FakeNetwork:
    def __init__(self, tensors):
        shift = np.zeros((1, 3, 1, 1), np.float32)
        self.state = {"scaling_layer.shift": shift, "scaling_layer.scale": shift + 1}
        for i, name in enumerate(CONVOLUTIONS):
            kernel = tensors[f"alex/conv{i + 1}/kernel"].transpose(3, 2, 0, 1)
            self.state[f"net.{name}.weight"] = kernel
            self.state[f"net.{name}.bias"] = tensors[f"alex/conv{i + 1}/bias"]
            head = tensors[f"lin/alex/lin{i}"].reshape(1, -1, 1, 1)
            self.state[f"lin{i}.model.1.weight"] = head
            self.state[f"lins.{i}.model.1.weight"] = head

    def state_dict(self):
        return {key: FakeTensor(values) for key, values in self.state.items()}


def test_converted_weights_equal_the_file(tensors, file, tmp_path):
    target = tmp_path / "new" / "folder" / "converted.npz"
    assert convert(str(target), FakeNetwork(tensors)) == target
    with np.load(target, allow_pickle=False) as converted:
        assert sorted(converted) == sorted(tensors)
        for key, value in tensors.items():
            assert converted[key].dtype == np.float32
            np.testing.assert_array_equal(converted[key], value)
    pair = noisy_pairs(11, 3, 45, 38)
    np.testing.assert_array_equal(lpips(*pair, target), lpips(*pair, file))
    assert [p.name for p in target.parent.iterdir()] == ["converted.npz"]


@pytest.mark.parametrize("missing", ["net.slice3.6.weight", "lin4.model.1.weight"])
def test_another_network_is_not_converted(tensors, tmp_path, missing):
    network, target = FakeNetwork(tensors), tmp_path / "weights.npz"
    target.write_text("the old ones")
    network.state["net.slice1.0.weight"] = np.zeros((64, 3, 3, 3), np.float32)  # VGG's
    with pytest.raises(LPIPSWeightsError, match=r"conv1/kernel is .*not written; give lpips.LPIPS"):
        convert(target, network)
    network = FakeNetwork(tensors)
    del network.state[missing]
    with pytest.raises(LPIPSWeightsError, match=r"lacks .*not written"):
        convert(target, network)
    assert target.read_text() == "the old ones"


def test_the_command_in_the_error_message_works(tensors, tmp_path, monkeypatch):
    with pytest.raises(LPIPSWeightsError) as caught:
        lpips(*SMALL)
    command = re.search(r'python -c "(.*)"', str(caught.value))[1]
    made = []
    module = types.ModuleType("lpips")
    module.LPIPS = lambda net: made.append(net) or FakeNetwork(tensors)
    monkeypatch.setitem(sys.modules, "lpips", module)
    monkeypatch.chdir(tmp_path)
    exec(command, {})
    assert made == ["alex"] and origin("lpips_alex.npz") == "LPIPS-Alex (lpips_alex.npz)"
    assert lpips(*SMALL, "lpips_alex.npz") > 0

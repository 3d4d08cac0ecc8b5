"""srlib.losses.vgg against keras.applications, and where its weights may come from."""

import gc
import os
import pickle
import socket
import warnings
from functools import partial
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from srlib.losses import vgg
from srlib.losses.vgg import (
    VARIABLE,
    VGG16,
    Preprocessing,
    VGGWeightsError,
    convolution_of,
    load_weights,
)

REAL = Path(__file__).resolve().parents[3] / "shared/weights/vgg16_keras_block1_block2.npz"
KERAS_VGG16 = keras.applications.VGG16
#: Layer -> the shape of its kernel, from the paper's table, configuration D.
SHAPES = {
    f"block{b}_conv{c}": (3, 3, width if c > 1 else before, width)
    for b, (count, before, width) in enumerate(
        [(2, 3, 64), (2, 64, 128), (3, 128, 256), (3, 256, 512), (3, 512, 512)], start=1
    )
    for c in range(1, count + 1)
}
TWO_BLOCKS = ["block1_conv1", "block1_conv2", "block2_conv1", "block2_conv2"]


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """No weights but a test's own: no variable, nothing cached, no network."""

    def refused(*_, **__):
        raise AssertionError("no test may use the network")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refused)
    monkeypatch.setattr(keras.applications, "VGG16", refused)
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras-home"))


def made_up(names=TWO_BLOCKS, seed=3) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Weights none of which is zero, scaled so that every layer has something to say."""
    rng = np.random.default_rng(seed)
    return {
        name: (
            rng.normal(0, np.sqrt(2 / np.prod(SHAPES[name][:3])), SHAPES[name]).astype(np.float32),
            rng.normal(0, 5, SHAPES[name][3]).astype(np.float32),
        )
        for name in names
    }


@pytest.fixture(scope="module")
def numbers():
    return made_up()


@pytest.fixture(scope="module")
def reference() -> keras.Model:
    """Keras' own network with made-up numbers."""
    model = KERAS_VGG16(weights=None, include_top=False)
    for name, arrays in made_up(SHAPES).items():
        model.get_layer(name).set_weights(arrays)
    return model


@pytest.fixture(scope="module")
def whole_file(reference, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("vgg") / "whole.weights.h5"
    reference.save_weights(path)
    return path


KINDS = ("kernel", "bias")


def flat(arrays) -> dict[str, np.ndarray]:
    return {f"{n}/{k}": x for n, pair in arrays.items() for k, x in zip(KINDS, pair, strict=True)}


def write_npz(path: Path, arrays) -> Path:
    np.savez(path, **flat(arrays))
    return path


@pytest.fixture
def small_file(numbers, tmp_path) -> Path:
    return write_npz(tmp_path / "two-blocks.npz", numbers)


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(8)
    return rng.integers(0, 256, (2, 20, 18, 3)).astype(np.float32) / np.float32(255)


def close(ours, theirs, rel=2e-5):
    """Equal, compared with the largest response."""
    theirs = np.asarray(theirs)
    assert theirs.size and np.abs(theirs).max() > 1
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=rel * np.abs(theirs).max())


def of_keras(reference, layer, images):
    """A layer of Keras' network, its images prepared by Keras' own function."""
    prepared = keras.applications.vgg16.preprocess_input(images.copy() * 255)
    return keras.Model(reference.input, reference.get_layer(layer).output)(prepared).numpy()


# --- the network


@pytest.mark.parametrize(
    ("layer", "keras_layer"),
    [(f"block{n}", f"block{n}") for n in ("1_conv1", "1_conv2", "2_conv2", "3_conv3", "5_conv1")]
    + [("relu2_2", "block2_conv2")],
)
def test_equals_keras(layer, keras_layer, reference, whole_file, images):
    ours = VGG16(layer, whole_file)(images)
    assert ours.dtype == "float32"
    close(ours, of_keras(reference, keras_layer, images))


def test_a_layer_before_its_relu(reference, whole_file, images):
    before = VGG16("conv2_2", whole_file)(images).numpy()
    kernel, bias = reference.get_layer("block2_conv2").get_weights()
    features = of_keras(reference, "block2_conv1", images)
    close(before, tf.nn.conv2d(features, kernel, 1, "SAME") + bias)
    assert (before < -1).mean() > 0.1
    close(np.maximum(before, 0), of_keras(reference, "block2_conv2", images))


def test_average_pooling(reference, whole_file, images):
    x = of_keras(reference, "block1_conv2", images)
    n, height, width, channels = x.shape
    x = x.reshape(n, height // 2, 2, width // 2, 2, channels).mean(axis=(2, 4))
    for name in TWO_BLOCKS[2:]:
        x = reference.get_layer(name)(x)
    ours = VGG16("relu2_2", whole_file, pooling="average")(images)
    close(ours, x)
    assert np.abs(ours - of_keras(reference, "block2_conv2", images)).max() > 1


def test_an_unknown_pooling_is_refused():
    with pytest.raises(ValueError, match=r"'max', 'average'.*not 'sum'"):
        VGG16(weights="random", pooling="sum")


@pytest.mark.parametrize("size", [(2, 2), (3, 2), (7, 9), (1, 1)])
def test_takes_any_size(size, rng):
    network = VGG16("relu2_1" if min(size) > 1 else "relu1_2", "random")
    images = rng.uniform(0, 1, (3, *size, 3)).astype(np.float32)
    features = network(images)
    expected = [side // 2 for side in size] if min(size) > 1 else size
    assert features.shape[1:3] == tuple(expected)
    assert np.isfinite(features).all()


@pytest.mark.parametrize(
    ("layer", "pools"),
    [("block1_conv1", 0), ("relu1_2", 0), ("conv2_1", 1), ("block3_conv2", 2), ("relu5_3", 4)],
)
def test_no_more_is_built_than_the_layer_needs(layer, pools):
    network = VGG16(layer, "random")
    last, _ = convolution_of(layer)
    needed = list(SHAPES)[: list(SHAPES).index(last) + 1]
    found = [x.name for x in network.layers if isinstance(x, keras.layers.Conv2D)]
    assert found == needed
    assert sum(isinstance(x, keras.layers.MaxPooling2D) for x in network.layers) == pools
    by_hand = sum(int(np.prod(SHAPES[name])) + SHAPES[name][3] for name in needed)
    assert network.count_params() == by_hand
    assert not network.trainable_weights


@pytest.mark.parametrize("layer", ["relu1_2", "relu2_2", "relu3_3"])
def test_half_precision_is_close_and_answers_in_float32(layer, whole_file, images):
    exact = VGG16(layer, whole_file)(images).numpy()
    half = VGG16(layer, whole_file, dtype="mixed_bfloat16")
    assert half.get_layer("block1_conv1").compute_dtype == "bfloat16"
    features = half(images)
    assert features.dtype == "float32"
    error = np.sqrt(np.mean((features.numpy() - exact) ** 2) / np.mean(exact**2))
    assert 0 < error < 0.01


# --- names


@pytest.mark.parametrize("name", SHAPES)
def test_every_layer_has_three_names(name):
    short = name.removeprefix("block").replace("conv", "")
    assert convolution_of(name) == (name, True)
    assert convolution_of("relu" + short) == (name, True)
    assert convolution_of("conv" + short) == (name, False)


@pytest.mark.parametrize(
    "name",
    ["relu6_1", "conv2_3", "relu0_1", "block2_pool", "fc1", "", "relu", "conv", "relu2", "relu2-2",
     "Relu2_2", "relu2_2_", "relu_2_2", "block2_conv2 ", "conv2_2_2"],
)  # fmt: skip
def test_unknown_layers_are_refused_with_the_known(name):
    with pytest.raises(ValueError, match=r"block1_conv1, .*block5_conv3, or relu2_2") as caught:
        VGG16(name, "random")
    assert repr(name) in str(caught.value)
    assert not isinstance(caught.value, VGGWeightsError)


# --- what the images are turned into


@pytest.mark.parametrize(
    ("colour", "expected"),
    [
        ((1, 0, 0), (-103.939, -116.779, 131.32)),
        ((0, 1, 0), (-103.939, 138.221, -123.68)),
        ((0, 0, 1), (151.061, -116.779, -123.68)),
        ((0, 0, 0), (-103.939, -116.779, -123.68)),
        ((123.68 / 255, 116.779 / 255, 103.939 / 255), (0, 0, 0)),
    ],
)
def test_colours_by_hand(colour, expected):
    image = np.full((1, 2, 3, 3), colour, np.float32)
    output = Preprocessing()(image)
    np.testing.assert_allclose(output, np.broadcast_to(expected, (1, 2, 3, 3)), atol=3e-5)


@given(seed=st.integers(0, 2**31))
@settings(max_examples=10)
def test_preprocessing_is_keras(seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (2, 3, 4, 3)).astype(np.float32)
    images = pixels / 255
    before = images.copy()
    theirs = keras.applications.vgg16.preprocess_input(pixels.copy())
    np.testing.assert_allclose(Preprocessing()(images), theirs, atol=3e-5)
    np.testing.assert_array_equal(images, before)  # Keras' overwrites its NumPy input


@pytest.mark.parametrize("policy", ["layer", "global"])
def test_neighbouring_grey_levels_are_told_apart_in_half_precision(policy):
    levels = np.repeat(np.arange(256, dtype=np.float32) / 255, 3).reshape(1, 16, 16, 3)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16" if policy == "global" else before)
    try:
        network = VGG16("relu1_1", "random", dtype="mixed_bfloat16")
        output = network.get_layer("preprocessing")(levels)
    finally:
        keras.config.set_dtype_policy(before)
    assert output.dtype == "float32"
    np.testing.assert_allclose(np.diff(output[0, ..., 2].numpy().ravel()), 1, atol=1e-4)


def test_without_preprocessing_images_are_fed_as_they_are(numbers, small_file, images):
    kernel, bias = numbers["block1_conv1"]
    expected = tf.nn.relu(tf.nn.conv2d(images, kernel, 1, "SAME") + bias)
    raw = VGG16("relu1_1", small_file, preprocessing=False)
    np.testing.assert_allclose(raw(images), expected, atol=1e-5)
    prepared = Preprocessing()(images)
    close(VGG16("relu1_1", small_file)(images), raw(prepared))


# --- where weights come from


def filled(value: float) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Weights that are all the same number, to be recognised by it."""
    shape = SHAPES["block1_conv1"]
    return {"block1_conv1": (np.full(shape, value), np.full(shape[3], value))}


def write_legacy(path: Path, arrays, pattern="{0}/{0}_{2}_1:0", root="") -> Path:
    """HDF5 as the Keras of its day wrote it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, pair in arrays.items():
            for kind, letter, values in zip(KINDS, "Wb", pair, strict=True):
                file[root + pattern.format(name, kind, letter)] = values
    return path


def cache_file(ending: str, value: float, home: Path | None = None) -> Path:
    folder = Path(home or os.environ["KERAS_HOME"]) / "models"
    name = f"vgg16_weights_tf_dim_ordering_tf_kernels{ending}.h5"
    return write_legacy(folder / name, filled(value))


def used(weights: vgg.Weights) -> float:
    (value,) = np.unique(np.concatenate([x.ravel() for x in weights.arrays["block1_conv1"]]))
    return float(value)


class Downloads:
    """Stands in for keras.applications.VGG16 and counts."""

    def __init__(self, error: BaseException | None = None):
        self.calls, self.error = [], error

    def __call__(self, **options):
        self.calls.append(options)
        if self.error:
            raise self.error
        model = keras.Sequential([keras.Input((None, None, 3)),
                                  keras.layers.Conv2D(64, 3, name="block1_conv1")])  # fmt: skip
        model.layers[0].set_weights(filled(4)["block1_conv1"])
        return model


@pytest.mark.parametrize(
    ("sources", "value", "origin"),
    [
        ("path variable cache download", 1, "ImageNet weights (explicit.npz)"),
        ("variable cache download", 2, "ImageNet weights (named.npz)"),
        ("cache download", 3, "ImageNet weights (Keras)"),
        ("download", 4, "ImageNet weights (Keras)"),
        ("imagenet variable cache download", 3, "ImageNet weights (Keras)"),
        ("imagenet variable download", 4, "ImageNet weights (Keras)"),
    ],
)
def test_sources_in_their_order(sources, value, origin, tmp_path, monkeypatch):
    explicit = write_npz(tmp_path / "explicit.npz", filled(1))
    named = write_npz(tmp_path / "named.npz", filled(2))
    if "variable" in sources:
        monkeypatch.setenv(VARIABLE, str(named))
    if "cache" in sources:
        cache_file("_notop", 3)
    downloads = Downloads()
    monkeypatch.setattr(keras.applications, "VGG16", downloads)
    asked = explicit if "path" in sources else "imagenet" if "imagenet" in sources else None
    found = load_weights(asked, "block1_conv1")
    assert used(found) == value
    assert found.origin == origin
    assert list(found.arrays) == ["block1_conv1"]
    assert downloads.calls == (
        [{"weights": "imagenet", "include_top": False}] if value == 4 else []
    )
    assert VGG16("relu1_1", asked).origin == origin


def test_both_of_keras_files_are_found_the_smaller_first(monkeypatch, tmp_path):
    cache_file("", 5)
    assert used(load_weights(upto="block1_conv1")) == 5
    cache_file("_notop", 6)
    assert used(load_weights(upto="block1_conv1")) == 6
    monkeypatch.delenv("KERAS_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    cache_file("_notop", 7, tmp_path / ".keras")
    assert used(load_weights(upto="block1_conv1")) == 7


@pytest.mark.parametrize(
    "error",
    [Exception("URL fetch failure on https://storage...: None -- [Errno -2] Name not known"),
     OSError(28, "No space left on device"), ValueError("Incomplete or corrupted file detected")],
    ids=["no network", "disk full", "corrupted"],
)  # fmt: skip
def test_a_failed_download_names_the_three_ways_out(error, monkeypatch):
    downloads = Downloads(error)
    monkeypatch.setattr(keras.applications, "VGG16", downloads)
    with pytest.raises(VGGWeightsError) as caught:
        VGG16()
    message = str(caught.value)
    assert (getattr(error, "strerror", None) or str(error)) in message
    for way in ("connect to the internet", f"set {VARIABLE} to a file", "weights='random'"):
        assert way in message
    assert f"{VARIABLE}=random" in message
    assert len(downloads.calls) == 1
    assert caught.value.__cause__ is error


def test_an_interrupted_download_is_an_interruption(monkeypatch):
    monkeypatch.setattr(keras.applications, "VGG16", Downloads(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        load_weights()


@pytest.mark.parametrize("way", ["argument", "variable"])
def test_a_missing_file_is_an_error_and_nothing_else_is_tried(way, tmp_path, monkeypatch):
    cache_file("_notop", 3)
    missing = str(tmp_path / "gone.npz")
    monkeypatch.setenv(VARIABLE, missing if way == "variable" else "random")
    with pytest.raises(VGGWeightsError, match=r"gone\.npz: no such file.*weights='random'"):
        load_weights(missing if way == "argument" else None)
    with pytest.raises(VGGWeightsError, match="no such file"):
        load_weights(tmp_path)  # a folder


# --- random weights


@pytest.mark.parametrize("way", ["argument", "variable"])
def test_random_weights_follow_the_seed(way, monkeypatch):
    monkeypatch.setenv(VARIABLE, "random" if way == "variable" else "gone.npz")
    asked = "random" if way == "argument" else None
    first, again, other = (load_weights(asked, "relu2_2", seed) for seed in (3, 3, 4))
    assert first.origin == "random weights, seed 3"
    assert VGG16("relu1_1", asked, seed=5).origin == "random weights, seed 5"
    assert list(first.arrays) == TWO_BLOCKS
    for name in TWO_BLOCKS:
        np.testing.assert_array_equal(first.arrays[name][0], again.arrays[name][0])
        assert np.abs(first.arrays[name][0] - other.arrays[name][0]).max() > 0.01
        kernel, bias = first.arrays[name]
        assert kernel.shape == SHAPES[name] and kernel.dtype == bias.dtype == np.float32
        assert kernel.std() == pytest.approx(np.sqrt(2 / np.prod(kernel.shape[:3])), rel=0.1)
        assert bias.shape == kernel.shape[3:] and not bias.any()


def test_a_deeper_random_network_begins_like_a_shallower_one(images):
    deep, shallow = (load_weights("random", layer).arrays for layer in ("relu3_1", "relu1_2"))
    for name, arrays in shallow.items():
        np.testing.assert_array_equal(deep[name][0], arrays[0])


# --- file formats

LAYOUTS = {
    "Keras' own download": ("{0}/{0}_{2}_1:0", ""),
    "Keras 2, layer twice": ("{0}/{0}/{1}:0", ""),
    "Keras 2, layer once": ("{0}/{1}:0", ""),
    "Keras 2, whole model": ("{0}/{0}/{1}:0", "model_weights/"),
    "Keras 3, whole model": ("{0}/{0}/{1}", "model_weights/"),
}


def same_numbers(found: vgg.Weights, expected):
    assert list(found.arrays) == list(expected)
    for name, arrays in expected.items():
        for ours, theirs in zip(found.arrays[name], arrays, strict=True):
            assert ours.dtype == np.float32
            np.testing.assert_array_equal(ours, theirs)


def legacy(path: Path, numbers, layout: str) -> Path:
    path = write_legacy(path.with_suffix(".h5"), numbers, *LAYOUTS[layout])
    with h5py.File(path, "a") as file:  # what else such files hold
        for trap in ("optimizer_weights/training/Adam/block1_conv1/kernel/m:0",
                     "optimizer_weights/z/block2_conv2/kernel/v:0"):  # fmt: skip
            file[trap] = np.zeros(SHAPES[trap.split("/")[-3]])
        file["optimizer_weights/z/block2_conv1/bias/v:0"] = np.zeros(128)
        file["fc1/fc1_W_1:0"] = np.zeros((4, 4))
        file["block1_pool/steps"] = 3
    return path


def small_keras(numbers) -> keras.Model:
    """The first two blocks in Keras' own layers, with an optimiser that has moments."""
    x = images = keras.Input((8, 8, 3))
    for name in numbers:
        x = keras.layers.Conv2D(SHAPES[name][3], 3, padding="same", name=name)(x)
    model = keras.Model(images, x)
    model.compile(keras.optimizers.Adam(0.01), "mse")
    model.train_on_batch(np.ones((1, 8, 8, 3)), np.zeros((1, 8, 8, 128)))
    for name, arrays in numbers.items():
        model.get_layer(name).set_weights(arrays)
    return model


def of_this_keras(path: Path, numbers, ending: str) -> Path:
    path, model = path.with_suffix(ending), small_keras(numbers)
    (model.save_weights if ending == ".weights.h5" else model.save)(path)
    with h5py.File(path) as file:
        assert any("optimizer" in key for key in file)
    return path


def npz(path: Path, numbers, save=np.savez) -> Path:
    path = path.with_suffix(".npz")
    save(path, **flat(numbers), **{"fc1/kernel": np.zeros(3), "odd": np.ones(2)})
    return path


def our_own(path: Path, numbers) -> Path:
    path = path.with_suffix(".weights.h5")
    VGG16("relu2_2", write_npz(path.with_suffix(".npz"), numbers)).save_weights(path)
    return path


WRITERS = {
    **{layout: partial(legacy, layout=layout) for layout in LAYOUTS},
    "a model that this Keras trained": partial(of_this_keras, ending=".h5"),
    "its weights": partial(of_this_keras, ending=".weights.h5"),
    "our network's weights": our_own,
    "npz": npz,
    "compressed npz": partial(npz, save=np.savez_compressed),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_every_kind_of_file(writer, numbers, tmp_path):
    path = WRITERS[writer](tmp_path / "written", numbers)
    found = load_weights(str(path), "conv2_2")
    same_numbers(found, numbers)
    assert found.origin == f"ImageNet weights ({path.name})"
    same_numbers(load_weights(path, "relu1_2"), {n: numbers[n] for n in TWO_BLOCKS[:2]})


@pytest.mark.parametrize("dtype", [np.float16, np.float64, ">f4"])
def test_numbers_of_every_width(dtype, numbers, tmp_path):
    rounded = {n: tuple(x.astype(dtype) for x in pair) for n, pair in numbers.items()}
    expected = {n: tuple(x.astype(np.float32) for x in pair) for n, pair in rounded.items()}
    same_numbers(load_weights(npz(tmp_path / "some", rounded), "relu2_2"), expected)


def test_the_whole_network_as_keras_writes_it(whole_file):
    expected = made_up(SHAPES)
    found = load_weights(whole_file, "block5_conv3")
    same_numbers(found, expected)
    assert found.origin == "ImageNet weights (whole.weights.h5)"


def test_origin_never_holds_a_folder(numbers, tmp_path, monkeypatch):
    folder = tmp_path / "home" / "somebody"
    folder.mkdir(parents=True)
    path = write_npz(folder / "mine.npz", numbers)
    monkeypatch.chdir(folder)
    for asked in (path, str(path), "mine.npz", "../somebody/mine.npz"):
        assert VGG16("relu1_1", asked).origin == "ImageNet weights (mine.npz)"


# --- damage


def torn(path: Path, share: float) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    return path


def flipped(path: Path) -> Path:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255  # the checksum of the archive
    path.write_bytes(content)
    return path


def page(path: Path) -> Path:
    path.write_text("<html>404 Not Found</html>" * 100)
    return path


#: What was done to a file -> (path, weights) -> the file.
DAMAGES = {
    "flipped.npz": lambda path, numbers: flipped(write_npz(path, numbers)),
    **{
        f"torn-{share}.{kind}": lambda path, numbers, write=write, share=share: torn(
            write(path, numbers), share
        )
        for kind, write in {"npz": write_npz, "h5": write_legacy}.items()
        for share in (0, 0.001, 0.3, 0.9, 0.999)
    },
    **{f"page{end}": lambda path, _: page(path) for end in (".npz", ".h5", ".weights.h5", "")},
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damaged_files_are_refused_by_name_and_closed(name, numbers, tmp_path):
    path = DAMAGES[name](tmp_path / name, numbers)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        with pytest.raises(VGGWeightsError) as refused:
            VGG16(weights=path)
        gc.collect()
    message = str(refused.value)
    assert message.startswith(f"{path}: cannot be read as VGG16's weights (")
    assert message.endswith("); get the file anew") and "\n" not in message
    assert not [str(w.message) for w in caught if path.name in str(w.message)]


def test_a_damaged_file_in_keras_cache_is_named():
    path = torn(cache_file("_notop", 3), 0.01)
    with pytest.raises(VGGWeightsError, match=rf"{path.name}: cannot be read"):
        load_weights()


class Trap:
    """Creates a folder when it is unpickled."""

    def __init__(self, target):
        self.target = str(target)

    def __reduce__(self):
        return os.mkdir, (self.target,)


def test_pickles_are_refused_and_not_executed(numbers, tmp_path):
    trap = np.empty(SHAPES["block1_conv1"], object)
    trap[...] = Trap(tmp_path / "executed")
    arrays = numbers | {"block1_conv1": (trap, numbers["block1_conv1"][1])}
    inside = write_npz(tmp_path / "inside.npz", arrays)
    bare = tmp_path / "bare.npz"
    bare.write_bytes(pickle.dumps(Trap(tmp_path / "executed")))
    for path in (inside, bare):
        with pytest.raises(VGGWeightsError, match=rf"{path.name}: cannot be read"):
            VGG16(weights=path)
    assert not (tmp_path / "executed").exists()
    pickle.loads(bare.read_bytes())  # the trap works
    assert (tmp_path / "executed").exists()


def with_value(*pair, part: int, value: float):
    pair = [array.copy() for array in pair]
    pair[part].flat[5] = value
    return tuple(pair)


#: Fault of block2_conv2's kernel and bias -> the error.
ANOTHER = r"is .*\(3, 3, 128, 128\).*another network"
FAULTS = {
    "pytorch's order": (lambda k, b: (k.transpose(3, 2, 0, 1), b), ANOTHER),
    "fewer channels": (lambda k, b: (k[..., :32], b[:32]), ANOTHER),
    "another kernel size": (lambda k, b: (k[:1, :1], b), ANOTHER),
    "bias of another size": (lambda k, b: (k, b[:-1]), ANOTHER),
    "no axis": (lambda k, b: (np.float32(1), np.float32(1)), ANOTHER),
    "text": (lambda k, b: (k.astype("U8"), b), "not numbers"),
    "complex": (lambda k, b: (k + 1j, b), "not numbers"),
    "too large for float32": (lambda k, b: (k.astype(np.float64) * 1e300, b), "not finite"),
    **{
        f"{value} in the {part}": (partial(with_value, part=part, value=value), "not finite")
        for part in (0, 1)
        for value in (np.nan, np.inf, -np.inf)
    },
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_cannot_be_vggs_is_refused(fault, numbers, tmp_path):
    spoil, message = FAULTS[fault]
    arrays = numbers | {"block2_conv2": spoil(*numbers["block2_conv2"])}
    path = write_npz(tmp_path / "other.npz", arrays)
    with pytest.raises(VGGWeightsError, match=rf"other\.npz: block2_conv2 .*{message}"):
        VGG16(weights=path)
    VGG16("relu1_2", path)  # the layers before are whole


def test_a_keras_file_of_another_network_is_refused(tmp_path):
    other = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(16, 3)])
    other.save_weights(tmp_path / "other.weights.h5")
    with pytest.raises(VGGWeightsError, match=r"other\.weights\.h5: block1_conv1 is .*another"):
        VGG16(weights=tmp_path / "other.weights.h5")


@pytest.mark.parametrize("kind", ["npz", "h5"])
@pytest.mark.parametrize("lacking", ["layer", "kernel", "bias", "all"])
def test_a_missing_layer_is_named(kind, lacking, numbers, tmp_path):
    path, kept = tmp_path / f"part.{kind}", flat(numbers)
    for key in list(kept):
        layer, part = key.split("/")
        if lacking == "all" or (layer == "block2_conv1" and lacking in ("layer", part)):
            del kept[key]
    if kind == "npz":
        np.savez(path, **kept)
    else:
        with h5py.File(path, "w") as file:
            for key, values in kept.items():
                file[key] = values
    first = "block1_conv1" if lacking == "all" else "block2_conv1"
    with pytest.raises(VGGWeightsError, match=rf"part\.{kind}: lacks {first}") as caught:
        VGG16(weights=path)
    assert ("no layer of VGG16" if lacking == "all" else "block1_conv2") in str(caught.value)


def test_a_layer_beyond_what_the_file_holds(small_file):
    with pytest.raises(
        VGGWeightsError, match=r"two-blocks\.npz: lacks block3_conv1; it has .*Choose an earlier"
    ):
        VGG16("relu3_3", small_file)


# --- the real thing


@pytest.fixture(scope="module")
def real() -> Path:
    if not REAL.exists():
        pytest.skip(f"ImageNet weights not present: no {REAL.name} in ../shared/weights")
    return REAL


def test_real_weights_are_the_ones_keras_prints(real):
    """As `print(VGG16(weights="imagenet").trainable_weights)` begins in many a forum."""
    kernel, _ = load_weights(real, "relu1_1").arrays["block1_conv1"]
    np.testing.assert_allclose(
        kernel[0, 0, 0, :3], [4.29470569e-01, 1.17273867e-01, 3.40129584e-02]
    )
    np.testing.assert_allclose(
        kernel[0, 0, 0, -3:], [-1.32241577e-01, -5.33475243e-02, 7.57738389e-03], rtol=1e-6
    )
    np.testing.assert_allclose(
        kernel[0, 0, 1, :3], [5.50379455e-01, 2.08774377e-02, 9.88311544e-02], rtol=1e-6
    )


def test_real_weights_in_keras_own_network(real, images):
    model = KERAS_VGG16(weights=None, include_top=False)
    for name, arrays in load_weights(real).arrays.items():
        model.get_layer(name).set_weights(arrays)
    close(VGG16("relu2_2", real)(images), of_keras(model, "block2_conv2", images))

"""The networks: their size, shape and range, and the baselines' exact values."""

import keras
import numpy as np
import pytest
from conftest import smooth_photo
from keras import layers

from srlib import models
from srlib.layers.normalization import FusedBatchNormalization
from srlib.layers.upsampling import UPSAMPLERS
from srlib.metrics import checkerboard
from srlib.pixels import to_float
from srlib.resize import downscale, interpolate


@pytest.fixture(scope="module")
def hourglass():
    return models.hourglass()


# --- the classic network

# The table of the classic system: kernel, stride, filters, side of the output.
CLASSIC = [
    (9, 1, 64, 64),
    (4, 2, 64, 32),
    (4, 2, 128, 16),
    (4, 2, 256, 8),
    *[(3, 1, 256, 8)] * 6,
    (4, 2, 256, 16),
    (4, 2, 128, 32),
    (4, 2, 64, 64),
    (4, 2, 64, 128),
    (9, 1, 3, 128),
]


def test_hourglass_has_the_published_number_of_parameters(hourglass):
    assert hourglass.count_params() == 6_076_303
    trainable = sum(int(np.prod(w.shape)) for w in hourglass.trainable_weights)
    assert trainable == 6_069_641


def test_hourglass_is_the_classic_network_layer_by_layer(hourglass):
    kinds = (layers.Conv2D, layers.Conv2DTranspose)
    convolutions = [x for x in hourglass.layers if isinstance(x, kinds)]
    inner = keras.Model(hourglass.input, [x.output for x in convolutions])
    outputs = inner(np.zeros((1, 64, 64, 3), np.float32))
    found = [
        (x.kernel_size[0], x.strides[0], x.filters, output.shape[1])
        for x, output in zip(convolutions, outputs, strict=True)
    ]
    assert found == CLASSIC
    transposed = [isinstance(x, layers.Conv2DTranspose) for x in convolutions]
    assert transposed == [False] * 10 + [True] * 5
    for x in convolutions:
        assert x.kernel_size[0] == x.kernel_size[1] and x.padding == "same" and x.use_bias
        assert x.activation is keras.activations.linear


def followers(model: keras.Model, name: str) -> list[keras.layers.Layer]:
    layer = model.get_layer(name)
    return [node.operation for node in layer._outbound_nodes if node.operation in model.layers]


def test_hourglass_normalises_after_each_activation(hourglass):
    names = ["stem", *(f"down{i}" for i in (1, 2, 3)), *(f"up{i}" for i in (1, 2, 3, 4))]
    names += [f"block{i}{part}" for i in (1, 2, 3) for part in ("a", "b", "")]
    for name in names:
        (relu,) = followers(hourglass, name)
        assert type(relu) is layers.ReLU, name
        (norm,) = followers(hourglass, relu.name)
        assert type(norm) is FusedBatchNormalization, name
    (first,) = followers(hourglass, "low")
    assert type(first) is FusedBatchNormalization
    (last,) = followers(hourglass, "image")
    assert last.activation is keras.activations.tanh
    for i, before in enumerate(("down3_bn", "block1_bn", "block2_bn"), start=1):
        inputs = {x._keras_history.operation.name for x in hourglass.get_layer(f"block{i}").input}
        assert inputs == {before, f"block{i}b_bn"}


@pytest.mark.parametrize(("depth", "widths", "bottleneck"), [(2, (64, 128), 16), (1, (64,), 32)])
def test_a_shallower_hourglass_has_a_larger_bottleneck(depth, widths, bottleneck):
    model = models.hourglass(depth=depth)
    assert models.size_multiple(model) == 2**depth
    middle = keras.Model(model.input, [model.get_layer("block3").output, model.output])
    block, image = middle(np.zeros((1, 64, 64, 3), np.float32))
    assert block.shape == (1, bottleneck, bottleneck, widths[-1])
    assert image.shape == (1, 128, 128, 3)


# --- the residual network


def test_residual_has_half_a_million_parameters():
    model = models.residual()
    assert 400_000 < model.count_params() < 600_000
    # The stem, 12 + 1 inner convolutions, and the upsampling, with their biases.
    by_hand = (27 * 64 + 64) + 13 * (576 * 64 + 64) + (576 * 12 + 12)
    assert model.count_params() == by_hand


# --- growing, and luma alone


def filled(model: keras.Model, seed: int = 4) -> keras.Model:
    """No weight is zero: what is compared is not silent."""
    rng = np.random.default_rng(seed)
    model.set_weights([rng.normal(0, 0.1, w.shape) for w in model.get_weights()])
    return model


def test_a_box_is_the_mean_of_each_pixel_and_its_neighbours_to_the_right_and_below(rng):
    plain, boxed = (filled(models.residual(1, 8, box=box)) for box in (False, True))
    low = 0.45 + 0.1 * rng.random((1, 6, 5, 3)).astype(np.float32)
    for model in (plain, boxed):  # details small enough that nothing is clipped
        model.set_weights([w / 4 for w in model.get_weights()])
    skip = interpolate(low)
    details = np.asarray(plain(low)) - skip
    wide = np.pad(details, ((0, 0), (0, 1), (0, 1), (0, 0)), "edge")
    parts = (wide[:, y : y + 12, x : x + 10] for y in (0, 1) for x in (0, 1))
    np.testing.assert_allclose(np.asarray(boxed(low)) - skip, sum(parts) / 4, atol=1e-6)


def test_a_box_leaves_no_pattern_on_flat_grey():
    plain, boxed = (filled(models.residual(1, 8, box=box)) for box in (False, True))
    assert checkerboard.flat_response(plain).min() > 1e-2
    assert checkerboard.flat_response(boxed).max() < 1e-4


@pytest.mark.parametrize("box", [False, True])
@pytest.mark.parametrize("luma", [False, True])
def test_a_deepened_network_draws_the_same_picture(luma, box, rng):
    model = filled(models.residual(2, 8, luma, box))
    deeper = models.deepen(model, 5)
    images = rng.uniform(0, 1, (2, 9, 7, 3)).astype(np.float32)
    np.testing.assert_allclose(deeper(images), model(images), atol=1e-6)
    per_block = 2 * (9 * 8 * 8 + 8)
    assert deeper.count_params() == model.count_params() + 3 * per_block


def test_a_deepened_network_learns_with_its_new_blocks(rng):
    deeper = models.deepen(filled(models.residual(1, 8)), 2)
    deeper.compile(keras.optimizers.SGD(1e-3), "mse")
    before = [w.copy() for w in deeper.get_layer("block2b").get_weights()]
    low = rng.uniform(0, 1, (2, 8, 8, 3)).astype(np.float32)
    deeper.train_on_batch(low, interpolate(low) + 0.1)
    for old, new in zip(before, deeper.get_layer("block2b").get_weights(), strict=True):
        assert np.abs(new - old).max() > 0


def test_a_network_cannot_shrink():
    with pytest.raises(ValueError, match="cannot grow 3 blocks to 2"):
        models.deepen(models.residual(3, 8), 2)
    with pytest.raises(ValueError, match="cannot grow 0 blocks"):
        models.deepen(models.bicubic(), 2)


def test_a_luma_network_sees_luma_and_draws_the_same_detail_into_each_colour(rng):
    model = filled(models.residual(2, 8, luma=True))
    photo = rng.uniform(0.3, 0.7, (1, 8, 9, 3)).astype(np.float32)
    detail = model(photo, training=True).numpy() - interpolate(photo)  # not clipped
    assert np.abs(detail).max() > 0.01
    np.testing.assert_allclose(detail, detail[..., :1] * np.ones(3), atol=1e-5)
    # Another colour of the same luma: the detail stays.
    shift = np.array([0.1, 0.0, -0.1 * 0.299 / 0.114], np.float32)
    other = model(photo + shift, training=True).numpy() - interpolate(photo + shift)
    np.testing.assert_allclose(other, detail, atol=1e-4)


# --- one network around any upsampler


@pytest.fixture(scope="module")
def compared() -> dict[str, keras.Model]:
    """The network with every upsampler, from one seed."""
    found = {}
    for name in UPSAMPLERS:
        keras.utils.set_random_seed(7)
        found[name] = models.with_upsampler(name, blocks=2, filters=6)
    return found


KERNELS = {"deconv k4s2": 16, "deconv k3s2": 9, "deconv + box": 16,
           "nearest + conv": 9, "bilinear + conv": 9}  # fmt: skip


@pytest.mark.parametrize("name", UPSAMPLERS)
def test_with_upsampler_has_the_parameters_of_its_layers(name, compared):
    filters = 6
    trunk = (27 * filters + filters) + 4 * (9 * filters**2 + filters)
    last = 27 * filters + 3
    if name.startswith("sub-pixel"):
        upsampler = 4 * (9 * filters**2 + filters)
    else:
        upsampler = KERNELS[name] * filters**2 + filters
    assert compared[name].count_params() == trunk + upsampler + last
    assert compared[name].name == "with_upsampler"
    assert models.size_multiple(compared[name]) == 1


def test_nothing_but_the_upsampler_differs(compared):
    names = {tuple(x.name for x in model.layers) for model in compared.values()}
    assert len(names) == 1
    first = compared["sub-pixel"]
    for model in compared.values():
        for ours, theirs in zip(model.layers, first.layers, strict=True):
            if ours.name != "upsample":
                assert ours.get_config() == theirs.get_config()
            if ours.name.startswith(("stem", "block")):  # from one seed: the very same trunk
                for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
                    np.testing.assert_array_equal(a, b)


def test_the_blocks_and_the_skip_around_them_add(rng):
    model = models.with_upsampler("sub-pixel", blocks=2, filters=6)
    names = ("stem", "block1b", "block1", "block2b", "block2", "long_skip")
    inner = keras.Model(model.input, [model.get_layer(name).output for name in names])
    low = rng.uniform(0, 1, (1, 5, 6, 3)).astype(np.float32)
    stem, inside1, block1, inside2, block2, long_skip = (x.numpy() for x in inner(low))
    assert min(np.abs(x).max() for x in (stem, inside1, inside2)) > 0.01
    np.testing.assert_allclose(block1, stem + inside1, atol=1e-6)
    np.testing.assert_allclose(block2, block1 + inside2, atol=1e-6)
    np.testing.assert_allclose(long_skip, stem + block2, atol=1e-6)
    assert model.get_layer("upsample").input is model.get_layer("long_skip").output


@pytest.mark.parametrize("name", UPSAMPLERS)
def test_with_upsampler_uses_that_upsampler(name, compared):
    layer = compared[name].get_layer("upsample")
    expected = UPSAMPLERS[name](6, name="upsample").get_config()
    assert type(layer) is type(UPSAMPLERS[name](6))
    assert layer.get_config() == expected


def test_an_unknown_upsampler_is_refused():
    with pytest.raises(ValueError, match=r"'pixel shuffle'.*'deconv k4s2'.*'deconv \+ box'"):
        models.build("with_upsampler", upsampler="pixel shuffle")


# --- all networks

SKIPS = {"residual": (lambda: filled(models.residual(blocks=2, filters=8)), "upsample")} | {
    name: (lambda name=name: models.with_upsampler(name, blocks=2, filters=6), "image")
    for name in UPSAMPLERS
}


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (9, 7), (64, 64)])
@pytest.mark.parametrize("name", SKIPS)
def test_a_network_takes_any_size(name, size, rng):
    make, _ = SKIPS[name]
    low = rng.uniform(0, 1, (2, *size, 3)).astype(np.float32)
    output = make()(low).numpy()
    assert output.shape == (2, 2 * size[0], 2 * size[1], 3)
    assert output.dtype == np.float32
    assert np.isfinite(output).all() and output.min() >= 0 and output.max() <= 1


@pytest.mark.parametrize("name", ["hourglass", *SKIPS])
def test_a_network_with_a_silent_last_layer_is_bicubic(name, rng):
    """Details are added to bicubic: those that random weights draw, or none."""
    make, last = (SKIPS | {"hourglass": (lambda: models.hourglass(1, True), "image")})[name]
    keras.utils.set_random_seed(7)
    model, low = make(), rng.uniform(0.2, 0.8, (1, 12, 10, 3)).astype(np.float32)
    assert np.abs(model(low) - interpolate(low)).mean() > 0.01
    layer = model.get_layer(last)
    layer.set_weights([np.zeros(w.shape) for w in layer.get_weights()])
    np.testing.assert_allclose(model(low), interpolate(low).clip(0, 1), atol=1e-5)


def test_what_is_untrained_and_what_has_no_skip(rng):
    low = rng.uniform(0, 1, (2, 7, 9, 3)).astype(np.float32)
    np.testing.assert_allclose(models.residual(2, 8)(low), interpolate(low).clip(0, 1), atol=1e-5)
    assert "bicubic" not in [x.name for x in models.hourglass(depth=1).layers]


@pytest.mark.parametrize("name", ["nearest", "bicubic", "lanczos"])
def test_baselines_are_interpolation(name, rng):
    model = models.build(name)
    assert model.count_params() == 0
    for size in [(1, 1), (5, 7), (16, 16)]:
        low = rng.uniform(0, 1, (2, *size, 3)).astype(np.float32)
        expected = interpolate(low, 2, name).clip(0, 1)
        np.testing.assert_allclose(model.predict(low, verbose=0), expected, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize(
    ("name", "options"),
    [("residual", {"blocks": 1, "filters": 8}), ("hourglass", {"depth": 1}),
     ("with_upsampler", {"upsampler": "bilinear + conv", "blocks": 1, "filters": 8})],
)  # fmt: skip
def test_predictions_are_float32_in_the_unit_range(name, options, dtype, rng):
    keras.utils.set_random_seed(0)
    model = models.build(name, dtype=dtype, **options)
    low = rng.choice([0.0, 1.0], (2, 8, 8, 3)).astype(np.float32)
    free = model(low, training=True).numpy()
    assert free.min() < 0 or free.max() > 1  # there is something to clip
    for output in (model(low).numpy(), model.predict(low, verbose=0)):
        assert output.dtype == np.float32
        assert output.min() >= 0 and output.max() <= 1
    compute = {x.compute_dtype for x in model.layers if isinstance(x, layers.Conv2D)}
    assert compute == {"float32" if dtype == "float32" else "bfloat16"}
    assert {w.dtype for w in model.weights} == {"float32"}


@pytest.mark.parametrize(
    ("name", "options"),
    [("bicubic", {}), ("linear", {"taps": 9}), ("residual", {"blocks": 1, "filters": 8}),
     ("hourglass", {"depth": 1, "skip": True})]
    + [("with_upsampler", {"upsampler": name, "blocks": 1, "filters": 4}) for name in UPSAMPLERS],
)  # fmt: skip
def test_models_survive_saving(name, options, tmp_path, rng):
    model = models.build(name, **options)
    model.save(tmp_path / "model.keras")
    low = rng.uniform(0, 1, (1, 6, 8, 3)).astype(np.float32)
    np.testing.assert_array_equal(
        keras.models.load_model(tmp_path / "model.keras")(low), model(low)
    )


def test_build_names_what_it_knows():
    assert models.build("residual", blocks=1, filters=4).name == "residual"
    with pytest.raises(ValueError, match=r"'srcnn'.*'bicubic'.*'residual'"):
        models.build("srcnn")
    with pytest.raises(TypeError):
        models.build("bicubic", blocks=3)


# --- the fitted filter


def test_fit_linear_recovers_the_filter_that_made_the_images(rng):
    """White noise enlarged by four known 3x3 filters: they are found again."""
    known = rng.dirichlet(np.ones(9), 4).T.reshape(3, 3, 4)  # positive, each summing to one
    low = rng.integers(0, 256, (2, 24, 20, 3)).astype(np.float32)
    padded = np.pad(low, ((0, 0), (1, 1), (1, 1), (0, 0)), "symmetric")
    high = np.zeros((2, 48, 40, 3), np.float32)
    for dy, dx in np.ndindex(2, 2):
        for i, j in np.ndindex(3, 3):
            shifted = padded[:, i : i + 24, j : j + 20]
            high[:, dy::2, dx::2] += known[i, j, 2 * dy + dx] * shifted
    model = models.fit_linear(models.linear(taps=7), low, high)
    (found,) = model.get_layer("linear").get_weights()
    np.testing.assert_allclose(found[2:5, 2:5], known, atol=1e-4)
    outside = found.copy()
    outside[2:5, 2:5] = 0
    assert np.abs(outside).max() < 1e-4
    np.testing.assert_allclose(model(low / 255), high / 255, atol=1e-3)


def test_fit_linear_is_the_best_linear_filter_on_its_pairs():
    high = np.stack([smooth_photo(32, 32, seed) for seed in range(6)])
    low = downscale(high)
    model = models.linear()

    def error(model):
        prediction = model(to_float(low), training=True).numpy()  # before clipping
        return float(np.mean((prediction - to_float(high)) ** 2, dtype=np.float64))

    start = error(model)
    assert start == pytest.approx(error(models.bicubic()), rel=1e-4)
    best = error(models.fit_linear(model, low, high))
    assert best < start
    (filters,) = model.get_layer("linear").get_weights()
    rng = np.random.default_rng(0)
    for _ in range(4):  # no step in any direction makes it better
        step = 0.01 * rng.normal(size=filters.shape)
        model.get_layer("linear").set_weights([filters + step])
        assert error(model) > best


def test_fit_linear_survives_flat_photos():
    flat = np.full((1, 8, 8, 3), 90, np.uint8)
    model = models.fit_linear(models.linear(), flat, np.full((1, 16, 16, 3), 90, np.uint8))
    np.testing.assert_allclose(model(to_float(flat)), 90 / 255, atol=1e-3)

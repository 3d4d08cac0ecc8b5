"""What is read from a network's layers, against gradients and against counting by hand."""

import keras
import numpy as np
import pytest

import srlib
from srlib import models
from srlib._backend import tf
from srlib.layers.upsampling import UPSAMPLERS
from srlib.models.anatomy import TilingError, flops, receptive_field, size_multiple
from tests.models.zookit import BUILDERS, network

# --- the receptive field


def observed_reach(model: keras.Model) -> int:
    """How far the gradient reaches from single pixels of the result: an independent oracle."""
    reach = 0
    side = 2 * receptive_field(model) + 18
    side += side % 2  # of the strides below
    side += -side % 8
    low = tf.constant(np.random.default_rng(1).uniform(0.3, 0.7, (1, side, side, 3)), tf.float32)
    middle = side // 2 // 8 * 8
    run = getattr(model, "model", model)
    for row, column in ((0, 0), (1, 1), (0, 1), (7, 6), (15, 15), (8, 2)):
        with tf.GradientTape() as tape:
            tape.watch(low)
            # Without the last layer, which clips: a clipped value has no gradient.
            high = keras.Model(run.inputs, run.layers[-1].input)(low, training=False)
            value = tf.reduce_sum(high[0, 2 * middle + row, 2 * middle + column])
        gradient = tape.gradient(value, low).numpy()[0]
        for axis, offset in ((0, row), (1, column)):
            seen = np.flatnonzero(np.abs(gradient).max(axis=(1 - axis, 2)))
            own = middle + offset // 2
            reach = max(reach, own - seen[0], seen[-1] - own)
    return reach


@pytest.mark.parametrize("name", BUILDERS)
def test_the_receptive_field_is_what_gradients_reach(name):
    """Never less than what is seen, and not much more: overlap is computed for nothing."""
    computed, observed = receptive_field(network(name)), observed_reach(network(name))
    assert observed <= computed <= observed + 2


def test_the_receptive_field_of_the_default_network_by_hand():
    # 3x3 convolutions: stem, two in each of six blocks, body, sub-pixel; half a pixel of phase.
    assert receptive_field(models.residual()) == 1 + 6 * 2 + 1 + 1 + 1
    assert receptive_field(models.nearest()) == 1
    assert receptive_field(models.bicubic()) == 3


def test_what_would_be_overlooked_is_refused():
    """What is no network, operations that are no layers, and layers used twice."""
    with pytest.raises(TilingError, match="unknown"):
        receptive_field(lambda images: images)
    low = keras.Input((None, None, 3))
    convolution = keras.layers.Conv2D(3, 3, padding="same", name="twice")
    with pytest.raises(TilingError, match="twice: is used more than once"):
        receptive_field(keras.Model(low, convolution(convolution(low))))
    whole = keras.ops.mean(low, axis=(1, 2), keepdims=True)
    enlarged = keras.layers.UpSampling2D(2)(low - whole)
    with pytest.raises(TilingError, match="Mean layer is not known"):
        receptive_field(keras.Model(low, enlarged))
    joined = keras.layers.Add()([low, keras.layers.Conv2D(3, 3, 2, "same")(low)])
    with pytest.raises(TilingError, match="joins images of different sizes"):
        receptive_field(keras.Model(low, joined))


@pytest.mark.parametrize(
    "options",
    [{"padding": "valid"}, {"dilation_rate": 2, "padding": "same"}],
)
def test_convolutions_of_another_kind_are_refused(options):
    low = keras.Input((None, None, 3))
    high = keras.layers.UpSampling2D(2)(keras.layers.Conv2D(3, 3, name="odd", **options)(low))
    with pytest.raises(TilingError, match="odd: only"):
        receptive_field(keras.Model(low, high))


@pytest.mark.parametrize("options", [{"strides": 1}, {"padding": "same"}])
def test_pools_that_shrink_or_cut_the_image_are_refused(options):
    low = keras.Input((None, None, 3))
    high = keras.layers.AveragePooling2D(2, name="pool", **options)(low)
    with pytest.raises(TilingError, match="pool: a AveragePooling2D"):
        receptive_field(keras.Model(low, high))


# --- sizes and cost


def test_size_multiple():
    hourglass = models.hourglass()
    assert size_multiple(hourglass) == 8
    assert size_multiple(models.residual(1, 4)) == 1
    assert size_multiple(lambda images: images) == 1
    assert size_multiple(models.bicubic()) == 1
    assert hourglass(np.zeros((1, 8, 16, 3), np.float32)).shape == (1, 16, 32, 3)
    other = hourglass(np.zeros((1, 12, 16, 3), np.float32))
    assert other.shape != (1, 24, 32, 3)  # so other sizes must be padded by the caller


def residual_by_hand(height, width):
    weights = 9 * 3 * 4 + 3 * (9 * 4 * 4) + 9 * 4 * 12  # stem, two in the block, body, upsampling
    interpolation = 3 * 4 * 25  # four phases of 5x5 for each colour
    return 2 * height * width * (weights + interpolation)


def hourglass_by_hand(height, width):
    # (weights, enlargement): output positions of a convolution, inputs of a transposed one.
    layers = [
        (81 * 3 * 64, 1),
        (16 * 64 * 64, 1 / 2),
        *[(9 * 64 * 64, 1 / 2)] * 6,
        (16 * 64 * 64, 1 / 2),
        (16 * 64 * 64, 1),
        (81 * 64 * 3, 2),
    ]
    return sum(2 * weights * height * width * larger**2 for weights, larger in layers)


def upsampler_by_hand(name):
    """A transposed convolution counts positions of its input, a convolution of its output."""
    filters = 6
    trunk = 27 * filters + 4 * 9 * filters**2
    kernel = {"deconv k4s2": 16, "deconv k3s2": 9, "deconv + box": 16}.get(name, 4 * 9)
    last, interpolation = 4 * 27 * filters, 3 * 4 * 25
    total = trunk + kernel * filters**2 + last + interpolation
    return lambda height, width: 2 * height * width * total


COSTS = {
    "residual": (lambda: models.residual(blocks=1, filters=4), residual_by_hand),
    "hourglass": (lambda: models.hourglass(depth=1), hourglass_by_hand),
} | {
    name: (lambda name=name: models.with_upsampler(name, 2, 6), upsampler_by_hand(name))
    for name in UPSAMPLERS
}


@pytest.mark.parametrize("name", COSTS)
def test_flops_by_hand(name):
    make, by_hand = COSTS[name]
    model = make()
    assert flops(model, 10, 6) == by_hand(10, 6)
    assert flops(model) == by_hand(64, 64)
    assert flops(srlib.self_ensemble(model), 10, 6) == 8 * by_hand(10, 6)

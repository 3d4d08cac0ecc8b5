"""Tiles make the very picture that the network makes at once."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import srlib
from srlib.models.anatomy import TilingError, receptive_field
from srlib.upscaling import tiles
from srlib.upscaling.network import predict
from srlib.upscaling.tiles import enlarge
from tests.models.zookit import BUILDERS, network


def pixels(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


# --- networks of one's own


def test_unknown_layers_are_refused_by_name():
    low = keras.Input((None, None, 3))
    mean = keras.layers.GlobalAveragePooling2D(keepdims=True, name="whole")(low)
    enlarged = keras.layers.Add()([keras.layers.UpSampling2D(2)(low), mean])
    model = keras.Model(low, enlarged, name="global")
    with pytest.raises(TilingError, match="whole: a GlobalAveragePooling2D"):
        receptive_field(model)
    small = pixels(20, 30)
    np.testing.assert_allclose(
        enlarge(model, small / 255, tile=None), predict(model, small[None])[0]
    )
    assert enlarge(model, small).shape == (40, 60, 3)  # fits in one tile
    with pytest.raises(TilingError, match=r"whole: .*400x20 pixels are too many.*tile=None"):
        enlarge(model, pixels(20, 400))
    with pytest.raises(TilingError, match="whole"):
        enlarge(model, small, tile=8)


@settings(max_examples=5, deadline=None)
@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 20))
def test_a_network_of_the_readers_own(height, width, tile):
    keras.utils.set_random_seed(4)
    low = keras.Input((None, None, 3))
    wide = keras.layers.Conv2D(4, 5, padding="same", activation="relu")(low)
    wide = keras.layers.MaxPooling2D(3, 1, padding="same")(wide)
    both = keras.layers.Concatenate()([low, keras.layers.Dropout(0.5)(wide)])
    enlarged = keras.layers.UpSampling2D(2)(both)
    model = keras.Model(low, keras.layers.Conv2D(3, 3, padding="same")(enlarged))
    image = pixels(height, width) / 255.0
    whole = predict(model, image[None])[0]
    np.testing.assert_allclose(enlarge(model, image, 2, tile), whole, atol=2e-6)


# --- without a seam


@pytest.mark.parametrize("name", BUILDERS)
@settings(max_examples=6, deadline=None)
@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 40), st.integers(0, 9))
def test_tiled_is_untiled(name, height, width, tile, seed):
    model, image = network(name), pixels(height, width, seed)
    whole = predict(model, image[None])[0]
    np.testing.assert_allclose(enlarge(model, image / 255.0, 2, tile), whole, atol=2e-6)
    grey = enlarge(model, image, 2, tile).astype(int) - np.rint(whole * 255)
    assert np.abs(grey).max() <= 1


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 30))
@pytest.mark.parametrize("name", ["bicubic", "residual", "hourglass-1"])
def test_four_times_is_twice_twice(name, height, width, tile):
    model, image = network(name), pixels(height, width) / 255.0
    twice = predict(model, predict(model, image[None]))[0]
    np.testing.assert_allclose(enlarge(model, image, 4, tile), twice, atol=5e-6)


@pytest.mark.parametrize("name", ["residual-mse", "hourglass-mse", "espcn"])
def test_shipped_networks_have_no_seam(name):
    """More tiles than one each way, at the tile size that users get and at an odd one."""
    model = srlib.load(name)
    image = pixels(150, 283)
    whole = predict(model, image[None])[0]
    for tile in ("auto", 61):
        np.testing.assert_allclose(enlarge(model, image / 255.0, 2, tile), whole, atol=1e-5)


def test_too_little_overlap_would_show(monkeypatch):
    """The property has teeth: one pixel less than the field, and tiles differ."""
    model, image = network("residual"), pixels(40, 40) / 255.0
    whole = predict(model, image[None])[0]
    needed = receptive_field(model)
    monkeypatch.setattr(tiles, "receptive_field", lambda _: needed - 2)
    assert np.abs(enlarge(model, image, 2, 16) - whole).max() > 1e-5


def test_tiles_off_the_grid_would_show(monkeypatch):
    model, image = network("hourglass-1"), pixels(64, 64) / 255.0
    whole = predict(model, image[None])[0]
    monkeypatch.setattr(tiles, "size_multiple", lambda _: 1)
    assert np.abs(enlarge(model, image, 2, 7) - whole).max() > 1e-4


# --- kinds, progress, errors


def test_sixteen_bits_stay_sixteen_bits():
    model = network("bicubic")
    deep = np.random.default_rng(0).integers(0, 65536, (9, 13, 3)).astype(np.uint16)
    large = enlarge(model, deep, tile=5)
    assert large.dtype == np.uint16
    whole = predict(model, (deep / 65535.0)[None])[0]
    assert np.abs(large - whole * 65535.0).max() <= 0.51


def test_on_tile_counts_every_pixel_and_can_stop():
    seen = []
    enlarge(network("bicubic"), pixels(30, 50), tile=16, on_tile=seen.append)
    assert len(seen) == 2 * 4
    assert sum(seen) == 30 * 50

    def stop(_):
        seen.append("called")
        raise KeyboardInterrupt

    seen.clear()
    with pytest.raises(KeyboardInterrupt):
        enlarge(network("bicubic"), pixels(30, 50), tile=16, on_tile=stop)
    assert seen == ["called"]


@pytest.mark.parametrize("tile", [0, -3, 1.5, "big", True])
def test_odd_tiles_are_refused(tile):
    with pytest.raises(ValueError, match="tile must be"):
        enlarge(network("bicubic"), pixels(4, 4), tile=tile)


@pytest.mark.parametrize("scale", [1, 3, 8, "2", 2.0])
def test_odd_scales_are_refused(scale):
    with pytest.raises(ValueError, match="scale must be 2 or 4"):
        enlarge(network("bicubic"), pixels(4, 4), scale=scale)


def test_what_is_no_image_is_refused():
    for shape in ((4, 4), (4, 4, 4), (0, 4, 3), (1, 4, 4, 3)):
        with pytest.raises(ValueError, match="expected an RGB image"):
            enlarge(network("bicubic"), np.zeros(shape, np.uint8))
    with pytest.raises(ValueError, match="divide by 255"):
        enlarge(network("bicubic"), np.full((4, 4, 3), 200.0))

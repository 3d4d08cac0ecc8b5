"""Every kind of picture goes through a network for RGB, and comes back as what it was."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from srlib import resize
from srlib.imagefile import Animation, Picture
from srlib.imagefile.metadata import Metadata
from srlib.upscaling import channels
from tests.imagefile.imagekit import double, photo


def bicubic(image: np.ndarray) -> np.ndarray:
    large = resize.interpolate(image, 2)
    return large if image.dtype == np.uint8 else np.rint(large.clip(0, 65535)).astype(np.uint16)


def disc(size: int, channels: int = 3) -> np.ndarray:
    """A white disc on transparent black, its rim as soft as pixels make it."""
    fine = 8
    y, x = (np.mgrid[0 : size * fine, 0 : size * fine] + 0.5) / fine - size / 2
    inside = (y**2 + x**2 < (size * 0.35) ** 2).reshape(size, fine, size, fine).mean((1, 3))
    alpha = np.rint(inside * 255).astype(np.uint8)
    colour = np.where(alpha > 0, 255, 0).astype(np.uint8)
    return np.stack([colour] * channels + [alpha], -1)


def on_white(rgba: np.ndarray) -> np.ndarray:
    alpha = rgba[..., -1:] / 255.0
    return rgba[..., :-1] * alpha + 255 * (1 - alpha)


@pytest.mark.parametrize("kind", ["RGBA", "LA"])
def test_no_dark_fringe_around_what_is_cut_out(kind):
    small = disc(24, len(kind) - 1)
    ours = on_white(channels.enlarge_pixels(small, kind, bicubic))
    naive = on_white(bicubic(small))
    assert ours.min() >= 254  # white on white: the truth is 255 everywhere
    assert naive.min() < 235  # what would have been seen


def test_a_cut_out_photo_is_nearer_to_the_truth_than_the_naive_way():
    large = np.concatenate((photo(64, 48), disc(64)[:48, :, -1:]), -1).astype(float)
    weighted = np.concatenate((large[..., :3] * large[..., 3:] / 255, large[..., 3:]), -1)
    means = weighted.reshape(24, 2, 32, 2, 4).mean((1, 3))
    colour = np.where(means[..., 3:] > 0, means[..., :3] * 255 / np.maximum(means[..., 3:], 1), 0)
    small = np.rint(np.concatenate((colour, means[..., 3:]), -1)).astype(np.uint8)
    small[small[..., 3] == 0] = 0
    errors = [
        np.abs(on_white(result) - on_white(large)).mean()
        for result in (channels.enlarge_pixels(small, "RGBA", bicubic), bicubic(small))
    ]
    assert errors[0] < errors[1]


def test_spread_by_hand():
    colour = np.array([[[10], [90], [0], [0], [0], [0], [0], [0]]], np.uint8)
    alpha = np.array([[255, 255, 0, 0, 0, 0, 0, 0]], np.uint8)
    assert channels.spread(colour, alpha)[0, :, 0].tolist() == [10, 90] + [50] * 6
    weighted = channels.spread(colour, np.array([[255, 85, 0, 0, 0, 0, 0, 0]], np.uint8))
    assert weighted[0, :, 0].tolist() == [10, 90] + [30] * 6  # (255*10 + 85*90) / 340


@given(
    height=st.integers(1, 9), width=st.integers(1, 9), share=st.floats(0, 1),
    seed=st.integers(0, 99), dtype=st.sampled_from([np.uint8, np.uint16]),
)  # fmt: skip
def test_spread_keeps_what_is_seen_and_stays_within_it(height, width, share, seed, dtype):
    rng = np.random.default_rng(seed)
    top = np.iinfo(dtype).max
    colour = rng.integers(0, top + 1, (height, width, 3)).astype(dtype)
    covered = rng.random((height, width)) > share
    alpha = (rng.integers(1, top + 1, (height, width)) * covered).astype(dtype)
    before = colour.copy()
    result = channels.spread(colour, alpha)
    np.testing.assert_array_equal(colour, before)
    seen = alpha > 0
    np.testing.assert_array_equal(result[seen], colour[seen])
    if seen.any():
        assert (result >= colour[seen].min(0)).all() and (result <= colour[seen].max(0)).all()
    else:
        np.testing.assert_array_equal(result, colour)


def test_spread_of_many_bands_equals_that_of_one(monkeypatch, rng):
    colour = rng.integers(0, 256, (40, 13, 3), dtype=np.uint8)
    alpha = np.where(rng.random((40, 13)) < 0.1, 200, 0).astype(np.uint8)
    whole = channels.spread(colour, alpha)
    monkeypatch.setattr(channels, "_BAND", 8)
    np.testing.assert_array_equal(channels.spread(colour, alpha), whole)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_alpha_is_enlarged_as_resize_does_it(dtype, rng):
    top = np.iinfo(dtype).max
    plane = rng.integers(0, top + 1, (150, 7)).astype(dtype)  # more than one band of rows
    plane[:20], plane[20:40] = top, 0
    ours = channels._bicubic(plane, 2)
    truth = np.rint(resize.interpolate(plane[..., None].astype(np.float32), 2)[..., 0].clip(0, top))
    assert np.abs(ours - truth).max() <= 1 and ours.dtype == dtype
    assert (ours[:36] == top).all() and (ours[44:76] == 0).all()


def test_grey_goes_through_as_three_equal_channels_and_their_mean_comes_back():
    seen = []

    def network(rgb):
        seen.append(rgb)
        return double(rgb) + np.array([0, 1, 5], np.uint8)

    grey = photo(channels=1)
    large = channels.enlarge_pixels(grey, "L", network)
    np.testing.assert_array_equal(seen[0], np.repeat(grey, 3, -1))
    np.testing.assert_array_equal(large, double(grey) + 2)


def test_inks_go_through_inverted_and_black_apart():
    seen = []

    def network(rgb):
        seen.append(rgb)
        return double(rgb)

    inks = photo(channels=4)
    np.testing.assert_array_equal(channels.enlarge_pixels(inks, "CMYK", network), double(inks))
    np.testing.assert_array_equal(seen[0], 255 - inks[..., :3])
    np.testing.assert_array_equal(seen[1], 255 - np.repeat(inks[..., 3:], 3, -1))


@pytest.mark.parametrize(
    "wrong", [lambda a: a, lambda a: double(a).astype(float), lambda a: double(a)[..., :1]]
)
def test_a_network_that_breaks_its_promise_is_found_out(wrong):
    with pytest.raises(ValueError, match="instead of uint8"):
        channels.enlarge_pixels(photo(), "RGB", wrong)


def test_all_that_belongs_to_a_picture_stays_and_frames_wait_until_they_are_asked_for():
    calls = []

    def network(rgb):
        calls.append(rgb)
        return double(rgb)

    small = Picture(photo(), "RGB", Metadata(comment=b"mine"), True, 40.0)
    moving = channels.enlarge(Animation(iter([small] * 3), plays=2), network)
    assert moving.plays == 2 and not calls
    for count in (1, 2, 3):
        large = next(moving.frames)
        assert len(calls) == count
        np.testing.assert_array_equal(large.pixels, double(photo()))
        assert (large.kind, large.metadata, large.lossless, large.milliseconds) == (
            small.kind, small.metadata, True, 40.0,
        )  # fmt: skip


@pytest.mark.parametrize("kind", ["L", "RGB", "RGBA", "CMYK"])
def test_memory_is_little_more_than_input_and_output(kind, rng):
    channel_count = len(Image.new(kind, (1, 1)).getbands())
    image = rng.integers(0, 256, (1500, 1000, channel_count), dtype=np.uint8)
    large = np.zeros((3000, 2000, 3), np.uint8)
    channels.enlarge_pixels(image[:9, :9], kind, double)  # what is cached is not counted
    tracemalloc.start()
    try:
        result = channels.enlarge_pixels(image, kind, lambda rgb: large)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1.2 * result.nbytes + 5 * image.nbytes + 8e6  # and bands of rows

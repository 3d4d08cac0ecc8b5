"""Any image in, one twice as large out, or one clear error."""

import os

import keras
import numpy as np
import pytest
from conftest import smooth_photo
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import srlib
from srlib import inference, models
from srlib.backend import tf
from srlib.inference import predict, upscale, upscale_file
from srlib.resize import upscale as interpolate
from srlib.sources import PhotoError


@pytest.fixture(scope="module")
def bicubic():
    return models.bicubic()


@pytest.fixture(scope="module")
def residual():
    """A small network whose last layer does not start at zero."""
    keras.utils.set_random_seed(5)
    model = models.residual(blocks=1, filters=4)
    for variable in model.get_layer("upsample").variables:
        noise = np.random.default_rng(5).normal(0, 0.1, variable.shape)
        variable.assign(noise.astype(np.float32))
    return model


# --- arrays


@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 3))
def test_any_size_is_doubled_and_in_range(residual, height, width, count):
    images = np.random.default_rng(height * width).random((count, height, width, 3))
    high = predict(residual, images)
    assert high.shape == (count, 2 * height, 2 * width, 3)
    assert high.dtype == np.float32
    assert high.min() >= 0
    assert high.max() <= 1


def test_sizes_are_padded_by_mirroring_and_cut_again(rng, monkeypatch):
    seen = []

    def record(images):
        seen.append(images)
        return images

    def double(images, training):
        assert not training
        images = tf.numpy_function(record, [images], tf.float32)
        return tf.repeat(tf.repeat(images, 2, axis=1), 2, axis=2)

    monkeypatch.setattr(inference, "size_multiple", lambda _: 8)
    images = rng.random((2, 5, 11, 3), np.float32)
    high = predict(double, images)
    (padded,) = seen
    assert padded.shape == (2, 8, 16, 3)
    np.testing.assert_array_equal(padded[:, :5, :11], images)
    np.testing.assert_array_equal(padded[:, 5:, :11], images[:, 4:1:-1])
    np.testing.assert_array_equal(padded[:, :5, 11:], images[:, :, 10:5:-1])
    np.testing.assert_array_equal(high, images.repeat(2, axis=1).repeat(2, axis=2))


def test_new_weights_give_new_results(rng):
    model = models.linear(5)
    images = rng.uniform(0.4, 0.6, (1, 4, 4, 3)).astype(np.float32)  # nothing to clip
    before = predict(model, images)
    layer = model.get_layer("linear")
    layer.set_weights([weight * 0.5 for weight in layer.get_weights()])
    np.testing.assert_allclose(predict(model, images), before * 0.5, atol=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (7, 9), (8, 16)])
def test_the_hourglass_takes_any_size(size, rng):
    keras.utils.set_random_seed(1)
    model = models.hourglass(depth=1)
    images = rng.random((1, *size, 3), np.float32)
    high = predict(model, images)
    assert high.shape == (1, 2 * size[0], 2 * size[1], 3)
    pad = [(0, 0), *((0, -n % 2) for n in size), (0, 0)]
    whole = np.asarray(model(np.pad(images, pad, "symmetric"), training=False))
    np.testing.assert_array_equal(high, whole[:, : 2 * size[0], : 2 * size[1]])


@pytest.mark.parametrize("batch_size", [1, 2, 5, 100])
def test_batches_do_not_change_results(residual, batch_size, rng):
    images = rng.integers(0, 256, (5, 6, 9, 3), np.uint8)
    one_by_one = np.stack([predict(residual, image[None])[0] for image in images])
    np.testing.assert_allclose(predict(residual, images, batch_size), one_by_one, atol=1e-6)


def test_uint8_and_float_say_the_same(residual, rng):
    image = rng.integers(0, 256, (6, 9, 3), np.uint8)
    eight_bit, unit = upscale(image, residual), upscale(image / 255.0, residual)
    assert (eight_bit.dtype, unit.dtype) == (np.uint8, np.float32)
    assert eight_bit.shape == unit.shape == (12, 18, 3)
    np.testing.assert_array_equal(eight_bit, np.rint(unit * 255))
    assert srlib.upscale is upscale


def test_bicubic_is_the_interpolation(bicubic):
    photo = smooth_photo(12, 15, 3)
    difference = upscale(photo, bicubic).astype(int) - interpolate(photo)
    assert np.abs(difference).max() <= 1
    assert np.mean(difference != 0) < 0.01  # exact halves may round either way


@pytest.mark.parametrize(
    "shape", [(4, 4), (4, 4, 3), (1, 4, 4, 4), (1, 4, 4, 1), (0, 4, 4, 3), (1, 0, 4, 3), (3,)]
)
def test_predict_refuses_what_is_no_batch_of_images(bicubic, shape):
    with pytest.raises(ValueError, match=r"expected RGB images \(N, H, W, 3\)") as caught:
        predict(bicubic, np.zeros(shape, np.float32))
    assert str(shape) in str(caught.value)


@pytest.mark.parametrize("shape", [(4, 4), (1, 4, 4, 3), (4, 4, 4), (4, 4, 1), (0, 4, 3), ()])
def test_upscale_refuses_what_is_no_image(bicubic, shape):
    with pytest.raises(ValueError, match=r"expected an RGB image \(H, W, 3\)") as caught:
        upscale(np.zeros(shape, np.uint8), bicubic)
    assert str(shape) in str(caught.value)


# --- files


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "in.png"
    Image.fromarray(smooth_photo(10, 14, 0)).save(path)
    return path


def only(folder) -> set[str]:
    """Names of everything in a folder, hidden files too."""
    return {path.name for path in folder.iterdir()}


FORMATS = {"png": "PNG", "jpg": "JPEG", "JPEG": "JPEG", "webp": "WEBP", "tif": "TIFF"}


@pytest.mark.parametrize("ending", FORMATS)
def test_every_format_is_written_whole(photo, tmp_path, bicubic, ending):
    target = tmp_path / f"out.{ending}"
    assert upscale_file(photo, target, bicubic) == (28, 20)
    assert only(tmp_path) == {"in.png", target.name}
    with Image.open(target) as image:
        assert image.format == FORMATS[ending]
        assert (image.mode, image.size) == ("RGB", (28, 20))
        written = np.asarray(image).astype(int)
    expected = upscale(smooth_photo(10, 14, 0), bicubic)
    lossless = FORMATS[ending] in ("PNG", "TIFF")
    assert np.abs(written - expected).mean() <= (0 if lossless else 4)


def test_rotation_in_exif_is_applied(tmp_path, bicubic):
    upright = smooth_photo(10, 14, 1)
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its left side
    lying = Image.fromarray(np.rot90(upright))
    lying.save(tmp_path / "in.png", exif=exif)
    assert upscale_file(tmp_path / "in.png", tmp_path / "out.png", bicubic) == (28, 20)
    with Image.open(tmp_path / "out.png") as image:
        np.testing.assert_array_equal(image, upscale(upright, bicubic))
        assert 0x0112 not in image.getexif()


def test_grey_and_transparent_files(tmp_path, bicubic):
    grey = smooth_photo(10, 14, 2)[..., 0]
    Image.fromarray(grey).save(tmp_path / "grey.png")
    upscale_file(tmp_path / "grey.png", tmp_path / "out.png", bicubic)
    with Image.open(tmp_path / "out.png") as image:
        expected = upscale(grey[..., None].repeat(3, axis=-1), bicubic)
        np.testing.assert_array_equal(image, expected)
    Image.new("RGBA", (4, 4), (200, 0, 0, 0)).save(tmp_path / "clear.png")
    upscale_file(tmp_path / "clear.png", tmp_path / "out.png", bicubic)
    with Image.open(tmp_path / "out.png") as image:
        np.testing.assert_array_equal(image, np.full((8, 8, 3), 255))


@pytest.mark.parametrize("name", ["out.svg", "out", "out.npy", ".png"])
def test_an_unknown_ending_lists_the_known(photo, tmp_path, bicubic, name):
    with pytest.raises(PhotoError, match=r"cannot write .*\.png, \.jpg.*\.tif") as caught:
        upscale_file(photo, tmp_path / name, bicubic)
    assert str(tmp_path / name) in str(caught.value)
    assert only(tmp_path) == {"in.png"}


def test_the_input_is_never_overwritten(photo, tmp_path, bicubic, monkeypatch):
    content = photo.read_bytes()
    (tmp_path / "link.png").symlink_to(photo)
    (tmp_path / "hard.png").hardlink_to(photo)
    monkeypatch.chdir(tmp_path)
    for source, target in [
        (photo, photo),
        (photo, "in.png"),
        ("in.png", tmp_path / "." / "in.png"),
        (photo, "link.png"),
        ("link.png", photo),
        (photo, "hard.png"),
    ]:
        with pytest.raises(PhotoError, match="is the input itself"):
            upscale_file(source, target, bicubic)
    assert photo.read_bytes() == content
    assert only(tmp_path) == {"in.png", "link.png", "hard.png"}


def test_a_missing_folder_is_named_and_not_made(photo, tmp_path, bicubic):
    for target in (tmp_path / "new" / "out.png", photo / "out.png"):
        with pytest.raises(PhotoError, match=r"out\.png: there is no folder"):
            upscale_file(photo, target, bicubic)
    assert only(tmp_path) == {"in.png"}


def test_a_folder_as_target(photo, tmp_path, bicubic):
    (tmp_path / "out.png").mkdir()
    with pytest.raises(PhotoError, match=r"out\.png: cannot be written \(Is a directory\)"):
        upscale_file(photo, tmp_path / "out.png", bicubic)
    assert only(tmp_path) == {"in.png", "out.png"}


def test_a_folder_without_permission(photo, tmp_path, bicubic, monkeypatch):
    def denied(*_, **__):  # root, who runs this in containers, may write anywhere
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Image.Image, "save", denied)
    with pytest.raises(PhotoError, match=r"out\.png: cannot be written \(Permission denied\)"):
        upscale_file(photo, tmp_path / "out.png", bicubic)
    assert only(tmp_path) == {"in.png"}


@pytest.mark.parametrize("fault", ["full", "killed"])
def test_a_failed_write_leaves_the_old_file(photo, tmp_path, bicubic, fault, monkeypatch):
    target = tmp_path / "out.png"
    target.write_bytes(b"old")
    raised, expected, message = {
        "full": (OSError(28, "No space left on device"), PhotoError, "No space left"),
        "killed": (KeyboardInterrupt("stop"), KeyboardInterrupt, "stop"),
    }[fault]

    def fails(*_):
        raise raised

    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(expected, match=message):
        upscale_file(photo, target, bicubic)
    assert target.read_bytes() == b"old"
    assert only(tmp_path) == {"in.png", "out.png"}


def test_an_image_too_large_for_its_format(tmp_path, bicubic):
    Image.new("RGB", (8200, 1)).save(tmp_path / "in.png")  # WebP ends at 16383 pixels
    with pytest.raises(PhotoError, match=r"out\.webp: cannot be written"):
        upscale_file(tmp_path / "in.png", tmp_path / "out.webp", bicubic)
    assert only(tmp_path) == {"in.png"}


@pytest.mark.parametrize("content", [None, b"", b"no image at all"])
@pytest.mark.parametrize("existing", [False, True], ids=["new target", "old target"])
def test_a_source_that_is_no_image_is_named(tmp_path, bicubic, content, existing):
    source, target = tmp_path / "in.jpg", tmp_path / "out.png"
    if content is not None:
        source.write_bytes(content)
    if existing:
        target.write_bytes(b"old")
    before = only(tmp_path)
    with pytest.raises(PhotoError) as caught:
        upscale_file(source, target, bicubic)
    assert str(caught.value).startswith(f"{source}: ")
    assert "\n" not in str(caught.value)
    assert only(tmp_path) == before
    assert not existing or target.read_bytes() == b"old"

"""One call for a file, a PIL image or an array: what comes back is the kind that was given."""

import os
import shutil

import numpy as np
import pytest
from conftest import smooth_photo
from PIL import Image, ImageOps

import srlib
from srlib import imagefile, models
from srlib._backend import tf
from srlib.errors import PhotoError
from srlib.models import cards
from srlib.resize import interpolate
from srlib.upscaling import photo as one_photo
from srlib.upscaling import tiles
from srlib.upscaling.network import predict
from srlib.upscaling.photo import upscale
from tests.imagefile import imagekit

# --- arrays


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


@pytest.mark.parametrize("shape", [(4, 4), (1, 4, 4, 3), (4, 4, 4), (4, 4, 1), (0, 4, 3), ()])
def test_upscale_refuses_what_is_no_image(bicubic, shape):
    with pytest.raises(ValueError, match=r"expected an RGB image \(H, W, 3\)") as caught:
        upscale(np.zeros(shape, np.uint8), bicubic)
    assert str(shape) in str(caught.value)


@pytest.mark.parametrize("image", [None, ["a.jpg", "b.jpg"], np.ones((4, 4, 3), bool)])
def test_what_is_no_image_at_all_is_refused(bicubic, image):
    with pytest.raises(TypeError, match="the path of a file, a PIL image or an RGB array"):
        upscale(image, bicubic)


def test_an_array_of_no_numbers_is_refused(bicubic):
    with pytest.raises(ValueError, match="NaN"):
        upscale(np.full((4, 4, 3), np.nan), bicubic)


def test_arguments_in_the_wrong_place_are_named():
    with pytest.raises(ValueError, match=r"big\.jpg: is no model; name the file .* output="):
        upscale("photo.jpg", "big.jpg")
    with pytest.raises(TypeError, match="not 4; see scale="):
        upscale("photo.jpg", 4)


def test_an_array_as_large_as_you_like(residual):
    photo = smooth_photo(300, 280, 3)
    whole = predict(residual, photo[None])[0]
    assert np.abs(upscale(photo, residual) - whole * 255).max() <= 1


# --- the model


def test_the_model_may_be_a_name_a_file_or_nothing(tmp_path):
    photo = smooth_photo(10, 12, 1)
    expected = predict(srlib.load("residual-mse"), photo[None])[0]
    for model in ((), ("residual-mse",)):
        np.testing.assert_array_equal(upscale(photo, *model), np.rint(expected * 255))
    np.testing.assert_array_equal(upscale(photo, "bicubic"), upscale(photo, models.bicubic()))
    for ending in (cards.SUFFIX, ".json"):
        shutil.copy((cards.FOLDER / "espcn.json").with_suffix(ending), tmp_path / f"mine{ending}")
    mine = upscale(photo, tmp_path / "mine.safetensors")
    np.testing.assert_array_equal(mine, upscale(photo, "espcn"))


def test_shipped_models_are_loaded_once_and_files_each_time(tmp_path):
    assert one_photo.named("espcn") is one_photo.named("espcn")
    for ending in (cards.SUFFIX, ".json"):
        shutil.copy((cards.FOLDER / "espcn.json").with_suffix(ending), tmp_path / f"mine{ending}")
    path = tmp_path / "mine.safetensors"
    assert one_photo.named(path) is not one_photo.named(path)
    with pytest.raises(cards.WeightsError, match="resnet"):
        upscale(smooth_photo(4, 4, 0), "resnet")


# --- PIL images


@pytest.mark.parametrize(("mode", "becomes"), [
    ("1", "L"), ("L", "L"), ("LA", "LA"), ("RGB", "RGB"), ("RGBA", "RGBA"), ("P", "RGB"),
    ("CMYK", "CMYK"), ("YCbCr", "RGB"), ("HSV", "RGB"), ("RGBX", "RGB"), ("La", "LA"),
])  # fmt: skip
def test_a_pil_image_comes_back_as_one(mode, becomes):
    image = imagekit.drawn("LA").convert("La") if mode == "La" else imagekit.drawn(mode)
    large = upscale(image, "nearest")
    assert isinstance(large, Image.Image)
    assert (large.mode, large.size) == (becomes, (44, 28))
    assert (image.mode, image.size) == (mode, (22, 14))  # as it was
    if becomes not in ("LA", "RGBA"):
        expected = imagekit.double(np.asarray(image.convert(becomes)))
        np.testing.assert_array_equal(np.asarray(large), expected)


def test_a_pil_image_keeps_16_bits_of_grey():
    grey = imagekit.photo16(1)[..., 0]
    large = upscale(Image.fromarray(grey), "nearest")
    assert large.mode == "I;16"
    np.testing.assert_array_equal(np.asarray(large), imagekit.double(grey))


def test_a_pil_image_keeps_what_belongs_to_it(tmp_path):
    imagekit.phone(6)(tmp_path / "phone.jpg")
    with Image.open(tmp_path / "phone.jpg") as image:
        large = upscale(image, "nearest")
        expected = imagekit.double(np.asarray(ImageOps.exif_transpose(image)))
    np.testing.assert_array_equal(np.asarray(large), expected)
    assert large.info["icc_profile"] == imagekit.ICC and large.info["dpi"] == (240, 240)
    assert large.getexif().get(0x0112) == 1 and large.getexif()[271] == "Maker"
    assert large.getexif().get_ifd(34665)[40962] == large.width
    imagekit.tiff_with_all(tmp_path / "scan.tif")
    with Image.open(tmp_path / "scan.tif") as image:
        large = upscale(image, "nearest")
        assert large.size == (2 * image.width, 2 * image.height) and image.width == 14
    assert large.getexif()[271] == "Maker" and 258 not in large.getexif()


@pytest.mark.parametrize(("mode", "size", "says"), [
    ("F", (3, 3), "image: has values of 32 bits"),
    ("I", (3, 3), "image: has values of 32 bits"),
    ("RGB", (0, 3), "image: has no pixels"),
])  # fmt: skip
def test_a_pil_image_without_range_or_pixels_is_refused(mode, size, says):
    with pytest.raises(PhotoError, match=says):
        upscale(Image.new(mode, size), "nearest")


def test_of_an_animated_pil_image_the_frame_that_it_stands_at(tmp_path):
    imagekit.moving("GIF")(tmp_path / "moving.gif")
    with Image.open(tmp_path / "moving.gif") as image:
        image.seek(2)
        large = upscale(image, "nearest")
        expected = imagekit.double(np.asarray(image.convert("RGB")))
    np.testing.assert_array_equal(np.asarray(large.convert("RGB")), expected)


def test_four_times(bicubic):
    image = Image.fromarray(smooth_photo(10, 14, 2))
    assert upscale(image, bicubic, 4).size == (56, 40)
    assert upscale(smooth_photo(5, 6, 0), bicubic, scale=4).shape == (20, 24, 3)
    with pytest.raises(ValueError, match="scale must be 2 or 4"):
        upscale(image, bicubic, 3)


# --- files


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "in.png"
    Image.fromarray(smooth_photo(10, 14, 0)).save(path)
    return path


def test_a_path_comes_back_as_one(photo, tmp_path, bicubic):
    for given in (photo, str(photo)):
        written = upscale(given, bicubic, overwrite=True)
        assert written == tmp_path / "in-x2.png"
    assert upscale(photo, bicubic, 4) == tmp_path / "in-x4.png"
    with Image.open(written) as image:
        np.testing.assert_array_equal(image, upscale(smooth_photo(10, 14, 0), bicubic))
    named = upscale(photo, bicubic, output=tmp_path / "large.webp")
    with Image.open(named) as image:
        assert (image.format, image.size) == ("WEBP", (28, 20))


def test_what_exists_is_kept(photo, tmp_path, bicubic):
    target = tmp_path / "out.png"
    target.write_bytes(b"old")
    with pytest.raises(PhotoError, match=r"out\.png: exists already.*overwrite=True"):
        upscale(photo, bicubic, output=target)
    assert target.read_bytes() == b"old"
    upscale(photo, bicubic, output=target, overwrite=True)
    with Image.open(target) as image:
        assert image.size == (28, 20)


@pytest.mark.parametrize("link", [None, os.symlink, os.link], ids=["plain", "symlink", "hard"])
def test_the_input_is_never_the_output(link, photo, bicubic):
    content, output = photo.read_bytes(), photo
    if link:
        output = photo.with_name("link.png")
        link(photo, output)
    for overwrite in (False, True):
        with pytest.raises(PhotoError, match="is the input itself"):
            upscale(photo, bicubic, output=output, overwrite=overwrite)
    assert photo.read_bytes() == content
    assert output.is_symlink() == (link is os.symlink)


def test_a_link_to_nowhere_is_kept(photo, bicubic):
    output = photo.with_name("link.png")
    output.symlink_to(photo.with_name("gone.png"))
    with pytest.raises(PhotoError, match="exists already"):
        upscale(photo, bicubic, output=output)
    assert output.is_symlink()


def test_a_value_has_no_output(bicubic, tmp_path):
    with pytest.raises(TypeError, match="output is for files"):
        upscale(smooth_photo(4, 4, 0), bicubic, output=tmp_path / "out.png")


@pytest.mark.parametrize("error", [MemoryError(), tf.errors.ResourceExhaustedError(None, None, "")])
def test_too_little_memory_is_said_so(photo, tmp_path, bicubic, monkeypatch, error):
    def fails(*_, **__):
        raise error

    monkeypatch.setattr(tiles, "enlarge", fails)
    with pytest.raises(PhotoError, match=r"in\.png: not enough memory; try a smaller tile"):
        upscale(photo, bicubic)
    assert {path.name for path in tmp_path.iterdir()} == {"in.png"}


@pytest.mark.parametrize(
    ("name", "format", "ending"),
    [
        ("a.JPG", None, ".JPG"),
        ("a.jpeg", None, ".jpeg"),
        ("a.jpg", "png", ".png"),
        ("a.tiff", "tiff", ".tiff"),
        ("a.bmp", None, ".png"),
        ("a.bmp", "webp", ".webp"),
    ],
)
def test_the_ending_is_the_sources_own_where_it_can_be(tmp_path, name, format, ending):
    kind = "JPEG" if name.lower().endswith(("jpg", "jpeg")) else None
    Image.new("RGB", (3, 2)).save(tmp_path / name, format=kind)
    assert one_photo.target_ending(tmp_path / name, format) == ending
    assert ending.lower() in imagefile.ENDINGS

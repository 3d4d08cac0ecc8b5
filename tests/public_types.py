"""The types that a user of srlib sees: read by mypy in `make test`, never run."""

from pathlib import Path

import numpy as np
from PIL import Image
from typing_extensions import assert_type

import srlib
from srlib import data, imagefile, models, training
from srlib.evaluation import Protocol, Scores
from srlib.resize import interpolate


def what_comes_back_is_the_kind_that_was_given(
    array: np.ndarray, image: Image.Image, path: Path
) -> None:
    assert_type(srlib.upscale(array), np.ndarray)
    assert_type(srlib.upscale(image, "espcn", 4), Image.Image)
    assert_type(srlib.upscale(path, output="large.png", overwrite=True), Path)
    assert_type(srlib.upscale("photo.jpg", tile=128), Path)
    assert_type(interpolate(array), np.ndarray)
    srlib.upscale(array, output="large.png")  # type: ignore[call-overload]


def the_other_public_names(array: np.ndarray) -> None:
    network = srlib.self_ensemble(srlib.load("residual-mse"))
    assert_type(srlib.available(), list[str])
    assert_type(srlib.predict(network, array), np.ndarray)
    photos = srlib.photos("embedded", "test").take(4)
    assert_type(photos, data.PhotoSet)
    assert_type(srlib.evaluate({"mine": network}, photos, Protocol("y", shave=2)), Scores)
    assert_type(data.pairs(photos), data.Pairs)
    srlib.psnr(array, array, chanel="y")  # type: ignore[call-arg]


def rooms_have_types_too(path: Path, photos: data.PhotoSet) -> None:
    assert_type(imagefile.pixel_count(path), int)
    assert_type(models.receptive_field(srlib.load("espcn")), int)
    recipe = training.Recipe(epochs=1)
    model = training.build_for("residual", recipe)
    history = training.train(model, photos, data.pairs(photos), recipe, "run")
    assert_type(history, list[dict[str, float]])

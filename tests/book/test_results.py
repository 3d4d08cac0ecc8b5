"""Recorded results, and the pitfalls of protocols."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from conftest import smooth_photo
from skimage.metrics import peak_signal_noise_ratio

import srlib
from srlib import models
from srlib.book import pitfalls, results
from srlib.pixels import to_float
from srlib.resize import downscale, interpolate, resize
from srlib.upscaling.network import predict

# --- recorded results


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(results, "FOLDER", tmp_path / "recorded")
    return tmp_path / "recorded"


def test_a_result_comes_back_with_what_made_it(folder):
    content = {"psnr": [31.5, 28.25], "note": "ü"}
    path = results.write("some", content, folder=folder, command="python x.py", seed=3)
    assert path == folder / "some.json"
    assert [p.name for p in folder.iterdir()] == ["some.json"]
    again = results.read("some")
    made_by = again.pop("made_by")
    assert again == content
    assert made_by["command"] == "python x.py"
    assert made_by["seed"] == 3
    assert made_by["commit"] == results.commit()
    assert {"device", "python", "tensorflow", "keras"} <= made_by.keys()


def test_writing_again_replaces(folder):
    results.write("some", {"a": 1}, folder=folder)
    results.write("some", {"b": 2}, folder=folder)
    assert results.read("some").keys() == {"made_by", "b"}


@pytest.mark.parametrize("fault", ["killed", "not JSON"])
def test_a_failed_write_leaves_the_old_result(folder, fault, monkeypatch):
    results.write("some", {"a": 1}, folder=folder)
    before = (folder / "some.json").read_bytes()

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises((KeyboardInterrupt, TypeError)):
        if fault == "killed":
            patch.setattr(os, "replace", killed)
        results.write("some", {"a": object() if fault == "not JSON" else 2}, folder=folder)
    assert (folder / "some.json").read_bytes() == before
    assert [p.name for p in folder.iterdir()] == ["some.json"]


def test_an_unknown_result_lists_the_known(folder):
    for name in ("one", "two"):
        results.write(name, {}, folder=folder)
    with pytest.raises(FileNotFoundError, match=r"no recorded result 'three'.*\['one', 'two'\]"):
        results.read("three")


def test_recorded_results_are_json_that_says_what_made_it():
    paths = list((Path(srlib.__file__).parent / "book" / "recorded").glob("*.json"))
    assert paths
    for path in paths:
        assert results.read(path.stem) == json.loads(path.read_text())


def test_commit_without_git_or_checkout(monkeypatch, tmp_path):
    def no_git(*_, **__):
        raise FileNotFoundError(2, "No such file or directory", "git")

    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "run", no_git)
        assert results.commit() == "unknown"
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))
    assert results.commit() == "unknown"


# --- pitfalls


@pytest.fixture(scope="module")
def truths() -> list[np.ndarray]:
    sizes = [(32, 40), (48, 32), (36, 36)]
    return [smooth_photo(h, w, i) for i, (h, w) in enumerate(sizes)]


def bicubic_of(truth: np.ndarray) -> np.ndarray:
    """Bicubic enlargement of the half-size photo, 8-bit, by the model."""
    high = predict(models.bicubic(), downscale(truth)[None])[0]
    return np.rint(high * 255).astype(np.uint8)


def luma(image: np.ndarray, black=16.0, gain=219.0) -> np.ndarray:
    return black + gain * (image / 255.0) @ np.array([0.299, 0.587, 0.114])


def test_the_fields_protocol_is_psnr_of_y_with_two_pixels_shaved(truths):
    values = [srlib.psnr(t, bicubic_of(t), channel="y", shave=2) for t in truths]
    assert pitfalls.bicubic_psnr(truths) == pytest.approx(np.mean(values), abs=1e-3)
    edge = (slice(2, -2), slice(2, -2))
    by_hand = [
        peak_signal_noise_ratio(luma(t)[edge], luma(bicubic_of(t))[edge], data_range=255)
        for t in truths
    ]
    assert pitfalls.bicubic_psnr(truths) == pytest.approx(np.mean(by_hand), abs=2e-3)


def test_rgb_and_full_range_y(truths):
    edge = (slice(2, -2), slice(2, -2))
    rgb = [peak_signal_noise_ratio(t[edge], bicubic_of(t)[edge], data_range=255) for t in truths]
    assert pitfalls.bicubic_psnr(truths, "RGB instead of Y") == pytest.approx(
        np.mean(rgb), abs=2e-3
    )
    # Studio range squeezes errors by 219/255 and so flatters by 1.32 dB, on any photo.
    full = pitfalls.bicubic_psnr(truths, "full-range instead of studio-range Y")
    gain = 20 * np.log10(255 / 219)
    assert pitfalls.bicubic_psnr(truths) - full == pytest.approx(gain, abs=1e-3)


def test_pooled_errors_never_score_higher(truths):
    field = pitfalls.bicubic_psnr(truths)
    pooled = pitfalls.bicubic_psnr(truths, "PSNR of the mean error")
    assert pooled < field
    errors = [255**2 / 10 ** (pitfalls.bicubic_psnr([t]) / 10) for t in truths]
    assert pooled == pytest.approx(10 * np.log10(255**2 / np.mean(errors)))
    one = truths[:1]
    assert pitfalls.bicubic_psnr(one, "PSNR of the mean error") == pitfalls.bicubic_psnr(one)


def test_wrap_around_ruins_a_picture_with_overshoot():
    sharp = np.zeros((32, 32, 3), np.uint8)
    sharp[:, 15:] = 255
    low = to_float(downscale(sharp))
    assert interpolate(low).max() > 1.005  # bicubic overshoots here
    wrapped = pitfalls.bicubic_psnr([sharp], "wrap-around instead of clipping")
    assert wrapped < pitfalls.bicubic_psnr([sharp]) - 5
    soft = np.full((32, 32, 3), 100, np.uint8) + np.arange(32, dtype=np.uint8)[:, None, None] ** 2
    assert pitfalls.bicubic_psnr([soft], "wrap-around instead of clipping") == (
        pitfalls.bicubic_psnr([soft])
    )


def test_truncation_darkens(truths):
    enlarged = [interpolate(to_float(downscale(t))).clip(0, 1) for t in truths]
    edge = (slice(2, -2), slice(2, -2))
    by_hand = [
        peak_signal_noise_ratio(
            luma(t)[edge], luma(np.floor(e.astype(np.float32) * 255))[edge], data_range=255
        )
        for t, e in zip(truths, enlarged, strict=True)
    ]
    truncated = pitfalls.bicubic_psnr(truths, "truncation instead of rounding")
    assert truncated == pytest.approx(np.mean(by_hand), abs=2e-3)
    assert truncated != pytest.approx(pitfalls.bicubic_psnr(truths), abs=1e-3)
    unrounded = pitfalls.bicubic_psnr(truths, "no rounding to 8 bits")
    assert abs(unrounded - pitfalls.bicubic_psnr(truths)) < abs(
        truncated - pitfalls.bicubic_psnr(truths)
    )


def test_nothing_shaved_counts_the_border():
    truth = smooth_photo(32, 32, 5)
    truth[0] = 255 - truth[0]  # one odd row that bicubic cannot keep
    whole = pitfalls.bicubic_psnr([truth], "nothing shaved")
    by_hand = peak_signal_noise_ratio(luma(truth), luma(bicubic_of(truth)), data_range=255)
    assert whole == pytest.approx(by_hand, abs=2e-3)
    assert whole < pitfalls.bicubic_psnr([truth]) - 3


@pytest.mark.parametrize(
    ("variant", "low_of"),
    [
        ("input by every second pixel, shifted", lambda t: t[1::2, 1::2]),
        (
            "input by the 2x2 box",
            lambda t: np.rint(t.reshape(16, 2, 16, 2, 3).mean((1, 3)) + 1e-6).astype(np.uint8),
        ),
        (
            "input by aliased bicubic",
            lambda t: resize(t, (16, 16), "bicubic", antialias=False),
        ),
    ],
)
def test_other_inputs(variant, low_of):
    truth = smooth_photo(32, 32, 7)
    enlarged = interpolate(low_of(truth))
    expected = srlib.psnr(truth, enlarged, channel="y", shave=2)
    assert pitfalls.bicubic_psnr([truth], variant) == pytest.approx(expected, abs=0.05)
    assert pitfalls.bicubic_psnr([truth], variant) != pitfalls.bicubic_psnr([truth])


def test_every_variant_changes_one_choice():
    assert [name for name, change in pitfalls.VARIANTS.items() if not change] == [
        "the field's protocol"
    ]
    for change in pitfalls.VARIANTS.values():
        assert change.keys() <= pitfalls.FIELD.keys()
        assert all(pitfalls.FIELD[key] != value for key, value in change.items())

"""Animations: frames, times and repetitions survive, a frame in memory at a time."""

import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from srlib.errors import PhotoError
from srlib.upscaling.photo import enlarge_file
from tests.imagefile import imagekit
from tests.imagefile.imagekit import double, photo

TIMES = [100, 200, 50, 1000]


def seen(path: Path) -> tuple[list[np.ndarray], list[int], int]:
    """Frames in RGBA, their milliseconds, and how often they are played, as Pillow sees it."""
    with Image.open(path) as image:
        frames, times = [], []
        for index in range(image.n_frames):
            image.seek(index)
            image.load()
            frames.append(np.asarray(image.convert("RGBA")).astype(int))
            times.append(round(image.info["duration"]))
        return frames, times, image.info.get("loop", 1)


@pytest.mark.parametrize(("format", "loop", "plays"), [
    ("GIF", None, 1), ("GIF", 0, 0), ("GIF", 2, 3), ("PNG", 0, 0), ("PNG", 4, 4), ("WEBP", 5, 5),
])  # fmt: skip
@pytest.mark.parametrize("ending", [".png", ".webp"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_frames_times_and_repetitions(format, loop, plays, ending, mode, tmp_path):
    path = tmp_path / f"moving.{format.lower()}"
    options = {"lossless": True} if format == "WEBP" else {}
    options |= {} if loop is None else {"loop": loop}
    options |= {"disposal": 2} if format == "GIF" and mode == "RGBA" else {}
    imagekit.moving(format, mode, **options)(path)
    enlarge_file(path, tmp_path / f"large{ending}", double)
    frames, times, _ = seen(path)
    large, new_times, new_plays = seen(tmp_path / f"large{ending}")
    assert times == new_times == TIMES and new_plays == plays
    for before, after in zip(frames, large, strict=True):
        before = double(before)
        opaque = before[..., 3] == 255
        inner = np.zeros_like(opaque)
        inner[2:-2, 2:-2] = (
            opaque[2:-2, 2:-2] & opaque[4:, 2:-2] & opaque[:-4, 2:-2]
            & opaque[2:-2, 4:] & opaque[2:-2, :-4]
        )  # fmt: skip
        difference = np.abs(before - after)[inner]
        assert inner.any() and difference.mean() < (0.01 if ending == ".png" else 6)
        gone = (before[..., 3] == 0) & (after[..., 3] > 64)
        assert not gone[8:].any()  # nothing is left of the frame before


def test_frames_that_do_not_change_and_odd_times(tmp_path):
    first = Image.fromarray(photo())
    other = first.copy()
    other.putpixel((7, 5), (255, 0, 0))
    path = tmp_path / "still.webp"
    first.save(path, save_all=True, append_images=[first, other, other, first], lossless=True,
               duration=[33, 1, 34, 70_000, 33])  # fmt: skip
    frames, times, _ = seen(path)
    for ending in (".png", ".webp"):
        enlarge_file(path, tmp_path / f"large{ending}", double)
        large, new_times, _ = seen(tmp_path / f"large{ending}")
        assert sum(new_times) == sum(times)
        np.testing.assert_array_equal(large[-1], double(frames[-1]))


@pytest.mark.parametrize("ending", [".png", ".webp"])
def test_an_animation_takes_the_memory_of_few_frames(ending, tmp_path, rng):
    peaks = []
    for count in (3, 12):
        noise = [
            Image.fromarray(rng.integers(0, 256, (200, 200, 3), dtype=np.uint8))
            for _ in range(count)
        ]
        path = tmp_path / f"{count}.webp"
        noise[0].save(path, save_all=True, append_images=noise[1:], quality=20)
        tracemalloc.start()
        try:
            enlarge_file(path, tmp_path / f"{count}-large{ending}", double)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[1] < 1.6 * peaks[0]


def test_a_damaged_frame_in_the_middle_leaves_nothing(tmp_path):
    path = tmp_path / "moving.gif"
    imagekit.moving("GIF")(path)
    path.write_bytes(path.read_bytes()[:-100])
    frames = []

    def network(rgb):
        frames.append(rgb)
        return double(rgb)

    with pytest.raises(PhotoError, match=r"moving\.gif: "):
        enlarge_file(path, tmp_path / "large.png", network)
    assert frames and os.listdir(tmp_path) == ["moving.gif"]

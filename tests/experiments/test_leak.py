"""The photo of a test set that lies in a training set, found."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments import leak
from srlib import pixels, resize
from srlib.book import results
from srlib.data import photoset


def photograph(seed: int) -> np.ndarray:
    """A picture like no other: smooth noise in colour, uint8 ``(120, 160, 3)``."""
    rng = np.random.default_rng(seed)
    noise = rng.uniform(0, 255, (30, 40, 3)).astype(np.float32)
    return pixels.to_uint8(resize.resize(noise, (120, 160)) / 255)


@pytest.mark.parametrize("scale", [0.7, 0.8])
def test_a_resized_and_cut_copy_is_found(scale, tmp_path):
    """As Set5's woman lies in a training photo: smaller, cut, and under another name."""
    original = photograph(0)
    reduced = leak.scaled(original, scale)
    copy = reduced[8:80, 6:102]
    found = leak.best_match(leak.luma(copy), leak.luma(original), np.linspace(0.6, 1, 41))
    assert found.scale == pytest.approx(scale, abs=0.011)
    assert found.correlation > 0.99
    assert np.abs(np.subtract(found.offset, (8, 6))).max() <= 1
    for name, image in (("a", original), ("b", photograph(1)), ("c", photograph(2))):
        (tmp_path / "train").mkdir(exist_ok=True)
        Image.fromarray(image).save(tmp_path / "train" / f"{name}.png")
    (tmp_path / "test").mkdir()
    Image.fromarray(copy).save(tmp_path / "test" / "t.png")
    table = leak.search(photoset.folder(tmp_path / "train"), photoset.folder(tmp_path / "test"))
    ranking = sorted(table["t.png"], key=table["t.png"].get)
    assert ranking[-1] == "train/a.png"
    assert table["t.png"]["train/a.png"] > max(table["t.png"][n] for n in ranking[:-1]) + 0.05


def test_registration_says_where_and_how_alike():
    original = photograph(3)
    copy = leak.scaled(original, 0.75)[10:80, 5:105]
    place = leak.register(copy, original)
    assert place["scale"] == pytest.approx(0.75, abs=0.005)
    assert np.abs(np.subtract(place["offset"], (10, 5))).max() <= 1
    assert place["overlap"] == [70, 100]
    assert place["psnr of the resized photo"] > 35
    stranger = leak.register(photograph(4)[:70, :100], original)
    assert stranger["correlation"] < 0.9 and stranger["psnr of the resized photo"] < 25


@pytest.fixture
def textures(tmp_path) -> Path:
    """Folders as the experiment expects them, with photos of two shapes."""
    for name in (*leak.FOLDERS, "leak"):
        (tmp_path / name).mkdir()
    Image.fromarray(photograph(40)).save(tmp_path / "bsds_test" / "0.png")
    for i in range(6):
        pixels = photograph(i)
        pixels = pixels if i % 2 else pixels.transpose(1, 0, 2)
        Image.fromarray(pixels).save(tmp_path / "bsds_train" / f"{i}.png")
        Image.fromarray(photograph(20 + i)[:80, :90]).save(tmp_path / "t91" / f"{i}.png")
    Image.fromarray(photograph(9)).save(tmp_path / "leak" / leak.LEAK, quality=95)
    return tmp_path


def test_the_experiment_runs_and_resumes(textures, tmp_path, monkeypatch):
    (tmp_path / "Set5").mkdir()
    Image.fromarray(leak.scaled(photograph(9), 0.75)[4:84, 6:106]).save(
        tmp_path / "Set5" / leak.LEAKED
    )
    Image.fromarray(photograph(30)[:64, :64]).save(tmp_path / "Set5" / "img_001.png")
    written = {}
    monkeypatch.setattr(results, "write", lambda name, content, **_: written.update(content))
    command = [f"--textures={textures}", f"--benchmarks={tmp_path}", f"--runs={tmp_path / 'r'}"]
    assert leak.main([*command, "--sample=6"]) == 0
    first = json.loads(json.dumps(written))
    again = first["looked at again"][leak.LEAKED]
    assert max(again, key=again.get) == f"leak/{leak.LEAK}"
    assert len(first["others"]) == 6 and first["correlation"] > max(first["others"])
    monkeypatch.setattr(leak, "search", None)  # known already
    assert leak.main([*command, "--sample=6"]) == 0
    assert json.loads(json.dumps(written)) == first


def test_the_recorded_leak():
    recorded = results.read("leak")
    assert recorded["searched"] == len(recorded["others"]) + 1
    assert recorded["correlation"] > 0.8 > max(recorded["others"])
    assert recorded["next best"] < 0.8
    place = recorded["registration"]
    assert place["correlation"] > 0.98 and place["psnr of the resized photo"] > 35

"""The networks in PyTorch draw what Keras draws, and are trained, stopped and shipped.

Run by `make test-torch`: PyTorch is not part of the book's environment.
"""

import io
import json
import re

import nbformat
import numpy as np
import pytest
import safetensors.numpy
from conftest import smooth_photo
from PIL import Image

torch = pytest.importorskip("torch", reason="PyTorch is not installed: make test-torch")

import srlib  # noqa: E402
from experiments import loss_arms  # noqa: E402
from experiments.twin import jobs, losses, material, networks, publish, train  # noqa: E402
from srlib.data import degrade  # noqa: E402
from srlib.losses import pixel  # noqa: E402
from srlib.losses.perceptual import PerceptualLoss  # noqa: E402
from srlib.models import cards  # noqa: E402
from tools.notebooks import BOOK  # noqa: E402

SIZES = [(8, 8), (16, 24), (64, 64)]
ODD = [(1, 1), (1, 2), (7, 5), (33, 18)]


def images(height, width, count=2, seed=3):
    return np.random.default_rng(seed).random((count, height, width, 3), np.float32)


def as_torch(array):
    return torch.from_numpy(np.ascontiguousarray(array.transpose(0, 3, 1, 2)))


def as_numpy(tensor):
    return tensor.permute(0, 2, 3, 1).detach().numpy()


@pytest.mark.parametrize("name", cards.available())
def test_every_shipped_network_draws_what_keras_draws(name):
    network = networks.load(cards.find(name))
    model = srlib.load(name)
    sizes = SIZES if cards.card(name)["architecture"] == "hourglass" else SIZES + ODD
    for size in sizes:
        low = images(*size)
        with torch.inference_mode():
            ours = as_numpy(network(as_torch(low)))
        np.testing.assert_allclose(ours, model(low, training=False), atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", cards.available())
def test_weights_come_back_as_they_were(name):
    stored = safetensors.numpy.load_file(cards.find(name))
    back = networks.tensors(networks.load(cards.find(name)))
    assert back.keys() == stored.keys()
    for key, value in stored.items():
        np.testing.assert_array_equal(back[key], value.astype(np.float32))


def test_weights_of_another_network_are_refused():
    with pytest.raises(ValueError, match="another network"):
        networks.assign(networks.Residual(blocks=5), networks.tensors(networks.Residual(blocks=6)))


def test_the_lines_in_the_book_draw_what_keras_draws(monkeypatch):
    cells = nbformat.read(BOOK / "11-export.ipynb", as_version=4).cells
    (lines,) = [
        code
        for cell in cells
        if cell.cell_type == "markdown"
        for code in re.findall(r"```python\n(.*?)```", cell.source, re.S)
        if "import torch" in code
    ]
    monkeypatch.chdir(cards.FOLDER)
    told = {}
    exec(lines, told)
    assert len([line for line in lines.splitlines() if line.strip()]) <= 26
    for size in SIZES + ODD:
        low = images(*size)
        ours = as_numpy(told["enlarge"](as_torch(low)))
        theirs = srlib.load("residual-mse")(low, training=False)
        np.testing.assert_allclose(ours, theirs, atol=1e-4, rtol=0)


# --- material


@pytest.fixture(scope="module")
def photos():
    return [smooth_photo(128, 128, seed) for seed in range(6)]


def test_crops_are_windows_of_the_photos_in_all_eight_positions(photos):
    pool = material.Pool(photos[:1], seed=5)
    wide = np.pad(photos[0], ((8, 8), (8, 8), (0, 0)), "symmetric").astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(wide, (120, 120), axis=(0, 1))
    windows = {w.transpose(1, 2, 0).tobytes() for row in windows for w in row}
    seen = set()
    for crop in as_numpy(pool.crops(64, 104)):
        turned = {
            (k, flip): np.ascontiguousarray(np.rot90(crop[:, ::-1] if flip else crop, k)).tobytes()
            for k in range(4)
            for flip in (False, True)
        }
        found = {position for position, content in turned.items() if content in windows}
        assert len(found) == 1
        seen |= found
    assert len(seen) == 8


def test_the_most_detailed_of_several_crops_is_taken():
    photo = np.zeros((256, 256, 3), np.uint8)
    photo[::2, 128:] = 255
    few, many = (
        material.Pool([photo], seed=1).crops(64, 32, n).std((1, 2, 3)).mean() for n in (1, 6)
    )
    assert many > few


def test_crops_larger_than_a_photo_are_refused(photos):
    with pytest.raises(ValueError, match="do not fit"):
        material.Pool(photos).crops(1, 130)


@pytest.mark.parametrize("name", material.REDUCTIONS)
def test_reductions_are_those_of_degrade(name, photos):
    wide = np.stack([np.pad(p, ((8, 8), (8, 8), (0, 0)), "symmetric") for p in photos])
    weights = material.filters([name]).expand(len(photos), -1)
    ours = as_numpy(material.reduce(as_torch(wide.astype(np.float32)), weights))
    np.testing.assert_array_equal(ours, np.stack([degrade.degrade(p, name) for p in photos]))


def test_blur_is_that_of_degrade(photos):
    low = np.stack([degrade.degrade(p, "bicubic") for p in photos]).astype(np.float32)
    ours = as_numpy(material.blur(as_torch(low), torch.full((len(photos),), 0.5)))
    theirs = np.stack([degrade.degrade(p, "bicubic, blur 0.5") for p in photos])
    assert np.abs(ours - theirs).max() <= 1  # which leaves out what lies beyond two pixels


@pytest.mark.parametrize("halved", [True, False])
@pytest.mark.parametrize("quality", [30, 50, 75, 95])
def test_jpeg_damages_as_libjpeg_does(quality, halved, photos):
    rng = np.random.default_rng(2)
    noisy = np.stack(photos) + rng.normal(0, 12, (len(photos), 128, 128, 3))
    whole = np.rint(noisy.clip(0, 255)).astype(np.uint8)
    many = torch.full((len(photos),), 1.0)
    ours = as_numpy(
        material.jpeg(as_torch(whole.astype(np.float32)), quality * many, many < 2 * halved)
    )
    theirs = []
    for image in whole:
        file = io.BytesIO()
        subsampling = "4:2:0" if halved else "4:4:4"
        Image.fromarray(image).save(file, "JPEG", quality=quality, subsampling=subsampling)
        theirs.append(np.asarray(Image.open(file)).astype(np.float64))
    damage = np.sqrt(np.mean((np.stack(theirs) - whole) ** 2))
    assert np.sqrt(np.mean((ours - theirs) ** 2)) < 0.35 * damage


# --- losses


@pytest.mark.parametrize("kind", losses.PIXEL_LOSSES)
def test_pixel_losses_are_those_of_srlib(kind):
    error = 40 * images(9, 7) - 20
    ours = losses.PIXEL_LOSSES[kind](as_torch(error))
    np.testing.assert_allclose(ours, pixel.PIXEL_LOSSES[kind](error), rtol=1e-5)


@pytest.fixture(scope="module")
def vgg(tmp_path_factory):
    """Weights of VGG16's shapes, not its numbers."""
    rng = np.random.default_rng(8)
    found = {}
    for name, (before, after) in zip(
        losses.VGG16.LAYERS, [(3, 64), (64, 64), (64, 128), (128, 128)], strict=True
    ):
        found[f"{name}/kernel"] = rng.normal(0, 0.05, (3, 3, before, after)).astype(np.float32)
        found[f"{name}/bias"] = rng.normal(0, 1, after).astype(np.float32)
    path = tmp_path_factory.mktemp("vgg") / "vgg.npz"
    np.savez(path, **found)
    return path


@pytest.mark.parametrize("kind", ["right", "mis-wired"])
def test_feature_losses_are_those_of_srlib(kind, vgg):
    truth, prediction = images(16, 16, seed=1), images(16, 16, seed=2)
    make = PerceptualLoss if kind == "right" else loss_arms.MisWiredLoss
    ours = losses.perceptual if kind == "right" else losses.mis_wired
    features = losses.VGG16(vgg)
    value = ours(features, 255 * as_torch(prediction), 255 * as_torch(truth)).mean()
    wanted = make("block2_conv2", vgg)(truth, prediction)
    np.testing.assert_allclose(float(value), float(wanted), rtol=1e-4)


# --- training


@pytest.fixture
def data(tmp_path, photos):
    """What pack.py writes, in small."""
    for folder in (
        "photos/train",
        "photos/held_out",
        "clean/train",
        "clean/held_out",
        "saved/train",
    ):
        (tmp_path / "data" / folder).mkdir(parents=True)
        for number, photo in enumerate(photos):
            big = np.tile(photo, (2, 2, 1)) if folder.startswith("saved") else photo
            Image.fromarray(big).save(tmp_path / "data" / folder / f"{number}.png")
    return tmp_path / "data"


@pytest.fixture
def small(monkeypatch):
    """Stages of a small network that take a moment."""
    few = {"batch": 2, "crop": 16}
    two, three = ({"options": {"blocks": n, "filters": 4, "box": True}} for n in (2, 3))
    stages = {
        "first": jobs.Stage(1, **few, **two, inputs="found"),
        "second": jobs.Stage(1, "first", **few, **three, loss="psnr", perceptual=0.1),
        "large": jobs.Stage(1, "second", **few, **three, material="everything", candidates=2),
    }
    monkeypatch.setattr(train, "STAGES", stages)
    monkeypatch.setattr(train, "LOOK", 1)
    return stages


def command(data, runs, *more):
    return ["--data", str(data), "--runs", str(runs), "--precision", "float32", *map(str, more)]


def test_stages_share_the_time_and_start_from_each_other(data, small, vgg, tmp_path, capsys):
    runs = tmp_path / "runs"
    assert train.main(command(data, runs, "--minutes", 0.05, "--vgg", vgg)) == 0
    assert "images/s" in capsys.readouterr().out
    about = json.loads((runs / "large.json").read_text())
    assert about["low_resolution_pixels"] == about["steps"] * 2 * 16**2
    chain, phase = [], about
    while phase := phase.get("before"):
        chain.append(phase["job"])
    assert chain == ["second", "first"]
    # A network that starts from a shallower one draws what that one draws.
    shallow, deep = networks.Residual(**small["first"].options), None
    networks.assign(shallow, safetensors.numpy.load_file(runs / "first.safetensors"))
    deep = train.start(small["second"], runs, "cpu").eval()
    low = as_torch(images(9, 9))
    with torch.inference_mode():
        np.testing.assert_allclose(deep(low), shallow.eval()(low), atol=1e-6)


def test_a_killed_stage_goes_on_where_it_was_saved(data, small, tmp_path, monkeypatch):
    runs = tmp_path / "runs"
    monkeypatch.setattr(train, "SAVE", 0.0)
    steps = train.Run._steps

    def killed(run, *arguments):
        if run.state["steps"] == 7:
            raise KeyboardInterrupt
        steps(run, *arguments)

    monkeypatch.setattr(train.Run, "_steps", killed)
    with pytest.raises(KeyboardInterrupt):
        train.main(command(data, runs, "--minutes", 10, "first"))
    monkeypatch.setattr(train.Run, "_steps", steps)
    saved = torch.load(runs / "first" / "state.pt", weights_only=True)
    assert saved["state"]["steps"] == 7 and not (runs / "first.safetensors").exists()
    saved["state"]["seconds"] = 3600.0  # its time is over: what was saved is what is written
    torch.save(saved, runs / "first" / "state.pt")
    assert train.main(command(data, runs, "--minutes", 1, "first")) == 0
    written = safetensors.numpy.load_file(runs / "first.safetensors")
    again = networks.Residual(**small["first"].options)
    again.load_state_dict(saved["network"])
    for key, value in networks.tensors(again).items():
        np.testing.assert_array_equal(written[key], value.astype(np.float16))


def test_averages_of_batch_normalisation_stay_where_they_are_frozen():
    stage = jobs.Stage(1, architecture="hourglass", frozen=True)
    network = networks.Hourglass()
    train.training(network, stage)
    before = network.stem_bn.running_mean.clone()
    network(as_torch(images(64, 64)))
    torch.testing.assert_close(network.stem_bn.running_mean, before)
    train.training(network, jobs.Stage(1, architecture="hourglass"))
    network(as_torch(images(64, 64)))
    assert not torch.equal(network.stem_bn.running_mean, before)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--minutes", "1", "third"], "no stage third"),
        (["--minutes", "0", "first"], "above 0"),
        (["--minutes", "1", "second"], "need --vgg"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(arguments, said, data, small, capsys):
    with pytest.raises(SystemExit):
        train.main(command(data, data, *arguments))
    assert said in capsys.readouterr().err


def test_a_stage_before_its_start_says_so(data, small, vgg, tmp_path):
    with pytest.raises(ValueError, match="first: not trained yet"):
        train.main(command(data, tmp_path / "runs", "--minutes", 1, "--vgg", vgg, "second"))


def test_what_was_trained_is_shipped_with_its_chain(data, small, tmp_path, monkeypatch):
    runs = tmp_path / "runs"
    assert train.main(command(data, runs, "--minutes", 0.02, "first")) == 0
    tree = tmp_path / "tree"
    for split in ("train", "test"):
        (tree / split / "x").mkdir(parents=True)
        for i in range(3):
            photo = smooth_photo(128, 128, i + 10 * (split == "test"))
            Image.fromarray(photo).save(tree / split / "x" / f"{i}.png")
    monkeypatch.setattr(publish.common, "HELD_OUT", 1)
    monkeypatch.setattr(cards, "FOLDER", tmp_path)
    monkeypatch.setattr(publish, "SUMMARIES", {"first": "a small one"})
    assert publish.main(["--photos", str(tree), "--runs", str(runs)]) == 0
    card = cards.card("first")
    assert card["data"]["photos"] == 2 and card["recipe"]["kernel"] == "found"
    assert card["history"][0]["epoch"] == 1 and card["test"]["worst"]["photo"].endswith(".png")
    low = images(8, 8)
    with torch.inference_mode():
        ours = as_numpy(networks.load(cards.find("first"))(as_torch(low)))
    np.testing.assert_allclose(ours, srlib.load("first")(low, training=False), atol=1e-5)

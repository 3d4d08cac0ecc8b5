"""Scores against scikit-image and Pillow, photo by photo."""

import io
import json
import warnings

import numpy as np
import pytest
from conftest import smooth_photo
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

import srlib
from srlib import data, evaluation, models
from srlib.errors import PhotoError
from srlib.evaluation import Protocol, Scores, bootstrap_interval, evaluate
from srlib.metrics.lpips import LPIPSWeightsError, lpips

SSIM = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}


def write(folder, sizes, seed=0):
    """Photos named in the order of ``sizes``; returns them as a set, cut to even sides."""
    folder.mkdir(exist_ok=True)
    truths = []
    for i, (height, width) in enumerate(sizes):
        photo = smooth_photo(height, width, seed + i)
        Image.fromarray(photo).save(folder / f"{i:02}.png")
        truths.append(photo[: height // 2 * 2, : width // 2 * 2])
    return data.photos(folder, "all"), truths


def by_pillow(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Pillow's bicubic is a = -0.5 and antialiased, like srlib's."""
    return np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BICUBIC))


def inner_ssim(truth, image) -> float:
    """Mean over the windows that lie inside: scikit-image would pad."""
    _, full = structural_similarity(truth, image, full=True, **SSIM)
    return full[5:-5, 5:-5].mean()


def luma(image: np.ndarray) -> np.ndarray:
    return 16 + 219 * (image / 255.0) @ np.array([0.299, 0.587, 0.114])


def nearest_scores(truths, shave=0, channel=lambda image: image):
    """PSNR and SSIM of pixel doubling, whose input Pillow makes."""
    rows = []
    for truth in truths:
        low = by_pillow(truth, (truth.shape[0] // 2, truth.shape[1] // 2))
        high = low.repeat(2, axis=0).repeat(2, axis=1)
        edge = slice(shave, -shave or None)
        a, b = (channel(x)[edge, edge] for x in (truth, high))
        a, b = (x.reshape(*x.shape[:2], -1).astype(float) for x in (a, b))
        planes = [inner_ssim(a[..., c], b[..., c]) for c in range(a.shape[-1])]
        rows.append((peak_signal_noise_ratio(a, b, data_range=255), np.mean(planes)))
    return np.array(rows).T


MIXED = [(36, 40), (36, 40), (24, 30), (33, 41), (36, 40), (17, 17)]


@pytest.mark.parametrize(
    ("protocol", "shave", "channel"), [("rgb", 0, lambda image: image), ("y", 2, luma)]
)
def test_scores_of_mixed_and_odd_sizes(tmp_path, protocol, shave, channel):
    photos, truths = write(tmp_path / "p", MIXED)
    scores = evaluate({"nearest": models.nearest()}, photos, evaluation.PROTOCOLS[protocol])
    assert scores.names == [f"{i:02}.png" for i in range(len(MIXED))]
    assert list(scores.psnr) == list(scores.ssim) == ["bicubic", "nearest"]
    psnr, ssim = nearest_scores(truths, shave, channel)
    # Pillow computes in integers: a few pixels differ by one level.
    np.testing.assert_allclose(scores.psnr["nearest"], psnr, atol=0.03)
    np.testing.assert_allclose(scores.ssim["nearest"], ssim, atol=1e-3)


def test_bicubic_is_always_scored(tmp_path):
    photos, truths = write(tmp_path / "p", [(48, 52), (41, 57)])
    # Without the border: Pillow cuts the kernel off there, MATLAB mirrors the image.
    scores = evaluate({}, photos, Protocol(shave=8))
    assert list(scores.psnr) == ["bicubic"]
    for value, truth in zip(scores.psnr["bicubic"], truths, strict=True):
        h, w = truth.shape[:2]
        high = by_pillow(by_pillow(truth, (h // 2, w // 2)), (h, w))
        inner = (slice(8, -8), slice(8, -8))
        expected = peak_signal_noise_ratio(truth[inner], high[inner])
        assert value == pytest.approx(expected, abs=0.02)


def test_size_reduces_the_central_square_first(tmp_path):
    photos, wholes = write(tmp_path / "p", [(48, 40), (41, 64)])
    truths = [by_pillow(wholes[0][4:44], (32, 32)), None]
    photo = smooth_photo(41, 64, 1)
    truths[1] = by_pillow(photo[:, 11:52], (32, 32))
    scores = evaluate({"nearest": models.nearest()}, photos, Protocol(size=32))
    psnr, _ = nearest_scores(truths)
    np.testing.assert_allclose(scores.psnr["nearest"], psnr, atol=0.3)
    pairs = data.pairs(photos, size=32)
    expected = srlib.psnr(pairs.high, pairs.low.repeat(2, axis=1).repeat(2, axis=2))
    np.testing.assert_allclose(scores.psnr["nearest"], expected, atol=1e-6)


def test_the_kernel_makes_the_input(tmp_path):
    photos, truths = write(tmp_path / "p", [(32, 32)])
    scores = evaluate({"nearest": models.nearest()}, photos, Protocol(kernel="nearest"))
    doubled = truths[0][1::2, 1::2].repeat(2, axis=0).repeat(2, axis=1)
    expected = peak_signal_noise_ratio(truths[0], doubled)
    assert scores.psnr["nearest"][0] == pytest.approx(expected, abs=1e-6)


def test_the_input_may_be_damaged_and_the_protocol_says_so(tmp_path):
    photos, truths = write(tmp_path / "p", [(48, 40), (48, 40), (32, 36)])
    protocol = Protocol(kernel="jpeg 30")
    scores = evaluate({"nearest": models.nearest()}, photos, protocol)
    for i, truth in enumerate(truths):
        file = io.BytesIO()
        half = (truth.shape[0] // 2, truth.shape[1] // 2)
        Image.fromarray(by_pillow(truth, half)).save(file, "JPEG", quality=30, subsampling=2)
        doubled = np.asarray(Image.open(file)).repeat(2, axis=0).repeat(2, axis=1)
        expected = peak_signal_noise_ratio(truth, doubled)
        assert scores.psnr["nearest"][i] == pytest.approx(expected, abs=0.1)
    clean = evaluate({"nearest": models.nearest()}, photos)
    assert (scores.psnr["nearest"] < clean.psnr["nearest"] - 0.3).all()
    assert "made by antialiased bicubic, then JPEG of quality 30" in " ".join(
        scores.table().split()
    )
    with pytest.raises(ValueError, match="unknown step"):
        evaluate({}, photos, Protocol(kernel="sharp"))


@pytest.mark.parametrize("protocol", ["rgb", "y"])
def test_grey_values_are_luma_already(tmp_path, protocol):
    """A grey file among colour ones: its values are compared as they are stored."""
    photos, truths = write(tmp_path / "p", [(32, 32), (32, 32), (32, 32)])
    grey = truths[1][..., 1]
    Image.fromarray(grey).save(tmp_path / "p" / "01.png")
    scores = evaluate({"nearest": models.nearest()}, photos, evaluation.PROTOCOLS[protocol])
    shave = 2 if protocol == "y" else 0
    colours = nearest_scores(truths, shave, luma if protocol == "y" else lambda x: x)
    greys = nearest_scores([grey], shave)
    for key, row in (("psnr", 0), ("ssim", 1)):
        expected = colours[row].copy()
        expected[1] = greys[row][0]
        np.testing.assert_allclose(getattr(scores, key)["nearest"], expected, atol=0.03)


def test_unusable_photos_are_named_and_shift_nothing(tmp_path):
    folder = tmp_path / "p"
    photos, _ = write(folder, [(36, 40)] * 5)
    whole = evaluate({"nearest": models.nearest()}, photos)
    (folder / "01.png").write_bytes((folder / "01.png").read_bytes()[:400])
    Image.fromarray(smooth_photo(15, 40, 0)).save(folder / "03.png")
    with pytest.warns(UserWarning, match="skipped") as caught:
        scores = evaluate({"nearest": models.nearest()}, photos)
    messages = [str(w.message) for w in caught]
    assert len(messages) == 2
    assert "01.png" in messages[0]
    assert "03.png" in messages[1]
    assert "40x15" in messages[1]
    kept = [0, 2, 4]
    assert scores.names == [whole.names[i] for i in kept]
    for name in ("bicubic", "nearest"):
        np.testing.assert_array_equal(scores.psnr[name], whole.psnr[name][kept])
        np.testing.assert_array_equal(scores.ssim[name], whole.ssim[name][kept])


def test_no_usable_photo_is_an_error(tmp_path):
    photos, _ = write(tmp_path / "p", [(8, 8), (12, 40)])
    with warnings.catch_warnings(), pytest.raises(PhotoError, match="none of its 2 photos"):
        warnings.simplefilter("ignore")
        evaluate({}, photos)


def test_labels_and_models_called_like_columns(tmp_path):
    write(tmp_path / "p", [(20, 20)])
    write(tmp_path / "p" / "cat", [(20, 22)])
    photos = data.photos(tmp_path / "p", "all")
    scores = evaluate({"names": models.nearest(), "labels": models.bicubic()}, photos)
    assert sorted(zip(scores.names, scores.labels, strict=True)) == [
        ("00.png", ""),
        ("00.png", "cat"),
    ]
    assert list(scores.psnr) == ["bicubic", "names", "labels"]
    np.testing.assert_array_equal(scores.psnr["labels"], scores.psnr["bicubic"])
    assert (scores.psnr["names"] != scores.psnr["bicubic"]).all()


def test_bicubic_itself_wins_nothing(tmp_path):
    photos, _ = write(tmp_path / "p", [(24, 24)] * 3)
    scores = evaluate({"mine": models.bicubic(), "worse": models.nearest()}, photos)
    by_name = {row["model"]: row for row in scores.summary()}
    for name in ("bicubic", "mine"):
        assert by_name[name]["won"] == by_name[name]["gain"] == 0
        assert by_name[name]["gain_interval"] == (0, 0)
    assert by_name["worse"]["gain"] < 0


def test_a_flat_photo_spoils_no_mean(tmp_path):
    """Every method restores it exactly; infinite PSNR would make the gain undefined."""
    photos, _ = write(tmp_path / "p", [(24, 24)] * 2)
    Image.new("RGB", (24, 24), (9, 99, 199)).save(tmp_path / "p" / "00.png")
    scores = evaluate({"nearest": models.nearest()}, photos)
    assert scores.psnr["nearest"][0] == scores.psnr["bicubic"][0] == 100
    assert scores.psnr["nearest"][1] < scores.psnr["bicubic"][1] < 100
    text = json.dumps(scores.as_json(), allow_nan=False)
    assert json.loads(text)["images"][0]["psnr bicubic"] == 100


def test_batches_do_not_change_scores(tmp_path, monkeypatch):
    photos, _ = write(tmp_path / "p", [(24, 24)] * 5)
    together = evaluate({}, photos)
    monkeypatch.setattr(evaluation, "BATCH", 0)  # every photo alone
    alone = evaluate({}, photos)
    np.testing.assert_allclose(alone.psnr["bicubic"], together.psnr["bicubic"], atol=1e-9)


# --- rows: one enlargement, several protocols


@pytest.mark.filterwarnings("ignore:.*skipped")
def test_one_enlargement_is_scored_by_every_protocol_as_evaluate_scores_it(tmp_path, monkeypatch):
    photos, _ = write(tmp_path / "p", MIXED)
    Image.open(tmp_path / "p" / "01.png").convert("L").save(tmp_path / "p" / "01.png")
    (tmp_path / "p" / "02.png").write_bytes(b"no photo")
    protocols = list(evaluation.PROTOCOLS.values())
    models_ = {"bicubic": models.bicubic(), "nearest": models.nearest()}
    expected = [evaluate(models_, photos, protocol) for protocol in protocols]
    enlarged, predict = [], evaluation.predict

    def counted(model, images):
        enlarged.append((model, len(images)))
        return predict(model, images)

    monkeypatch.setattr(evaluation, "predict", counted)
    rows = list(evaluation.scored(models_, photos, protocols))
    assert len(rows) == 2 * 2 * 5
    for model in models_.values():
        assert sum(count for one, count in enlarged if one is model) == 5
    assert {row.place for row in rows} == {0, 1, 3, 4, 5}
    assert all(row.lpips is None for row in rows)
    found = evaluation.collected(rows, photos)
    assert list(found) == protocols
    for ours, theirs in zip(found.values(), expected, strict=True):
        assert ours.names == theirs.names
        for name in models_:
            np.testing.assert_array_equal(ours.psnr[name], theirs.psnr[name])
            np.testing.assert_array_equal(ours.ssim[name], theirs.ssim[name])


def test_protocols_that_need_two_enlargements_are_refused(tmp_path):
    photos, _ = write(tmp_path / "p", [(32, 32)])
    for other in (Protocol(size=16), Protocol(kernel="box")):
        with pytest.raises(ValueError, match="one enlargement cannot serve"):
            next(evaluation.scored({}, photos, [Protocol(), other]))


# --- summaries


@pytest.fixture
def scores() -> Scores:
    psnr = {"bicubic": [30.0, 20.0, 40.0, 31.0], "net": [32.0, 19.5, 40.0, 34.5]}
    ssim = {"bicubic": [0.9, 0.8, 0.7, 0.6], "net": [0.95, 0.85, 0.75, 0.65]}
    return Scores(
        evaluation.PROTOCOLS["y"],
        ["a.png", "b.png", "c.png", "d.png"],
        ["x", "x", "y", ""],
        {k: np.array(v) for k, v in psnr.items()},
        {k: np.array(v) for k, v in ssim.items()},
    )


def test_summary_by_hand(scores):
    bicubic, net = scores.summary()
    assert (bicubic["model"], net["model"]) == ("bicubic", "net")
    assert net["psnr"] == 31.5
    assert net["median"] == 33.25
    assert net["sd"] == pytest.approx(((0.5**2 + 12**2 + 8.5**2 + 3**2) / 3) ** 0.5)
    assert net["ssim"] == pytest.approx(0.8)
    assert net["gain"] == 1.25  # of 2, -0.5, 0 and 3.5
    assert net["won"] == 0.5  # a draw is not won
    low, high = net["gain_interval"]
    assert -0.5 <= low < 1.25 < high <= 3.5
    assert (bicubic["gain"], bicubic["won"], bicubic["gain_interval"]) == (0, 0, (0, 0))


def test_one_photo_has_no_spread():
    one = Scores(Protocol(), ["a"], [""], {"bicubic": np.array([30.0])}, {"bicubic": np.ones(1)})
    assert one.summary()[0]["sd"] == 0


def test_table_states_the_protocol_and_every_number(scores):
    head, body = scores.table().split("model ", 1)
    first = " ".join(head.split())
    header, *rows = ("model " + body).splitlines()
    assert first == f"4 photos; {scores.protocol}"
    assert max(map(len, scores.table().splitlines())) <= 85
    for part in ("Y of BT.601", "2 px shaved", "8-bit", "mean of per-image", "own size", "bicubic"):
        assert part in first
    assert "RGB" in str(Protocol())
    assert "reduced to 128 px" in str(Protocol(size=128))
    assert header.split()[:6] == ["model", "PSNR", "SD", "median", "SSIM", "gain"]
    assert [row.split()[0] for row in rows] == ["bicubic", "net"]
    assert rows[1].split()[1:6] == ["31.50", "8.67", "33.25", "0.8000", "+1.25"]
    assert rows[1].endswith(" 50.0%")


def test_as_json_is_json_and_holds_all(scores):
    content = json.loads(json.dumps(scores.as_json(), allow_nan=False))
    assert Protocol(**content["protocol"]) == scores.protocol
    for row, expected in zip(content["summary"], scores.summary(), strict=True):
        assert row | {"gain_interval": tuple(row["gain_interval"])} == expected
    assert content["images"][1] == {
        "name": "b.png",
        "label": "x",
        "psnr bicubic": 20.0,
        "psnr net": 19.5,
        "ssim bicubic": 0.8,
        "ssim net": 0.85,
    }
    assert len(content["images"]) == 4


def test_bootstrap_interval_is_that_of_the_mean(rng):
    values = rng.normal(1, 2, 400)
    low, high = bootstrap_interval(values)
    assert low < values.mean() < high
    # For so many values it is the normal one, within the error of 2000 draws.
    half = 1.96 * values.std() / 20
    assert (high - low) / 2 == pytest.approx(half, rel=0.1)
    assert bootstrap_interval(values) == (low, high)
    assert bootstrap_interval(values, seed=1) != (low, high)
    wide = bootstrap_interval(values, 0.99)
    assert wide[0] < low < high < wide[1]
    few = bootstrap_interval(values[:25])
    assert few[1] - few[0] > 2 * (high - low)
    assert bootstrap_interval(np.full(5, 3.0)) == (3, 3)


def test_bootstrap_over_runs_and_photos_is_wider_than_over_photos_alone(rng):
    photos, runs = rng.normal(0, 1, 50), rng.normal(0, 3, (5, 1))
    low, high = bootstrap_interval(runs + photos)
    inner_low, inner_high = bootstrap_interval((runs + photos).mean(axis=0))
    assert low < inner_low < inner_high < high
    same = np.repeat(photos[None], 4, axis=0)  # runs that agree add nothing
    np.testing.assert_allclose(
        bootstrap_interval(same), bootstrap_interval(photos), atol=0.06, rtol=0
    )


def test_lpips_is_measured_only_when_asked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("SRLIB_LPIPS_WEIGHTS", "random")
    photos, truths = write(tmp_path, [(36, 40), (33, 41)])
    plain = evaluate({"nearest": models.nearest()}, photos)
    assert plain.lpips == {} and "LPIPS" not in plain.table()
    assert "lpips" not in plain.summary()[0]
    scores = evaluate({"nearest": models.nearest()}, photos, Protocol("y", 2), with_lpips=True)
    for i, truth in enumerate(truths):  # of the whole RGB picture, whatever the protocol
        low = by_pillow(truth, (truth.shape[0] // 2, truth.shape[1] // 2))
        expected = lpips(truth, low.repeat(2, axis=0).repeat(2, axis=1))
        assert scores.lpips["nearest"][i] == pytest.approx(expected, rel=0.05)
    assert scores.summary()[1]["lpips"] == pytest.approx(scores.lpips["nearest"].mean())
    assert "LPIPS" in scores.table()
    assert set(scores.as_json()["images"][0]) > {"lpips bicubic", "lpips nearest"}


def test_lpips_without_weights_says_so(tmp_path, monkeypatch):
    monkeypatch.delenv("SRLIB_LPIPS_WEIGHTS", raising=False)
    photos, _ = write(tmp_path, [(36, 40)])
    with pytest.raises(LPIPSWeightsError, match="SRLIB_LPIPS_WEIGHTS"):
        evaluate({}, photos, with_lpips=True)

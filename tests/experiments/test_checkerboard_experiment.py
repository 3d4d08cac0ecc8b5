"""experiments.checkerboard: fair crops, fair weights, and a run that goes on where it stopped."""

import itertools
import json
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from skimage.metrics import peak_signal_noise_ratio

from experiments import checkerboard, common, loss_arms
from experiments.checkerboard import COLUMNS, Experiment, Settings, append, crops, measure, plan
from experiments.loss_arms import CORE, SIDE, Arm
from srlib import data, losses, models, training
from srlib.book import results
from srlib.layers.upsampling import UPSAMPLERS
from srlib.losses import vgg
from srlib.losses.perceptual import PerceptualLoss
from srlib.metrics import checkerboard as metric
from srlib.metrics import lpips
from srlib.models import zoo
from srlib.pixels import to_float, to_uint8
from srlib.resize import interpolate
from srlib.upscaling.network import predict

#: Every (upsampler, loss, seed), in order, and what each loss is.
PLANNED = [(upsampler, label, seed) for seed, upsampler, arms in plan() for label in arms]
ARMS = {label: arm for _, _, arms in plan() for label, arm in arms.items()}
TINY = Settings(filters=4, blocks=1, crop=8, batch_size=4, pixel_steps=2, steps=2, test_photos=3)


@pytest.fixture(scope="module", autouse=True)
def no_weights_but_random_ones():
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(vgg.VARIABLE, raising=False)
        patch.setenv(lpips.VARIABLE, "random")
        patch.setattr(training, "fast_precision", lambda: "float32")
        yield


@pytest.fixture(scope="module")
def embedded(tmp_path_factory) -> Experiment:
    """The experiment on the embedded photos, with a probe small enough for a test."""
    experiment = Experiment(TINY, "embedded", "random", tmp_path_factory.mktemp("runs"))
    experiment.probe = crops(experiment.train, 6, side=8, seed=1)
    return experiment


@pytest.fixture
def experiment(embedded, tmp_path, monkeypatch):
    """The same with a folder of its own."""
    monkeypatch.setattr(embedded, "runs", tmp_path)
    return embedded


@pytest.fixture(scope="module")
def network() -> keras.Model:
    keras.utils.set_random_seed(4)
    return models.with_upsampler("deconv k4s2", blocks=1, filters=4)


# --- crops


def maps(n: int = 5, side: int = 20) -> data.Pairs:
    """Pictures whose colour says where each pixel is: (photo, row, column)."""

    def grid(size):
        return np.stack(np.broadcast_arrays(*np.ogrid[:n, :size, :size]), -1).astype(np.uint8)

    return data.Pairs(grid(side), grid(2 * side), [], [])


def test_crops_are_squares_of_one_photo_at_one_place():
    found = crops(maps(), 300, side=7, seed=3)
    assert found.low.shape == (300, 7, 7, 3) and found.high.shape == (300, 14, 14, 3)
    for low, high in zip(found.low.astype(int), found.high.astype(int), strict=True):
        photo, top, left = low[0, 0]
        rows, columns = np.ogrid[:7, :7]
        assert (low[..., 0] == photo).all() and (high[..., 0] == photo).all()
        assert (low[..., 1] == top + rows).all() and (low[..., 2] == left + columns).all()
        rows, columns = np.ogrid[:14, :14]
        assert (high[..., 1] == 2 * top + rows).all()
        assert (high[..., 2] == 2 * left + columns).all()


def test_every_photo_and_place_is_drawn():
    corners = crops(maps(side=9), 2000, side=7, seed=3).low[:, 0, 0]
    seen = {tuple(int(x) for x in corner) for corner in corners}
    assert seen == set(itertools.product(range(5), range(3), range(3)))
    whole = crops(maps(side=9), 10, side=9, seed=3)
    assert (whole.low[:, 0, 0, 1:] == 0).all()


def test_crops_follow_the_seed_alone():
    first, again, other, longer = (
        crops(maps(), count, 7, seed) for count, seed in ((30, 3), (30, 3), (30, 4), (30, 3))
    )
    np.testing.assert_array_equal(first.low, again.low)
    np.testing.assert_array_equal(first.high, again.high)
    assert (first.low != other.low).any()
    np.random.seed(0)
    keras.utils.set_random_seed(99)
    np.testing.assert_array_equal(crops(maps(), 30, 7, 3).low, longer.low)


# --- the plan


def test_the_plan_covers_everything_once():
    assert len(PLANNED) == len(set(PLANNED))
    core = set(itertools.product(UPSAMPLERS, CORE, range(5)))
    side = set(itertools.product(checkerboard.SIDE_UPSAMPLERS, SIDE, range(3)))
    assert len(core) == 7 * 2 * 5
    assert set(PLANNED[: len(core)]) == core  # what is needed most comes first
    assert set(PLANNED[len(core) : len(core) + len(side)]) == side
    assert set(PLANNED[:14]) == set(itertools.product(UPSAMPLERS, CORE, [0]))
    # The side arms are tried on the classic layer at least, and on a layer without its fault.
    assert {"deconv k4s2"} < set(checkerboard.SIDE_UPSAMPLERS) < set(UPSAMPLERS)
    runs = dict.fromkeys(ARMS, 0)
    for upsampler, label, _ in PLANNED:
        assert upsampler in UPSAMPLERS
        runs[label] += 1
    assert min(runs.values()) >= 3  # seeds


def test_the_arms_are_what_their_labels_say(embedded):
    assert {"MSE": Arm("mse", "", 1.0), "MSE + relu2_2": Arm("mse", "relu2_2", 1.0)} == CORE
    doses = {label: arm.dose for label, arm in ARMS.items() if arm.dose != 1}
    assert doses == {f"MSE + {dose} x relu2_2": dose for dose in (0.1, 0.3, 3, 10)}
    assert [label for label, arm in ARMS.items() if arm.pixel != "mse"] == ["L1"]
    for _, _, arms in plan():  # one label is one loss, wherever it is tried
        for label, arm in arms.items():
            assert ARMS[label] == arm
    # Every arm has its losses and every loss an arm.
    assert {arm.weighed_as for arm in ARMS.values()} <= {"", *embedded.features}
    assert {arm.features for arm in ARMS.values()} == {"", *embedded.features}


# --- the feature losses


def features_of(experiment, name) -> keras.Model:
    return experiment.features[name].features


#: Feature loss -> the layer it taps and what else is asked of VGG16.
TAPS = {
    "relu1_2": ("relu1_2", {}),
    "relu2_2": ("relu2_2", {}),
    "relu2_2 average": ("relu2_2", {"pooling": "average"}),
    "unprepared": ("relu2_2", {"preprocessing": False}),
    "random": ("relu2_2", {}),
    "mis-wired": ("relu2_2", {}),
}


@pytest.mark.parametrize("name", [*TAPS, "swapped"])
def test_feature_losses_tap_what_they_say(name, embedded, rng):
    images = rng.uniform(0, 1, (2, 12, 12, 3)).astype(np.float32)
    layer, options = TAPS.get(name, ("relu2_2", {}))
    seen = images[..., ::-1].copy() if name == "swapped" else images
    expected = vgg.VGG16(layer, "random", **options)(seen)
    np.testing.assert_allclose(features_of(embedded, name)(images), expected, rtol=1e-5)
    if name == "random":
        assert features_of(embedded, name).origin == "random weights, seed 0"


def test_the_strided_net_has_strides_and_no_pools(embedded, rng):
    network = features_of(embedded, "strided")
    images = rng.uniform(0, 1, (2, 12, 12, 3)).astype(np.float32)
    # As deep as relu2_2, and its last stride makes it half as large again.
    assert network(images).shape == (2, 3, 3, 128)
    kinds = [type(layer).__name__ for layer in network.layers]
    assert not any("Pool" in kind for kind in kinds)
    assert not network.trainable_weights
    np.testing.assert_array_equal(loss_arms.strided_random_net()(images), network(images))
    assert np.abs(loss_arms.strided_random_net(1)(images) - network(images)).max() > 1


# --- gradients and weights


def gradient_norm(loss, model, probe) -> float:
    """Independently: of the mean over the probe, all at once."""
    prediction = model(to_float(probe.low), training=False)
    with tf.GradientTape() as tape:
        tape.watch(prediction)
        value = tf.reduce_mean(loss.call(to_float(probe.high), prediction))
    return float(tf.norm(tape.gradient(value, prediction)))


#: Pixel loss -> its gradient, from the errors, up to its norm: of mean squares and of mean
#: absolute values in grey levels.
BY_HAND = {
    "mse": lambda error: 2 * 255**2 * error / error.size,
    "l1": lambda error: 255 * np.sign(error) / error.size,
}


@pytest.mark.parametrize("kind", BY_HAND)
def test_gradients_of_the_pixel_losses_by_hand(kind, embedded, network):
    probe = embedded.probe
    error = network(to_float(probe.low)).numpy().astype(np.float64) - to_float(probe.high)
    size, uneven = checkerboard.gradients(network, embedded.pixel[kind], probe)
    expected = BY_HAND[kind](error)
    # The absolute error has the same slope everywhere, up to its sign.
    assert size == pytest.approx(np.linalg.norm(expected), rel=1e-3)
    assert uneven == pytest.approx(metric.unevenness(expected**2), rel=1e-3, abs=1e-3)


def test_gradients_of_batches_count_alike(embedded, network):
    """More than sixteen crops are taken in batches of sixteen."""
    probe = crops(embedded.train, 32, side=8, seed=2)
    halves = [
        gradient_norm(embedded.pixel["mse"], network, data.Pairs(low, high, [], []))
        for low, high in zip(np.split(probe.low, 2), np.split(probe.high, 2), strict=True)
    ]
    size, _ = checkerboard.gradients(network, embedded.pixel["mse"], probe)
    assert size == pytest.approx(np.hypot(*halves), rel=1e-4)


@pytest.fixture
def fitted(monkeypatch) -> list[dict]:
    """What would have been trained."""
    calls = []

    def fit(model, loss, seen, rate, batch):
        calls.append({"model": model, "loss": loss, "seen": seen, "rate": rate, "batch": batch})
        return 1.5

    monkeypatch.setattr(checkerboard, "fit", fit)
    monkeypatch.setattr(checkerboard, "measure", lambda model, pairs: {"psnr": 30.0})
    return calls


@pytest.mark.parametrize("label", [label for label, arm in ARMS.items() if arm.features])
def test_the_weight_matches_the_gradients_norms(label, experiment, network, fitted):
    """``weight * |feature gradient| == dose * |pixel gradient|``, computed anew here."""
    arm = ARMS[label]
    row = experiment.branch(network, arm, seed=1)
    (call,) = fitted
    loss = call["loss"]
    pixel = gradient_norm(experiment.pixel[arm.pixel], network, experiment.probe)
    weighed = experiment.features[arm.weighed_as or arm.features]
    feature = gradient_norm(weighed, network, experiment.probe)
    assert feature > 0
    assert row["weight"] * feature == pytest.approx(arm.dose * pixel, rel=1e-3)
    assert (loss.pixel.kind, loss.pixel_weight) == (arm.pixel, 1.0)
    assert loss.perceptual_weight == row["weight"]
    assert loss.perceptual is experiment.features[arm.features]
    assert row["gradient_unevenness"] >= 0
    # So the two parts of what is trained pull equally hard, times the dose.
    if not arm.weighed_as:
        only = losses.PixelAndPerceptualLoss(
            arm.pixel, loss.perceptual, pixel_weight=0.0, perceptual_weight=row["weight"]
        )
        ratio = gradient_norm(only, network, experiment.probe) / pixel
        assert ratio == pytest.approx(arm.dose, rel=1e-3)


@pytest.mark.parametrize("label", ["MSE", "L1"])
def test_pixel_losses_alone_have_no_weight(label, experiment, network, fitted):
    row = experiment.branch(network, ARMS[label], seed=1)
    assert row == {"weight": 0.0, "seconds": 1.5, "psnr": 30.0}
    assert fitted[0]["loss"] is experiment.pixel[ARMS[label].pixel]


def test_losses_differ_in_nothing_but_the_loss(experiment, network, fitted):
    """Same crops, same rate for every arm of a seed; other crops for another seed."""
    for label in ("MSE", "L1", "MSE + relu1_2, before any pool"):
        experiment.branch(network, ARMS[label], seed=2)
    experiment.branch(network, CORE["MSE"], seed=3)
    first, *same, other = fitted
    assert len(first["seen"].low) == TINY.steps * TINY.batch_size
    for call in same:
        np.testing.assert_array_equal(call["seen"].low, first["seen"].low)
        np.testing.assert_array_equal(call["seen"].high, first["seen"].high)
        assert call["batch"] == first["batch"] == TINY.batch_size
        assert call["rate"].get_config() == first["rate"].get_config()
    assert (other["seen"].low != first["seen"].low).any()
    rates = [float(first["rate"](step)) for step in (0, 1, 2)]
    np.testing.assert_allclose(rates, [1e-3, 5e-4, 0], atol=1e-9)


def test_the_same_crops_for_every_upsampler_but_not_twice(experiment, fitted, monkeypatch):
    monkeypatch.setattr(keras.Model, "save_weights", lambda self, path, **_: Path(path).touch())
    for upsampler in ("deconv k4s2", "nearest + conv"):
        model, _ = experiment.start(upsampler, seed=2)
    experiment.branch(model, CORE["MSE"], seed=2)
    one, two, later = (call["seen"].low for call in fitted)
    np.testing.assert_array_equal(one, two)
    assert len(one) == TINY.pixel_steps * TINY.batch_size
    assert (later != one[: len(later)]).any()
    assert isinstance(fitted[0]["loss"], keras.losses.MeanSquaredError)
    assert fitted[0]["rate"] == TINY.learning_rate


def test_fit_sees_every_crop_once_in_order(embedded):
    seen = crops(embedded.train, 10, side=8, seed=5)
    batches = []

    class Spy(keras.Model):
        def train_step(self, batch):
            tf.py_function(lambda low, high: batches.append((low.numpy(), high.numpy())), batch, [])
            return {"loss": tf.zeros(())}

    low = keras.Input((None, None, 3))
    seconds = checkerboard.fit(Spy(low, low), "mse", seen, 0.1, batch=4)
    assert seconds > 0
    assert [len(low) for low, _ in batches] == [4, 4, 2]
    np.testing.assert_array_equal(np.concatenate([x for x, _ in batches]), to_float(seen.low))
    np.testing.assert_array_equal(np.concatenate([x for _, x in batches]), to_float(seen.high))


# --- measuring


def test_measure_by_other_means(embedded, network):
    found = measure(network, embedded.test)
    images = to_uint8(network(to_float(embedded.test.low), training=False).numpy())
    truth = embedded.test.high
    by_skimage = [
        peak_signal_noise_ratio(t, p, data_range=255) for t, p in zip(truth, images, strict=True)
    ]
    expected = {
        "psnr": np.mean(by_skimage),
        "phase_spread": metric.phase_spread(images, truth).mean(),
        "phase_ratio": np.median(metric.phase_ratio(images, truth)),
        "flat": metric.flat_response(network).mean(),
        "lpips": lpips.lpips(truth, images, "random").mean(),
    } | {f"excess{period}": metric.excess(images, truth, period).mean() for period in (2, 4, 8)}
    values = [float(value) for value in found.pop("photos").split(" ")]
    np.testing.assert_allclose(values, metric.excess(images, truth), atol=0.00501)
    assert found == pytest.approx(expected, rel=1e-5)
    assert {f"{key}_0" for key in found} == {c for c in COLUMNS if c.endswith("_0")}


def test_the_controls_that_are_recorded(embedded, monkeypatch):
    monkeypatch.setattr(zoo, "available", lambda: [])
    few = data.photos("embedded", "train").take(12)  # to fit a filter to
    monkeypatch.setattr(data, "photos", lambda *_: few)
    found = checkerboard.controls(embedded.test)
    truth = embedded.test.high
    by_name = {name: models.build(name) for name in ("nearest", "bicubic", "lanczos", "linear")}
    models.fit_linear(by_name["linear"], *data.pairs(few)[:2])
    pictures = {name: predict(model, embedded.test.low) for name, model in by_name.items()} | {
        f"truth and a checker of {level}": np.clip(
            truth / 255 + metric.checker(128, 128, float(level) / 255), 0, 1
        )
        for level in ("0.25", "0.5", "1", "2")
    }
    assert set(found) == set(pictures)
    for name, picture in pictures.items():
        values = metric.excess(to_uint8(picture) if name in by_name else picture, truth)
        row = found[name]
        assert row["excess2"] == pytest.approx(values.mean(), abs=1e-3)
        low, high = row["interval2"]
        assert min(values) - 0.01 <= low <= values.mean() <= high <= max(values) + 0.01
        assert row["share_above_0"] == pytest.approx((values > 0).mean())
        assert "photos" not in row
    json.dumps(found)
    assert found["truth and a checker of 2"]["share_above_0"] == 1
    for name in ("nearest", "bicubic", "lanczos"):
        assert found[name]["flat"] == pytest.approx(0, abs=1e-4)
    assert found["linear"]["flat"] < 0.5  # its phases were fitted apart


# --- a whole run of one network


def test_start_and_branch_fill_every_column(experiment):
    model, readings = experiment.start("sub-pixel ICNR", seed=1)
    end = experiment.branch(model, CORE["MSE + relu2_2"], seed=1)
    row = readings | end
    mine = {"upsampler", "loss", "seed", "dose", "parameters"}
    assert set(row) == set(COLUMNS) - mine
    assert all(np.isfinite(value) for key, value in row.items() if key != "photos")
    assert len(row["photos"].split()) == TINY.test_photos
    assert row["psnr_0"] != row["psnr_middle"] != row["psnr"]


def test_start_reads_what_it_trained(experiment, monkeypatch):
    first, readings = experiment.start("deconv + box", seed=3)
    (state,) = experiment.runs.iterdir()
    assert state.name == "deconv_+_box-3.weights.h5"

    def refused(*_):
        raise AssertionError("it was trained already")

    keras.utils.set_random_seed(77)
    with monkeypatch.context() as patch:
        patch.setattr(checkerboard, "fit", refused)
        again, same = experiment.start("deconv + box", seed=3)
        with pytest.raises(AssertionError, match="trained already"):
            experiment.start("deconv + box", seed=4)
    for ours, theirs in zip(first.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert same == readings


def test_a_kill_while_the_state_is_written_is_survived(experiment, monkeypatch):
    monkeypatch.setattr(checkerboard, "measure", lambda model, pairs: {})
    save = keras.Model.save_weights

    def killed(self, path, **options):
        save(self, path, **options)
        with open(path, "rb+") as file:
            file.truncate(1000)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(keras.Model, "save_weights", killed)
        with pytest.raises(KeyboardInterrupt):
            experiment.start("deconv k4s2", seed=5)
    model, _ = experiment.start("deconv k4s2", seed=5)
    assert all(np.isfinite(w).all() for w in model.get_weights())


def test_the_same_seed_is_the_same_run(experiment, tmp_path, monkeypatch):
    monkeypatch.setattr(checkerboard, "measure", lambda model, pairs: {})
    weights = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        monkeypatch.setattr(experiment, "runs", tmp_path / name)
        model, _ = experiment.start("deconv k3s2", seed=6)
        experiment.branch(model, SIDE["L1"], seed=6)
        weights.append(model.get_weights())
    for ours, theirs in zip(*weights, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


# --- rows


def row_of(upsampler="deconv k4s2", loss="MSE", seed=0, **values) -> dict:
    row = dict.fromkeys(COLUMNS, 0.5)
    row |= {"upsampler": upsampler, "loss": loss, "seed": seed, "photos": "1.25 -0.50"}
    return row | values


def test_append_writes_the_head_once_and_rows_reads_it_back(tmp_path):
    path = tmp_path / "some.csv"
    assert results.rows(path) == []
    rows = [
        row_of(psnr=29.123456, seed=0),
        row_of(loss='MSE + 0.1 x "relu2_2", side', psnr=1234567.0, seed=1),
        row_of(photos="", parameters=6076303, flat=1e-9, seed=2),
    ]
    for row in rows:
        append(path, row)
    lines = path.read_text().splitlines()
    assert lines[0] == ",".join(COLUMNS)
    assert len(lines) == 4
    found = results.rows(path)
    assert [list(row) for row in found] == [list(COLUMNS)] * 3
    for ours, theirs in zip(found, rows, strict=True):
        assert ours["loss"] == theirs["loss"] and ours["photos"] == theirs["photos"]
        assert int(ours["seed"]) == theirs["seed"]
        assert int(float(ours["parameters"])) == theirs["parameters"] or theirs["parameters"] == 0.5
        for key in ("psnr", "flat", "excess2"):
            assert float(ours[key]) == pytest.approx(theirs[key], rel=1e-4)


def test_a_row_may_lack_a_column_but_has_no_other(tmp_path):
    path = tmp_path / "some.csv"
    row = row_of()
    del row["gradient_unevenness"]  # pixel losses alone have none
    append(path, row)
    assert results.rows(path)[0]["gradient_unevenness"] == ""
    with pytest.raises(ValueError, match="surprise"):
        append(path, row | {"surprise": 1})
    assert len(results.rows(path)) == 1


# --- the whole plan


@pytest.fixture
def run(experiment, tmp_path, monkeypatch):
    """main() with its work replaced; returns what it would have computed."""
    done = {"branches": [], "starts": [], "written": []}
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    network.set_weights([np.full((2, 1), 3.0), np.zeros(1)])

    def start(self, upsampler, seed):
        done["starts"].append((upsampler, seed))
        readings = {c: 1.0 for c in COLUMNS if c.endswith(("_0", "_middle"))}
        network.set_weights([np.full((2, 1), 3.0), np.zeros(1)])
        return network, readings

    def branch(self, model, arm, seed):
        (kernel, _) = model.get_weights()
        assert (kernel == 3).all()  # every loss begins with the same weights
        model.set_weights([kernel + 1, np.ones(1)])
        done["branches"].append((done["starts"][-1], arm))
        if len(done["branches"]) == done.get("kill"):
            raise KeyboardInterrupt
        return {"weight": 0.1, "seconds": 1.0, "psnr": 30.0, "excess2": 2.0, "photos": "1.00"}

    def write(name, content, **made_by):
        done["written"].append((name, content, made_by))

    monkeypatch.setattr(checkerboard, "Experiment", lambda *_: experiment)
    monkeypatch.setattr(Experiment, "start", start)
    monkeypatch.setattr(Experiment, "branch", branch)
    monkeypatch.setattr(results, "write", write)
    monkeypatch.setattr(checkerboard, "controls", lambda pairs: {"seen": len(pairs.high)})
    rows = tmp_path / "rows.csv"

    def call(*more):
        arguments = ["--photos", "embedded", "--rows", str(rows), "--runs", str(tmp_path), *more]
        return checkerboard.main(arguments)

    call.done, call.rows = done, rows
    return call


def keys(path) -> list[tuple[str, str, int]]:
    return [(r["upsampler"], r["loss"], int(r["seed"])) for r in results.rows(path)]


def test_main_makes_every_row_once(run, capsys):
    assert run() == 0
    assert keys(run.rows) == PLANNED
    arms = [arm for _, arm in run.done["branches"]]
    assert arms == [ARMS[label] for _, label, _ in PLANNED]
    assert [(u, s) for (u, s), _ in run.done["branches"]] == [(u, s) for u, _, s in PLANNED]
    first = results.rows(run.rows)[0]
    assert (first["parameters"], first["dose"]) == ("3", "1")
    assert len(capsys.readouterr().out.splitlines()) == len(PLANNED)
    # A second run finds everything made.
    run.done["branches"].clear(), run.done["starts"].clear()
    before = run.rows.read_bytes()
    assert run() == 0
    assert not run.done["branches"] and not run.done["starts"]
    assert run.rows.read_bytes() == before


def test_main_records_what_the_rows_share(run, experiment):
    run()
    ((name, content, made_by),) = run.done["written"]
    assert name == "checkerboard"
    assert content["vgg"] == "random weights, seed 0"
    assert content["settings"] == vars(Settings())
    by_skimage = [
        peak_signal_noise_ratio(t, p, data_range=255)
        for t, p in zip(experiment.test.high, interpolate(experiment.test.low), strict=True)
    ]
    assert content["bicubic"] == pytest.approx(np.mean(by_skimage), abs=1e-3)
    assert content["core"] == list(CORE) and content["side"] == list(SIDE)
    assert content["controls"] == {"seen": TINY.test_photos}
    assert made_by["data"] == "embedded"
    assert made_by["fingerprint"] == experiment.photos.fingerprint()


def test_rows_that_are_there_are_skipped(run):
    """Two of the first network's, one of the second's, and one of the very last's."""
    there = [PLANNED[0], PLANNED[1], PLANNED[3], PLANNED[-1]]
    for upsampler, label, seed in there:
        append(run.rows, row_of(upsampler, label, seed))
    run()
    made = [key for key in PLANNED if key not in there]
    assert keys(run.rows) == there + made
    assert len(run.done["branches"]) == len(made)
    assert run.done["starts"][0] == (PLANNED[2][0], 0)  # the first network was not even built


@pytest.mark.parametrize("kill", [1, 17, len(PLANNED)])
def test_a_killed_run_goes_on_and_makes_nothing_twice(run, kill):
    run.done["kill"] = kill
    with pytest.raises(KeyboardInterrupt):
        run()
    assert keys(run.rows) == PLANNED[: kill - 1]
    assert not run.done["written"]
    del run.done["kill"]
    assert run() == 0
    assert keys(run.rows) == PLANNED
    assert run.rows.read_text().count("upsampler,loss,seed") == 1


def test_the_budget_ends_a_run(run):
    assert run("--budget", "0") == 1
    assert not run.done["branches"] and not run.done["written"]
    assert not run.rows.exists()
    assert run("--budget", "1000") == 0
    assert keys(run.rows) == PLANNED


# --- the real experiment's photos


def test_nothing_is_tested_on_what_was_trained_on(embedded):
    assert len(embedded.train.low) == len(embedded.photos)
    assert len(embedded.test.low) == TINY.test_photos
    assert not {p for p in embedded.photos.paths} & set(data.photos("embedded", "test").paths)
    everything = data.photos("embedded", "train", smallest=128)
    assert len(everything) - len(embedded.photos) >= 128  # whole photographs are held out


def test_experiment_makes_its_folder_and_its_probe(tmp_path, embedded, monkeypatch):
    photos = embedded.photos.take(2)
    monkeypatch.setattr(common, "training_photos", lambda source: (photos, None))
    monkeypatch.setattr(checkerboard, "feature_losses", lambda weights: {"asked": weights})
    made = Experiment(replace(TINY, test_photos=1), "embedded", "some.npz", tmp_path / "new")
    assert (tmp_path / "new" / "checkerboard").is_dir()
    assert made.probe.low.shape == (64, 32, 32, 3)
    assert made.probe.high.shape == (64, 64, 64, 3)
    assert made.features == {"asked": "some.npz"}
    assert isinstance(embedded.features["relu2_2"], PerceptualLoss)

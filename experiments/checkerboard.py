"""Chapter 5's experiment: which upsampler and which loss draw a checkerboard?

    python -m experiments.checkerboard --photos DIR [--budget MINUTES]

Every upsampler and seed is trained with MSE; from there each loss goes on with
the same weights and the same crops, so that only the loss differs. One row a run
is appended to srlib/book/recorded/checkerboard.csv; rows that are there are not made
again: kill it at any moment and run it again.
"""

from __future__ import annotations

import csv
import dataclasses
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from experiments import common
from experiments.loss_arms import CORE, DOSES, MISTAKES, SIDE, Arm, feature_losses
from srlib import data, losses, models, training
from srlib._backend import keras, tf
from srlib.book import results
from srlib.evaluation import bootstrap_interval
from srlib.layers.upsampling import UPSAMPLERS
from srlib.metrics import checkerboard, psnr_ssim
from srlib.metrics.lpips import lpips
from srlib.models import cards, zoo
from srlib.pixels import to_uint8
from srlib.resize import interpolate
from srlib.upscaling.network import predict


@dataclass(frozen=True)
class Settings:
    """What all runs share.

    Attributes:
        filters: channels of the network.
        blocks: its residual blocks.
        crop: side of the training crops in low-resolution pixels.
        batch_size: crops in a batch.
        pixel_steps: of MSE, before the losses part.
        steps: of each loss, after that.
        learning_rate: Adam's; constant, then falling to zero along a cosine.
        test_photos: how many photos are looked at.
    """

    filters: int = 32
    blocks: int = 3
    crop: int = 24
    batch_size: int = 16
    pixel_steps: int = 1000
    steps: int = 400
    learning_rate: float = 1e-3
    test_photos: int = 100


CORE_SEEDS, SIDE_SEEDS = range(5), range(3)
#: Where the side arms are tried: the classic layer and the cure.
SIDE_UPSAMPLERS = ("deconv k4s2", "nearest + conv")


def crops(pairs: data.Pairs, count: int, side: int, seed: int) -> data.Pairs:
    """Random crops, the same for the same seed, whatever network will see them."""
    rng = np.random.default_rng(seed)
    photo = rng.integers(len(pairs.low), size=count)
    top, left = rng.integers(pairs.low.shape[1] - side + 1, size=(2, count))
    low, high = (
        np.stack(
            [
                images[p, s * t : s * (t + side), s * x : s * (x + side)]
                for p, t, x in zip(photo, top, left, strict=True)
            ]
        )
        for s, images in ((1, pairs.low), (2, pairs.high))
    )
    return data.Pairs(low, high, [], [])


def gradients(
    model: keras.Model, loss: keras.losses.Loss, pairs: data.Pairs
) -> tuple[float, float]:
    """Norm of a loss's gradient to the prediction, and its unevenness over 2x2 cells."""
    low, high = data.as_float(pairs)
    prediction = tf.constant(predict(model, low))
    squares = []
    for i in range(0, len(low), 16):
        part = prediction[i : i + 16]
        with tf.GradientTape() as tape:
            tape.watch(part)
            value = tf.reduce_mean(loss.call(high[i : i + 16], part))
        squares.append(tape.gradient(value, part).numpy() ** 2)
    squares = np.concatenate(squares)
    return float(np.sqrt(squares.sum())), checkerboard.unevenness(squares)


def measure(model: keras.Model, pairs: data.Pairs) -> dict[str, float | str]:
    """Every index of one network, means over photos; the main one photo by photo too."""
    images = to_uint8(predict(model, pairs.low))
    found: dict[str, float | str] = {"psnr": float(psnr_ssim.psnr(pairs.high, images).mean())}
    for period in (2, 4, 8):
        values = checkerboard.excess(images, pairs.high, period)
        found[f"excess{period}"] = float(values.mean())
        if period == 2:
            found["photos"] = " ".join(f"{value:.2f}" for value in values)
    found["phase_spread"] = float(checkerboard.phase_spread(images, pairs.high).mean())
    found["phase_ratio"] = float(np.median(checkerboard.phase_ratio(images, pairs.high)))
    found["flat"] = float(checkerboard.flat_response(model).mean())
    found["lpips"] = float(lpips(pairs.high, images).mean())
    return found


def fit(model: keras.Model, loss: keras.losses.Loss, seen: data.Pairs, rate, batch: int) -> float:
    """Train on the crops once, in order; returns seconds."""
    began = time.monotonic()
    model.compile(keras.optimizers.Adam(rate), loss)
    model.fit(data.evaluation_dataset(seen, batch), verbose=0, shuffle=False)
    return time.monotonic() - began


class Experiment:
    """Photos, losses and the rows that are there."""

    def __init__(self, settings: Settings, photos: str, vgg16: str | None, runs: Path):
        self.settings, self.runs = settings, runs / "checkerboard"
        self.runs.mkdir(parents=True, exist_ok=True)
        self.photos, _ = common.training_photos(photos)
        self.train = data.pairs(self.photos)
        self.test = data.pairs(common.test_photos(photos), limit=settings.test_photos)
        self.features = feature_losses(vgg16)
        self.pixel = {kind: losses.PixelLoss(kind) for kind in ("mse", "l1")}
        self.probe = crops(self.train, 64, side=32, seed=2**31)

    def start(self, upsampler: str, seed: int) -> tuple[keras.Model, dict]:
        """The network after MSE alone, trained or read; with its readings until then."""
        s = self.settings
        keras.utils.set_random_seed(seed)
        model = models.with_upsampler(
            upsampler, s.blocks, s.filters, dtype=training.fast_precision()
        )
        state = self.runs / f"{upsampler.replace(' ', '_')}-{seed}.weights.h5"
        readings = {f"{k}_0": v for k, v in measure(model, self.test).items() if k != "photos"}
        if state.exists():
            model.load_weights(state)
        else:
            seen = crops(self.train, s.pixel_steps * s.batch_size, s.crop, seed)
            fit(model, keras.losses.MeanSquaredError(), seen, s.learning_rate, s.batch_size)
            aside = state.with_name("part-" + state.name)  # Keras insists on the ending
            model.save_weights(aside)
            aside.replace(state)
        middle = measure(model, self.test)
        return model, readings | {f"{k}_middle": v for k, v in middle.items() if k != "photos"}

    def branch(self, model: keras.Model, arm: Arm, seed: int) -> dict:
        """Go on with one loss and measure the end."""
        s = self.settings
        loss, row = self.pixel[arm.pixel], {"weight": 0.0}
        if arm.features:
            feature_loss = self.features[arm.features]
            size, uneven = gradients(model, feature_loss, self.probe)
            if arm.weighed_as:
                size, _ = gradients(model, self.features[arm.weighed_as], self.probe)
            weight = arm.dose * gradients(model, loss, self.probe)[0] / size
            loss = losses.PixelAndPerceptualLoss(loss, feature_loss, perceptual_weight=weight)
            row = {"weight": weight, "gradient_unevenness": uneven}
        seen = crops(self.train, s.steps * s.batch_size, s.crop, seed + 1000)
        rate = keras.optimizers.schedules.CosineDecay(s.learning_rate, s.steps)
        row["seconds"] = fit(model, loss, seen, rate, s.batch_size)
        return row | measure(model, self.test)


def controls(pairs: data.Pairs) -> dict[str, dict]:
    """Shipped networks, baselines, and truths with a known pattern: what the indices read."""
    truth = data.as_float(pairs)[1]
    found = {}
    networks = {name: zoo.load(name) for name in (*cards.BASELINES, *cards.available())}
    networks["linear"] = models.fit_linear(
        models.linear(), *data.pairs(data.photos("embedded", "train"))[:2]
    )
    for name, model in networks.items():
        found[name] = measure(model, pairs)
    for amplitude in (0.25, 0.5, 1.0, 2.0):
        pattern = checkerboard.checker(*truth.shape[1:3], amplitude) / 255
        excess = checkerboard.excess(np.clip(truth + pattern, 0, 1), pairs.high)
        found[f"truth and a checker of {amplitude:g}"] = {
            "excess2": float(excess.mean()),
            "photos": " ".join(f"{value:.2f}" for value in excess),
        }
    for row in found.values():
        values = np.array(row.pop("photos").split(), float)
        row["interval2"] = bootstrap_interval(values)
        row["share_above_0"] = float((values > 0).mean())
    return found


COLUMNS = (
    "upsampler", "loss", "seed", "dose", "weight", "gradient_unevenness", "parameters", "seconds",
    *(f"{name}{when}" for when in ("_0", "_middle", "") for name in (
        "psnr", "excess2", "excess4", "excess8", "phase_spread", "phase_ratio", "flat",
        "lpips")),
    "photos",
)  # fmt: skip


def plan() -> Iterator[tuple[int, str, dict[str, Arm]]]:
    """Seed, upsampler and losses of every run, the most needed first."""
    for seed in CORE_SEEDS:
        for upsampler in UPSAMPLERS:
            yield seed, upsampler, CORE
    for seed in SIDE_SEEDS:
        for upsampler in SIDE_UPSAMPLERS:
            yield seed, upsampler, SIDE
    for seed in SIDE_SEEDS:
        yield seed, "deconv k4s2", DOSES | MISTAKES
        yield seed, "deconv + box", DOSES


def append(path: Path, row: dict) -> None:
    """Add one row to the csv, with its head if it is the first."""
    rounded = {k: f"{v:.5g}" if isinstance(v, float) else v for k, v in row.items()}
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if new:
            writer.writeheader()
        writer.writerow(rounded)


def main(arguments: list[str] | None = None) -> int:
    """Make every row that is missing, then record what they share."""
    parser = common.parser(__doc__, ["photos"], ["runs"])
    parser.add_argument("--vgg", help="VGG16 weights; default as in srlib.losses.vgg.load_weights")
    parser.add_argument("--rows", type=Path, default=results.FOLDER / "checkerboard.csv")
    parser.add_argument("--budget", type=float, default=np.inf, help="stop after so many minutes")
    options = parser.parse_args(arguments)
    began = time.monotonic()
    settings = Settings()
    experiment = Experiment(settings, options.photos, options.vgg, options.runs)
    known = {(r["upsampler"], r["loss"], int(r["seed"])) for r in results.rows(options.rows)}
    for seed, upsampler, arms in plan():
        missing = {k: a for k, a in arms.items() if (upsampler, k, seed) not in known}
        if not missing:
            continue
        model, readings = experiment.start(upsampler, seed)
        trunk = model.get_weights()
        for label, arm in missing.items():
            if time.monotonic() - began > 60 * options.budget:
                return 1
            model.set_weights(trunk)
            row = {"upsampler": upsampler, "loss": label, "seed": seed, "dose": arm.dose}
            row |= {"parameters": model.count_params()} | readings
            row |= experiment.branch(model, arm, seed)
            append(options.rows, row)
            print(
                f"{(time.monotonic() - began) / 60:5.1f} min  {upsampler}, {label}, seed {seed}: "
                f"{row['psnr_middle']:.2f} -> {row['psnr']:.2f} dB, "
                f"excess {row['excess2_0']:.1f} -> "
                f"{row['excess2_middle']:.1f} -> {row['excess2']:.1f} dB", flush=True,
            )  # fmt: skip
    common.record(
        "checkerboard",
        {
            "settings": dataclasses.asdict(settings),
            "bicubic": float(
                psnr_ssim.psnr(experiment.test.high, interpolate(experiment.test.low)).mean()
            ),
            "controls": controls(experiment.test),
            "core": list(CORE),
            "side": list(SIDE),
            "doses": list(DOSES),
            "mistakes": list(MISTAKES),
            "vgg": experiment.features["relu2_2"].features.origin,
        },
        experiment.photos,
        options.photos,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

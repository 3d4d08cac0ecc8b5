"""What each lever of the training is worth, one at a time (chapter 8).

    python -m experiments.levers --photos DIR --textures DIR --benchmarks DIR [ARM ...]

Every arm changes one thing of BASE, a short fine-tuning of `residual-mse`, or
of TINY_BASE, a short training of the tiny network from the start. Each finished
arm is a file in runs/levers, so that a killed run goes on. Writes
srlib/book/recorded/levers.json.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from experiments import common, jobs
from experiments.ladder import CLASSIC, EVERYTHING, TINY, TINY_OPTIONS, Mix, Rung, open_mix
from srlib import data, evaluation, models, training
from srlib._backend import keras
from srlib.data import photoset
from srlib.data.photoset import PhotoSet
from srlib.metrics import psnr_ssim
from srlib.models import zoo
from srlib.models.ensemble import self_ensemble
from srlib.pixels import to_float, to_uint8
from srlib.training import Recipe
from srlib.upscaling.network import predict
from srlib.upscaling.photo import upscale

#: Validation photos that are measured, and those that Keras looks at.
MEASURED, FEW = 16, 4
TEXTURES = Mix(False, EVERYTHING.textures)
PHOTOS = Mix(True, ())
T91 = Mix(False, ("t91",))
BASE = Rung(
    "residual",
    Recipe(
        loss="mse",
        batch_size=16,
        crop=32,
        learning_rate=2e-4,
        size=None,
        steps_per_epoch=40,
        epochs=1,
        seed=7,
    ),
    mix=EVERYTHING,
    options={"blocks": 6},
    grows_from="residual-mse",
)
TINY_BASE = Rung(
    "residual",
    replace(TINY, loss="mse", steps_per_epoch=400, epochs=1, learning_rate=2e-3),
    mix=CLASSIC,
    options=TINY_OPTIONS,
)


@dataclass(frozen=True)
class Arm:
    """One row of the table.

    Attributes:
        lever: what is changed.
        setting: to what; against which.
        job: how it is trained.
        base: the arm it is compared with; empty for a base itself.
        taught: mix each truth with what `residual-mse` makes of its input.
    """

    lever: str
    setting: str
    job: Rung
    base: str = "base"
    taught: bool = False


def _arm(
    lever: str,
    setting: str,
    base: str = "tiny-base",
    *,
    mix: Mix | None = None,
    options: dict | None = None,
    taught: bool = False,
    **recipe: Any,
) -> Arm:
    """What its base is, but for what is given."""
    job = BASE if base == "base" else TINY_BASE
    changed = replace(
        job,
        mix=mix or job.mix,
        options=options or job.options,
        recipe=replace(job.recipe, **recipe),
    )
    return Arm(lever, setting, changed, base, taught)


ARMS = {
    "base": Arm("none", "textures and photos at their own size, MSE, 40 steps", BASE, ""),
    "photos-128": _arm("data", "photos reduced to 128 px alone", "base", mix=PHOTOS, size=128),
    "textures": _arm("data", "textures alone", "base", mix=TEXTURES),
    "luma": _arm("loss", "MSE of RGB and of luma, half each", "base", loss="mse+luma"),
    "psnr": _arm("loss", "PSNR of each crop", "base", loss="psnr"),
    "deeper": _arm(
        "depth",
        "grown to 10 blocks, 5/8 of the steps",
        "base",
        options={"blocks": 10},
        steps_per_epoch=25,
    ),
    "tiny-base": Arm("none", "tiny: 4 blocks of 16 channels, MSE, 400 steps", TINY_BASE, ""),
    "tiny-wide": _arm(
        "width against depth", "2 blocks of 22", options={"blocks": 2, "filters": 22, "luma": True}
    ),
    "tiny-rgb": _arm("luma network", "the same on RGB", options={"blocks": 4, "filters": 16}),
    "tiny-psnr": _arm("loss", "PSNR of each crop", loss="psnr"),
    "tiny-l1": _arm("loss", "L1", loss="l1"),
    "tiny-charbonnier": _arm("loss", "Charbonnier", loss="charbonnier"),
    "tiny-candidates": _arm("patch selection", "most detailed of 4 crops", candidates=4),
    "tiny-ema": _arm("EMA of weights", "0.98 a step", ema=0.98),
    "tiny-constant": _arm("schedule", "constant, not cosine", schedule="constant"),
    "tiny-batch": _arm("batch size", "4, four times the steps", batch_size=4, steps_per_epoch=1600),
    "tiny-crop": _arm("crop size", "48 px, a quarter of the steps", crop=48, steps_per_epoch=100),
    "tiny-photos": _arm("data", "photos, their own 256 px", mix=PHOTOS),
    "tiny-photos-128": _arm("data", "photos, reduced to 128 px", mix=PHOTOS, size=128),
    "tiny-t91": _arm("data", "t91 alone, 91 images", mix=T91),
    "tiny-taught": _arm(
        "distillation",
        "on t91, half the truth and half residual-mse",
        "tiny-t91",
        mix=T91,
        taught=True,
    ),
}

#: Levers of the finished network, by their key in an arm's file.
AFTERWARDS = {"ensemble": "self-ensemble", "bfloat16": "evaluated in bfloat16"}


def measure(model: keras.Model, validation: data.Pairs, benchmarks: Path) -> dict[str, Any]:
    """Per-photo PSNR on the validation pairs (Y), and the mean on Set5."""
    predicted = predict(model, validation.low, 8)
    per_photo = psnr_ssim.psnr(validation.high, predicted, channel="y", shave=2)
    set5 = common.test_set(benchmarks, "Set5")
    scores = evaluation.evaluate({"model": model}, set5, evaluation.PROTOCOLS["y"])
    return {"per_photo": per_photo.tolist(), "set5_y": float(scores.psnr["model"].mean())}


def taught(photos: PhotoSet, folder: Path) -> PhotoSet:
    """The photos, each the mean of itself and of what the teacher makes of its half.

    G. Hinton et al., "Distilling the Knowledge in a Neural Network" (2015), for pictures.
    """
    folder.mkdir(parents=True, exist_ok=True)
    teacher = zoo.load("residual-mse")
    for path, photo in zip(photos.paths, photos, strict=True):
        low, high = data.pair(photo, None)
        mixed = (to_float(high) + to_float(upscale(low, teacher))) / 2
        Image.fromarray(to_uint8(mixed)).save(folder / f"{path.stem}.png")
    return photoset.folder(folder, "all", f"{photos.source}, taught")


def in_half_precision(model: keras.Model) -> keras.Model:
    """The same residual network with the same weights, computing in bfloat16."""
    box = "box" in {layer.name for layer in model.layers}
    twin = models.residual(BASE.options["blocks"], box=box, dtype="mixed_bfloat16")
    twin.set_weights(model.get_weights())
    return twin


def run_arm(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Train and measure one arm."""
    job = ARMS[name].job
    photos, validation = open_mix(options.photos, options.textures, job.mix, 2 * job.recipe.crop)
    if ARMS[name].taught:
        photos = taught(photos, options.runs / "levers" / f"{name}-photos")
    validation = data.Pairs(*(part[:MEASURED] for part in validation))
    few = data.Pairs(*(part[:FEW] for part in validation))  # one epoch: nothing to choose
    model, history = jobs.run(f"levers/{name}", job, photos, few, options.runs)
    row = {"parameters": model.count_params(), "seconds": history[-1]["seconds"]}
    row |= measure(model, validation, options.benchmarks)
    if not ARMS[name].base:
        row["ensemble"] = measure(self_ensemble(model), validation, options.benchmarks)
    if name == "base":
        row["bfloat16"] = measure(in_half_precision(model), validation, options.benchmarks)
    print(f"{name}: Set5 {row['set5_y']:.3f}", flush=True)
    return row


def against(row: dict[str, Any], base: dict[str, Any], arm: Arm) -> dict[str, Any]:
    """One row of the table: the arm, and its paired differences from its base."""
    difference = np.array(row["per_photo"]) - np.array(base["per_photo"])
    table = {"lever": arm.lever, "setting": arm.setting, "base": arm.base}
    table["set5_y"] = row["set5_y"]
    table["validation"] = float(np.mean(row["per_photo"]))
    table["delta_set5"] = row["set5_y"] - base["set5_y"]
    table["delta_validation"] = float(difference.mean())
    table["interval_validation"] = evaluation.bootstrap_interval(difference)
    return table | {key: row[key] for key in ("seconds", "parameters") if key in row}


def main(arguments: list[str] | None = None) -> int:
    """Run the named arms, or all, and record those that are done."""
    parser = common.parser(__doc__, ["photos", "textures", "benchmarks"], ["runs"])
    common.named(parser, "arm", ARMS)
    options = parser.parse_args(arguments)
    folder, done = options.runs / "levers", {}
    for name in options.arms or ARMS:
        done[name] = common.once(folder / f"{name}.json", run_arm, name, options)
    bases = {arm.base for arm in ARMS.values() if arm.base}
    if not bases <= done.keys():
        return 0  # nothing to compare with yet
    rows = [against(row, done[ARMS[n].base], ARMS[n]) for n, row in done.items() if ARMS[n].base]
    for name, row in done.items():
        for key, lever in AFTERWARDS.items():
            if key in row:
                rows.append(against(row[key], row, Arm(lever, f"on {name}", ARMS[name].job, name)))
    content = {
        "bases": {n: {"setting": ARMS[n].setting} | {
            k: v for k, v in done[n].items() if k not in ("per_photo", *AFTERWARDS)
        } | {"recipe": asdict(ARMS[n].job.recipe)} for n in sorted(bases)},
        "precision": training.fast_precision(),
        "rows": rows,
    }  # fmt: skip
    common.record("levers", content)
    return 0


if __name__ == "__main__":
    sys.exit(main())

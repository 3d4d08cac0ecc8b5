"""What each lever of the training is worth, one at a time (chapter 8).

    python -m experiments.levers --photos DIR --textures DIR --benchmarks DIR [ARM ...]

Every arm changes one thing of BASE, a short fine-tuning of `residual-mse`, or
of TINY_BASE, a short training of the tiny network from the start. Each finished
arm is a file in runs/levers, so that a killed run goes on. Writes
srlib/recorded/levers.json.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from experiments.ladder import CLASSIC, EVERYTHING, TINY, Mix, Rung, open_mix
from experiments.train_zoo import ROOT, run_job
from srlib import evaluation, metrics, results, sources, training
from srlib.ensemble import self_ensemble
from srlib.files import write_whole
from srlib.inference import predict
from srlib.training import Recipe

TEXTURES = Mix(False, EVERYTHING.textures)
PHOTOS = Mix(True, ())
BASE = Rung(
    "residual",
    Recipe(
        loss="mse",
        batch_size=16,
        crop=32,
        learning_rate=2e-4,
        size=None,
        steps_per_epoch=60,
        epochs=1,
        seed=7,
    ),
    mix=EVERYTHING,
    options={"blocks": 6},
    grows_from="residual-mse",
)
TINY_BASE = Rung(
    "residual",
    replace(TINY, loss="mse", steps_per_epoch=800, epochs=1, learning_rate=2e-3),
    mix=CLASSIC,
    options={"blocks": 4, "filters": 16, "luma": True},
)


@dataclass(frozen=True)
class Arm:
    """One row of the table.

    Attributes:
        lever: what is changed.
        setting: to what; against which.
        job: how it is trained.
        base: the arm it is compared with; empty for a base itself.
    """

    lever: str
    setting: str
    job: Rung
    base: str = "base"


def _tuned(mix: Mix = BASE.mix, options: dict | None = None, **recipe: Any) -> Rung:
    return replace(
        BASE, mix=mix, options=options or BASE.options, recipe=replace(BASE.recipe, **recipe)
    )


def _tiny(options: dict | None = None, **recipe: Any) -> Rung:
    return replace(
        TINY_BASE, options=options or TINY_BASE.options, recipe=replace(TINY_BASE.recipe, **recipe)
    )


ARMS = {
    "base": Arm("none", "textures and photos at their own size, MSE, 60 steps", BASE, ""),
    "photos-128": Arm("data", "photos reduced to 128 px alone", _tuned(PHOTOS, size=128)),
    "photos-256": Arm("data", "photos at their own 256 px alone", _tuned(PHOTOS)),
    "textures": Arm("data", "textures alone", _tuned(TEXTURES)),
    "sizes": Arm("data", "own size, and one in three at 128 px", _tuned(size=(None, None, 128))),
    "luma": Arm("loss", "MSE of RGB and of luma, half each", _tuned(loss="mse+luma")),
    "l1": Arm("loss", "L1", _tuned(loss="l1")),
    "charbonnier": Arm("loss", "Charbonnier", _tuned(loss="charbonnier")),
    "candidates": Arm("patch selection", "most detailed of 4 crops", _tuned(candidates=4)),
    "ema": Arm("EMA of weights", "0.98 a step", _tuned(ema=0.98)),
    "constant": Arm("schedule", "constant instead of cosine", _tuned(schedule="constant")),
    "constant-ema": Arm(
        "schedule", "constant with EMA 0.98", _tuned(schedule="constant", ema=0.98)
    ),
    "batch-4": Arm(
        "batch size", "4, four times the steps", _tuned(batch_size=4, steps_per_epoch=240)
    ),
    "crop-64": Arm(
        "crop size", "64 px, a quarter of the steps", _tuned(crop=64, steps_per_epoch=15)
    ),
    "rate": Arm("learning rate", "4e-4", _tuned(learning_rate=4e-4)),
    "deeper": Arm(
        "depth",
        "grown to 10 blocks, 3/5 of the steps",
        _tuned(options={"blocks": 10}, steps_per_epoch=37),
    ),
    "tiny-base": Arm("none", "tiny: 4 blocks of 16 channels, MSE", TINY_BASE, ""),
    "tiny-wide": Arm(
        "width against depth",
        "2 blocks of 22 channels",
        _tiny({"blocks": 2, "filters": 22, "luma": True}),
        "tiny-base",
    ),
    "tiny-l1": Arm("loss from the start", "L1", _tiny(loss="l1"), "tiny-base"),
    "tiny-rgb": Arm(
        "luma network",
        "the same network on RGB",
        _tiny({"blocks": 4, "filters": 16}),
        "tiny-base",
    ),
}


def measure(model, validation, benchmarks: Path) -> dict[str, Any]:
    """Per-photo PSNR on the validation pairs (Y), and means on Set5 and Set14."""
    predicted = predict(model, validation.low, 8)
    row = {"per_photo": metrics.psnr(validation.high, predicted, channel="y", shave=2).tolist()}
    for name in ("Set5", "Set14"):
        photos = sources.folder(benchmarks / name, "all", name)
        scores = evaluation.evaluate({"model": model}, photos, evaluation.PROTOCOLS["y"])
        row[f"{name.lower()}_y"] = float(scores.psnr["model"].mean())
    return row


def run_arm(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Train and measure one arm, or read what was measured."""
    done = options.runs / "levers" / f"{name}.json"
    if done.exists():
        return json.loads(done.read_text())
    job = ARMS[name].job
    mix = open_mix(options.photos, options.textures, job.mix, 2 * job.recipe.crop)
    model, history = run_job(f"levers/{name}", job, *mix, options.runs)
    row = {"parameters": model.count_params(), "seconds": history[-1]["seconds"]}
    row |= measure(model, mix[1], options.benchmarks)
    if not ARMS[name].base:
        row["ensemble"] = measure(self_ensemble(model), mix[1], options.benchmarks)
    write_whole(done, json.dumps(row))
    print(f"{name}: Set5 {row['set5_y']:.3f}, Set14 {row['set14_y']:.3f}", flush=True)
    return row


def against(row: dict[str, Any], base: dict[str, Any], arm: Arm) -> dict[str, Any]:
    """One row of the table: the arm, and its paired differences from its base."""
    difference = np.array(row["per_photo"]) - np.array(base["per_photo"])
    table = {"lever": arm.lever, "setting": arm.setting, "base": arm.base}
    table |= {key: row[key] for key in ("set5_y", "set14_y")}
    table["validation"] = float(np.mean(row["per_photo"]))
    table["delta_set5"] = row["set5_y"] - base["set5_y"]
    table["delta_set14"] = row["set14_y"] - base["set14_y"]
    table["delta_validation"] = float(difference.mean())
    table["interval_validation"] = evaluation.bootstrap_interval(difference)
    return table | {key: row[key] for key in ("seconds", "parameters") if key in row}


def main(arguments: list[str] | None = None) -> int:
    """Run the named arms, or all, and record those that are done."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("arms", nargs="*", metavar="ARM", help=f"default: all of {list(ARMS)}")
    parser.add_argument("--photos", required=True, help="folder of photos")
    parser.add_argument("--textures", type=Path, required=True, help="holds t91/ and so on")
    parser.add_argument("--benchmarks", type=Path, required=True, help="holds Set5/ and Set14/")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs", help="where state is kept")
    options = parser.parse_args(arguments)
    (options.runs / "levers").mkdir(parents=True, exist_ok=True)
    done = {name: run_arm(name, options) for name in options.arms or ARMS}
    bases = {arm.base for arm in ARMS.values() if arm.base}
    if not bases <= done.keys():
        return 0  # nothing to compare with yet
    rows = [against(row, done[ARMS[n].base], ARMS[n]) for n, row in done.items() if ARMS[n].base]
    for name in sorted(bases & done.keys()):
        arm = Arm("self-ensemble", f"on {name}", ARMS[name].job, name)
        rows.append(against(done[name]["ensemble"], done[name], arm))
    content = {
        "bases": {n: {"setting": ARMS[n].setting} | {
            k: v for k, v in done[n].items() if k not in ("ensemble", "per_photo")
        } | {"recipe": asdict(ARMS[n].job.recipe)} for n in sorted(bases)},
        "precision": training.fast_precision(),
        "rows": rows,
    }  # fmt: skip
    results.write("levers", content, command="python -m experiments.levers")
    return 0


if __name__ == "__main__":
    sys.exit(main())

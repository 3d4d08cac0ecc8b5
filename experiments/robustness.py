"""Chapter 9: what the networks do with inputs they were not trained for.

    python -m experiments.robustness --photos DIR [--benchmarks DIR]

DIR holds Set5/ and Set14/ for the second. LPIPS is measured where its weights
are found (srlib.metrics.lpips). Writes srlib/book/recorded/robustness.json.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

import numpy as np

from experiments import common
from srlib import data, models
from srlib._backend import keras
from srlib.data import degrade, photoset
from srlib.evaluation import PROTOCOLS, Protocol, Scores, bootstrap_interval, evaluate
from srlib.metrics import lpips
from srlib.models import cards, zoo

#: Inputs as srlib.data.degrade names them; each is scored against bicubic on the same input.
INPUTS = (
    *("bicubic", "lanczos", "bilinear", "box", "aliased bicubic", "blur 0.5"),
    *("jpeg 90", "jpeg 75", "jpeg 50", "jpeg 30", "noise 2", "noise 5", "noise 10"),
    *("noise 5, jpeg 75", "jpeg 50, bicubic", "noise 10, bicubic"),
)

#: A cured input -> the input before the cure, on which bicubic must be beaten.
CURES = {
    "noise 10, blur 0.5": "noise 10",
    "noise 10, bilateral 30": "noise 10",
    "jpeg 50, bilateral 30": "jpeg 50",
    "jpeg 30, bilateral 30": "jpeg 30",
}

#: On Set5 and Set14, whose photos are large, only these.
FEW = ("bicubic", "box", "jpeg 75")

#: Photos to fit a linear filter to: half a million equations for 49 unknowns.
FITTED_TO = 40


def worth_asking() -> list[str]:
    """The shipped models that beat bicubic at least on the input they were trained for."""
    chosen = []
    for name in cards.available():
        (row,) = [r for r in cards.card(name)["test"]["summary"] if r["model"] == name]
        if row["gain_interval"][0] > 0:
            chosen.append(name)
    return chosen


def rows_of(name: str, against: str, scores: Scores, before: Scores) -> list[dict]:
    """One row a model: its means, and its gain over bicubic on the input ``against``."""
    rows = []
    for model, values in scores.psnr.items():
        gain = values - before.psnr["bicubic"]
        row = {
            "input": name,
            "against": against,
            "model": model,
            "psnr": float(values.mean()),
            "gain": float(gain.mean()),
            "gain_interval": bootstrap_interval(gain),
            "won": float(np.mean(gain > 0)),
        }
        if scores.lpips:
            change = scores.lpips[model] - before.lpips["bicubic"]
            row["lpips"] = float(scores.lpips[model].mean())
            row["lpips_change"] = float(change.mean())
            row["lpips_interval"] = bootstrap_interval(change)
        rows.append(row)
    return rows


def measure(
    photos: photoset.PhotoSet,
    networks: dict[str, keras.Model],
    fitting: data.Pairs,
    names: Iterable[str],
    protocol: dict,
    with_lpips: bool = False,
) -> list[dict]:
    """Every model on every named input, one row each.

    Args:
        photos: the truths.
        networks: models besides bicubic.
        fitting: photos to which a linear filter is fitted anew for each input.
        names: inputs; one of :data:`CURES` must come after the input that it cures.
        protocol: arguments of ``Protocol``, besides the kernel.
        with_lpips: measure LPIPS too.
    """
    rows: list[dict] = []
    known: dict[str, Scores] = {}
    refitted = models.linear()
    asked = networks | {"linear refitted": refitted}
    for name in names:
        models.fit_linear(refitted, degrade.degrade(fitting.high, name), fitting.high)
        by = Protocol(**protocol, kernel=name)
        known[name] = evaluate(asked, photos, by, with_lpips=with_lpips)
        against = CURES.get(name, name)
        rows += rows_of(name, against, known[name], known[against])
        found = {row["model"]: row for row in rows if row["input"] == name}
        shown = (f"{model} {row['gain']:+.2f}" for model, row in found.items())
        print(f"{name:<24} {found['bicubic']['psnr']:.2f} dB; {', '.join(shown)}", flush=True)
    return rows


def main(arguments: list[str] | None = None) -> int:
    """Measure and record."""
    parser = common.parser(__doc__, ["photos"], ["benchmarks"])
    parser.add_argument("--count", type=int, default=80, help="so many photos, chosen at random")
    parser.add_argument("--models", nargs="*", help="by default all that beat bicubic")
    options = parser.parse_args(arguments)
    fitting = data.pairs(data.photos("embedded", "train").take(FITTED_TO))
    networks = {
        "lanczos": zoo.load("lanczos"),
        "linear": models.fit_linear(models.linear(), fitting.low, fitting.high),
    }
    names = worth_asking() if options.models is None else options.models
    networks |= {name: zoo.load(name) for name in names}
    try:
        origin = lpips.origin()
    except lpips.LPIPSWeightsError as error:
        print(f"without LPIPS: {error}")
        origin = None
    photos = common.test_photos(options.photos).take(options.count)
    square = {"size": 128}
    content = {
        "photos": len(photos),
        "protocol": str(Protocol(**square)),
        "lpips": origin,
        "inputs": {name: degrade.describe(name) for name in (*INPUTS, *CURES)},
        "rows": measure(photos, networks, fitting, (*INPUTS, *CURES), square, origin is not None),
    }
    field = {"channel": PROTOCOLS["y"].channel, "shave": PROTOCOLS["y"].shave}
    for name in ("Set5", "Set14") if options.benchmarks else ():
        print(name)
        test_set = common.test_set(options.benchmarks, name)
        content[name] = measure(test_set, networks, fitting, FEW, field)
    common.record("robustness", content, photos, options.photos)
    return 0


if __name__ == "__main__":
    sys.exit(main())

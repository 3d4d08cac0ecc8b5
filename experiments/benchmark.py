"""Score every shipped model on test photos and on the field's test sets.

    python -m experiments.benchmark --photos DIR [--benchmarks DIR]

DIR holds Set5/ and Set14/ for the second. Needs LPIPS weights (srlib.lpips).
Writes srlib/recorded/benchmark.json.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from srlib import data, evaluation, lpips, models, pitfalls, results, sources, weights
from srlib.resize import to_float


def detail(photos: sources.PhotoSet) -> list[float]:
    """How much there is to recover: RMS difference of neighbours, in grey levels."""
    values = []
    for photo in photos:
        luma = to_float(data.square(photo, 128)).mean(axis=-1) * 255
        steps = [np.diff(luma, axis=axis) for axis in (0, 1)]
        values.append(float(np.sqrt(np.mean([np.mean(step**2) for step in steps]))))
    return values


def main(arguments: list[str] | None = None) -> int:
    """Score and record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", required=True, help="source or folder with a test split")
    parser.add_argument("--benchmarks", type=Path, help="folder that holds Set5/ and Set14/")
    options = parser.parse_args(arguments)
    # The bar that a network has to pass: the best linear filter (chapter 2).
    linear = models.fit_linear(models.linear(), *data.pairs(data.photos("embedded", "train"))[:2])
    zoo = {"lanczos": weights.load("lanczos"), "linear": linear}
    zoo |= {name: weights.load(name) for name in weights.available()}
    photos = data.photos(options.photos, "test", smallest=128)
    scores = evaluation.evaluate(zoo, photos, evaluation.Protocol(size=128), with_lpips=True)
    print(scores.table())
    content = {"photos": scores.as_json(), "lpips": lpips.origin()}
    for image, value in zip(content["photos"]["images"], detail(photos), strict=True):
        image["detail"] = round(value, 3)
    for name in ("Set5", "Set14") if options.benchmarks else ():
        test_set = sources.folder(options.benchmarks / name, "all", name)
        for protocol in ("y", "rgb"):
            scores = evaluation.evaluate(zoo, test_set, evaluation.PROTOCOLS[protocol])
            print(scores.table())
            content[f"{name} {protocol}"] = scores.as_json()
    if options.benchmarks:
        truths = [
            evaluation.truth_of(x, evaluation.Protocol())
            for x in sources.folder(options.benchmarks / "Set5")
        ]
        content["protocols"] = {v: pitfalls.bicubic_psnr(truths, v) for v in pitfalls.VARIANTS}
    results.write(
        "benchmark",
        content,
        command="python -m experiments.benchmark",
        data=Path(options.photos).name,
        fingerprint=photos.fingerprint(),
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

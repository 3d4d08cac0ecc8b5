"""Chapter 4's curve: PSNR and LPIPS of networks between pixel and perceptual loss.

    python -m experiments.interpolation --photos DIR

Writes srlib/recorded/interpolation.json. Needs LPIPS weights (srlib.lpips).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from srlib import data, lpips, metrics, results, weights
from srlib.inference import predict

SHARES = np.round(np.arange(0, 1.01, 0.1), 1)


def curve(network: str, pairs: data.Pairs) -> dict[str, list[float]]:
    """Mean PSNR and LPIPS at each share of the perceptual network."""
    pixel, perceptual = (weights.load(f"{network}-{loss}") for loss in ("mse", "perceptual"))
    found: dict[str, list[float]] = {"share": [], "psnr": [], "lpips": []}
    for share in SHARES:
        images = predict(weights.interpolate(pixel, perceptual, float(share)), pairs.low)
        found["share"].append(float(share))
        found["psnr"].append(float(metrics.psnr(pairs.high, images).mean()))
        found["lpips"].append(float(np.mean(lpips.lpips(pairs.high, images))))
        print(network, *(f"{name} {values[-1]:.4f}" for name, values in found.items()), flush=True)
    return found


def main(arguments: list[str] | None = None) -> int:
    """Measure and record both networks' curves."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", required=True, help="source or folder with a test split")
    options = parser.parse_args(arguments)
    photos = data.photos(options.photos, "test", smallest=128)
    pairs = data.pairs(photos)
    results.write(
        "interpolation",
        {
            "photos": len(pairs.low),
            "lpips": lpips.origin(),
            "curves": {name: curve(name, pairs) for name in ("residual", "hourglass")},
        },
        command="python -m experiments.interpolation",
        data=Path(options.photos).name,
        fingerprint=photos.fingerprint(),
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

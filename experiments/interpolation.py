"""Chapter 4's curve: PSNR and LPIPS of networks between pixel and perceptual loss.

    python -m experiments.interpolation --photos DIR

Writes srlib/book/recorded/interpolation.json. Needs LPIPS weights (srlib.metrics.lpips).
"""

from __future__ import annotations

import sys

import numpy as np

from experiments import common
from srlib import data
from srlib._backend import keras
from srlib.metrics import lpips, psnr_ssim
from srlib.models import zoo
from srlib.upscaling.network import predict

#: Beyond 1 extrapolates; batch normalisation's variances would become negative there.
SHARES = {"residual": np.arange(16) / 10, "hourglass": np.arange(11) / 10}


def score(model: keras.Model, pairs: data.Pairs) -> dict[str, float]:
    """Mean PSNR and LPIPS of a network."""
    images = predict(model, pairs.low)
    return {
        "psnr": float(psnr_ssim.psnr(pairs.high, images).mean()),
        "lpips": float(np.mean(lpips.lpips(pairs.high, images))),
    }


def curve(network: str, pairs: data.Pairs) -> dict[str, list[float]]:
    """Mean PSNR and LPIPS at each share of the perceptual network."""
    pixel, perceptual = (zoo.load(f"{network}-{loss}") for loss in ("mse", "perceptual"))
    found: dict[str, list[float]] = {"share": [], "psnr": [], "lpips": []}
    for share in SHARES[network]:
        model = zoo.blend(pixel, perceptual, float(share))
        for name, value in ({"share": float(share)} | score(model, pairs)).items():
            found[name].append(value)
        print(network, *(f"{name} {values[-1]:.4f}" for name, values in found.items()), flush=True)
    return found


def main(arguments: list[str] | None = None) -> int:
    """Measure and record both networks' curves."""
    options = common.parser(__doc__, ["photos"]).parse_args(arguments)
    photos = common.test_photos(options.photos)
    pairs = data.pairs(photos)
    common.record(
        "interpolation",
        {
            "photos": len(pairs.low),
            "lpips": lpips.origin(),
            "curves": {name: curve(name, pairs) for name in ("residual", "hourglass")},
        },
        photos,
        options.photos,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
